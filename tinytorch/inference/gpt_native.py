"""The products of a GPT with oneDNN: everything between two attentions is one program.

Norm, product, GELU, and residual sum are six primitives for each block. Each INT8 product needs three more to find the
row's scale and to round, and for several rows two more. 1 / sqrt(D) is part of the weights' scales. A layer in float32
gets the weight of the norm before it as well. For one token of an INT8 TinyGPT, this takes 155 µs, and 275 µs with
NumPy between the products.

Shapes: B rows, C width, V tokens in the vocabulary.
"""

from __future__ import annotations

import math
from ctypes import c_float
from typing import Any

import numpy as np

from tinytorch.embeddings import Embedding
from tinytorch.layers import Linear
from tinytorch.native import backend, float32
from tinytorch.native.int8_rows import Room, Rows
from tinytorch.native.primitives import (
    DST,
    FORWARD_INFERENCE,
    SCALE,
    SHIFT,
    SRC,
    SUM,
    Descriptor,
    Primitive,
    threads,
)
from tinytorch.native.program import Program, pays_threads
from tinytorch.quantized.layers import QuantizedLinear
from tinytorch.quantized.tables import QuantizedEmbedding
from tinytorch.tensor import Array
from tinytorch.transformers import GPT, MLP, LayerNorm

# Between two steps, a token is drawn. Meanwhile other threads would fall asleep, and to wake them takes 50 µs.
ALONE = True
USE_SCALE, USE_SHIFT = 2, 4  # dnnl_normalization_flags_t


def fits_texts(model: GPT, dtype: np.dtype) -> bool:
    """Return whether oneDNN computes whole texts: all layers are float32 or dynamic INT8, with finite weights."""
    found = _layers(model, dtype)
    if found is None or (any(map(_is_dynamic, found)) and not backend.native(np.int8)):
        return False
    return _has_finite_floats(model)


def fits(model: GPT, rows: int, dtype: np.dtype) -> bool:
    """Return whether oneDNN computes this model: one row of text, and dynamic INT8 layers with finite weights.

    Some layers may be in float32. If all are, NumPy is faster: its BLAS multiplies on two threads, which stay awake
    while a token is drawn. For TinyGPT, 3.8 MB of weights, NumPy takes 185 µs for a step. oneDNN takes 160 µs on two
    threads, but 280 µs if they have fallen asleep, and 240 µs on one.
    """
    found = _layers(model, dtype)
    if found is None or not any(map(_is_dynamic, found)) or rows > 1 or not backend.native(np.int8):
        return False
    return _has_finite_floats(model)


def _layers(model: GPT, dtype: np.dtype) -> list[Any] | None:
    """Return the layers with weights; None if oneDNN is not in use, or one is neither float32 nor dynamic INT8."""
    parts = model.transformer
    if not backend.native(np.float32) or dtype != np.float32 or any(type(block.mlp) is not MLP for block in parts.h):
        return None
    table: Any = parts.wte
    layers: list[Any] = [table.rows if type(table) is QuantizedEmbedding else table]
    for block in parts.h:
        layers += [block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj]
    plain = [type(layer) is (Linear if i else Embedding) for i, layer in enumerate(layers)]
    return layers if all(one or _is_dynamic(layer) for one, layer in zip(plain, layers, strict=True)) else None


def _is_dynamic(layer: Any) -> bool:
    return type(layer) is QuantizedLinear and layer.input_scale is None and not layer.relu


def _has_finite_floats(model: GPT) -> bool:
    tensors = [tensor.data for _, tensor in model.named_tensors() if tensor.data.dtype != np.int8]
    return all(array.dtype == np.float32 and np.isfinite(array).all() for array in tensors)


class _Product:
    """factor * layer(norm(x)), followed by the operations in `post`; `norm` and `factor` (out,) may be None.

    Attributes:
        scale, shift: what the norm does after it has normalized, unless the weights contain it.
    """

    def __init__(
        self, norm: LayerNorm | None, layer: Any, factor: Array | None = None, post: tuple[str, ...] = ()
    ) -> None:
        self.eps = None if norm is None else norm.eps
        self.scale: Array | None = None if norm is None else norm.weight.data
        self.shift: Array | None = None if norm is None or norm.bias is None else norm.bias.data
        self.kernel: Rows | float32.Linear
        if isinstance(layer, QuantizedEmbedding | QuantizedLinear):
            rows = layer.rows if isinstance(layer, QuantizedEmbedding) else layer
            self.kernel, self.out = Rows(rows.kernel(), factor, post), rows.out_features
            return
        weight, bias = layer.weight.data, None if isinstance(layer, Embedding) else layer.bias
        bias = None if bias is None else bias.data
        if self.shift is not None:
            bias = weight @ self.shift + (0 if bias is None else bias)
        if self.scale is not None:
            weight = weight * self.scale
        if factor is not None:
            weight, bias = weight * factor[:, None], None if bias is None else bias * factor
        self.scale = self.shift = None
        self.kernel, self.out = float32.Linear(weight, bias, post), len(weight)

    def primitives(self, x: Array, y: Array, alone: bool, normed: Array, room: Room) -> list[Primitive]:
        """Return the primitives from x to y; `normed` is memory for the normalized x, `room` for INT8 layers."""
        made = []
        if self.eps is not None:
            made.append(_norm(x, normed, self.eps, self.scale, self.shift, alone))
            x = normed
        if isinstance(self.kernel, Rows):
            return made + self.kernel.primitives(x, y, alone, room)
        product = self.kernel.primitive(len(x), alone)
        product.bind({SRC: x, DST: y})
        return [*made, product]


class Layers:
    """The products of a GPT, whose weights are folded and packed once for all shapes."""

    def __init__(self, model: GPT) -> None:
        parts = model.transformer
        c, n_head = parts.wpe.weight.shape[1], parts.h[0].attn.n_head
        root = np.ones(3 * c, np.float32)
        root[:c] = 1 / math.sqrt(c // n_head)
        self.entries = [_Product(block.ln_1, block.attn.c_attn, root) for block in parts.h]
        self.exits = [
            (
                _Product(None, block.attn.c_proj, post=(SUM,)),
                _Product(block.ln_2, block.mlp.c_fc, post=("gelu",)),
                _Product(None, block.mlp.c_proj, post=(SUM,)),
            )
            for block in parts.h
        ]
        self.head = _Product(parts.ln_f, parts.wte)


class Products:
    """The programs of a GPT for one shape: one before each attention, and one after the last.

    Attributes:
        programs: n_layer + 1 functions. The first one reads x. Each writes qkv, except for the last. All but the first
            read y, the result of the attention before it.
        head: writes `logits`; with `last`, the caller copies rows of x there first. Otherwise, it is part of the last
            program, and None.

    Args:
        x, y, qkv: arrays (B, C), (B, C), and (B, 3 C).
        last: an array (rows, C) for the states whose logits are wanted; None for all of x.
        alone: run on one thread; None to use all threads if they pay.
    """

    def __init__(
        self, layers: Layers, x: Array, y: Array, qkv: Array, last: Array | None = None, alone: bool | None = ALONE
    ) -> None:
        self._layers, self._x, self._y, self._qkv, self._last = layers, x, y, qkv, last
        self._normed = np.empty_like(x)
        self.logits = np.empty((len(x if last is None else last), layers.head.out), np.float32)
        if alone is None:
            alone = not pays_threads([primitive for group in self._groups(True) for primitive in group])
        *groups, final = self._groups(alone)
        if last is None:
            groups[-1] += final
        self.programs = [Program(group) for group in groups]
        self.head = None if last is None else Program(final)

    def _groups(self, alone: bool) -> list[list[Primitive]]:
        """Return the primitives of each program, and those of the head."""
        layers, x = self._layers, self._x
        room: Room = {}
        groups = [layers.entries[0].primitives(self._x, self._qkv, alone, self._normed, room)]
        for i, (c_proj, c_fc, mlp_proj) in enumerate(layers.exits):
            wide = room.setdefault(("wide", c_fc.out), np.empty((len(x), c_fc.out), np.float32))
            group = [
                *c_proj.primitives(self._y, x, alone, self._normed, room),
                *c_fc.primitives(x, wide, alone, self._normed, room),
                *mlp_proj.primitives(wide, x, alone, self._normed, room),
            ]
            if i + 1 < len(layers.exits):
                group += layers.entries[i + 1].primitives(x, self._qkv, alone, self._normed, room)
            groups.append(group)
        last = x if self._last is None else self._last
        return [*groups, layers.head.primitives(last, self.logits, alone, np.empty_like(last), room)]


def _norm(x: Array, y: Array, eps: float, scale: Array | None, shift: Array | None, alone: bool) -> Primitive:
    """Return a primitive for y = (x - mean) / sqrt(variance + eps) scale + shift of each row."""
    rows = Descriptor(x.shape, np.float32)
    given = {SCALE: scale, SHIFT: shift}
    bound = {argument: np.ascontiguousarray(array) for argument, array in given.items() if array is not None}
    flags = (SCALE in bound) * USE_SCALE + (SHIFT in bound) * USE_SHIFT
    arrays: dict[int, Descriptor | None] = {
        argument: Descriptor(array.shape, np.float32) for argument, array in bound.items()
    }
    arguments = (FORWARD_INFERENCE, rows, rows, None, c_float(eps), flags, None)
    primitive = Primitive("layer_normalization_forward", arguments, {SRC: rows, DST: rows, **arrays}, threads(alone))
    primitive.bind({SRC: x, DST: y, **bound})
    return primitive
