"""Module 19: one step of a GPT with a cache, as a fixed sequence of array operations.

`caching.Decoder` contains the plain implementation. This file implements it again for one new token per row, where the
overhead around the arithmetic dominates: in nanoGPT's CPU configuration, a token needs about 0.8 million
multiplications, 40 µs.

Shapes: B rows, L positions, H heads, D width of a head, C = H x D, V tokens in the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinytorch.activations import GELU_CUBIC, GELU_SCALE
from tinytorch.attention import MultiHeadAttention
from tinytorch.base.fusing import is_seen
from tinytorch.embeddings import Embedding
from tinytorch.inference.gpt_native import Layers, Products, fits
from tinytorch.layers import Linear
from tinytorch.native import int8
from tinytorch.quantized.layers import QuantizedLinear
from tinytorch.quantized.tables import QuantizedEmbedding
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT, MLP, LayerNorm, Transformer, TransformerBlock

ArrayFunction = Callable[[Array], Array]
# BLAS may compute with what is left in its memory beside an array, and NumPy then warns of NaN that no result contains
SILENT = np.errstate(invalid="ignore")


def is_plain(model: GPT) -> bool:
    """Return whether `Step` computes the same as the model: norms, attention, and their order must be those of GPT.

    The layers that compute products may have been replaced. No part may have hooks or a `forward` of its own.
    """
    if any(map(is_seen, model.modules())):
        return False
    parts = model.transformer
    norms = [parts.ln_f, *(norm for block in parts.h for norm in (block.ln_1, block.ln_2))]
    return (
        type(model) is GPT
        and type(parts) is Transformer
        and all(type(norm) is LayerNorm for norm in norms)
        and all(type(block) is TransformerBlock and type(block.attn) is MultiHeadAttention for block in parts.h)
    )


class Product:
    """A layer on arrays, with the factors around it: out = after * layer(x * gain + shift).

    With `centre`, the mean of each row is subtracted from the result. `_call` is the plain implementation, for any
    layer that accepts a Tensor (B, 1, in). If the layer is y = x W^T + b, all factors are folded into a copy of W and b
    once, and a call is one product into the buffer `out`.

    Shapes: x (B, in), gain and shift (in,), after (out,), out (B, out).
    """

    def __init__(
        self,
        layer: Callable[[Tensor], Tensor],
        out: Array,
        gain: Array | None = None,
        shift: Array | None = None,
        after: Array | None = None,
        centre: bool = False,
    ) -> None:
        self.layer, self.out, self.gain, self.shift, self.after, self.centre = layer, out, gain, shift, after, centre
        self.one, self.mean = np.ones(1, out.dtype), np.full(out.shape[1], 1 / out.shape[1], out.dtype)
        self.turned: Array | None = None
        self.run: Callable[[], object] | None = None
        if type(layer) is QuantizedLinear:
            self.bind(layer)
        if type(layer) is Linear:
            self.fold(layer.weight.data, None if layer.bias is None else layer.bias.data)

    def fold(self, weight: Array, bias: Array | None = None) -> None:
        """Fold the factors into a copy of the weight and the bias of the layer x weight^T + bias."""
        if self.shift is not None:
            bias = weight @ self.shift + (0 if bias is None else bias)
        if self.gain is not None:
            weight = weight * self.gain
        if self.after is not None:
            weight = weight * self.after[:, None]
            bias = None if bias is None else bias * self.after
        if self.centre:
            weight = weight - weight.mean(axis=0)
            bias = None if bias is None else bias - bias.mean()
        self.turned = np.ascontiguousarray(weight.T, self.out.dtype)  # takes a sixth less time than the view
        self.bias = None if bias is None else bias.astype(self.out.dtype)

    def bind(self, layer: QuantizedLinear) -> None:
        """Bind the layer's kernel to preallocated buffers: for one row, this takes a third of the time of a call."""
        kernel = layer.kernel()
        if layer.input_scale is None and isinstance(kernel, int8.Linear) and self.out.dtype == np.float32:
            self.given = np.zeros((len(self.out), layer.in_features), np.float32)
            self.run = kernel.bound(self.given, self.out)[0]

    def __call__(self, x: Array) -> Array:
        if self.turned is None:
            return self._call(x)
        np.dot(x, self.turned, self.out)  # 0.4 µs less than matmul, of 1.5 to 3.5 µs
        if self.bias is not None:
            np.add(self.out, self.bias, self.out)
        return self.out

    def _call(self, x: Array) -> Array:
        if self.run is not None:
            np.multiply(x, self.one if self.gain is None else self.gain, self.given)
            if self.shift is not None:
                np.add(self.given, self.shift, self.given)
            self.run()
        else:
            if self.gain is not None:
                x = x * self.gain
            if self.shift is not None:
                x = x + self.shift
            np.copyto(self.out, self.layer(Tensor(x[:, None])).data[:, 0])
        if self.after is not None:
            np.multiply(self.out, self.after, self.out)
        if self.centre:
            np.subtract(self.out, np.dot(self.out, self.mean)[:, None], self.out)  # `mean` takes 4 µs more
        return self.out


def _around(norm: LayerNorm) -> tuple[Array, Array | None]:
    """Return the gain and the shift of the norm, which `Step._norm` leaves to the next product."""
    gain = norm.weight.data * norm.weight.dtype.type(math.sqrt(norm.weight.data.size))
    return gain, None if norm.bias is None else norm.bias.data


# gelu(x) = x/2 (1 + tanh(g x + g c x^3)). With z = u x and u^3 = g c, this is z/2u (1 + tanh(z (z^2 + g / u))).
GELU_UNIT = (GELU_SCALE * GELU_CUBIC) ** (1 / 3)


@dataclass
class BlockStep:
    """The products of one block, including the factors around them, and C eps of its two norms."""

    c_attn: Product
    c_proj: Product
    mlp: ArrayFunction
    epsilon_1: Array  # an array, because a NumPy call with a scalar takes 0.3 µs more
    epsilon_2: Array


class Blocks:
    """The products of all blocks for rows x (B, C), which must have mean 0, and of the head.

    Attributes:
        blocks, head: the products; each block's c_attn writes qkv (B, 3 C).
        last: (rows, C), the states whose logits are computed; x itself, or an array into which the caller copies them.
    """

    def __init__(self, model: GPT, x: Array, qkv: Array, last: Array | None = None) -> None:
        parts, dtype, c = model.transformer, qkv.dtype, x.shape[1]
        self.x, self.last = x, x if last is None else last
        self._space = _space(x)
        self._last_space = self._space if last is None else _space(last)
        root = np.ones(3 * c, dtype)
        root[:c] = 1 / math.sqrt(c // parts.h[0].attn.n_head)
        self.blocks = [
            BlockStep(
                c_attn=Product(block.attn.c_attn, qkv, *_around(block.ln_1), after=root),
                c_proj=Product(block.attn.c_proj, np.empty_like(x), centre=True),
                mlp=_mlp(block, np.empty_like(x)),
                epsilon_1=np.array([c * block.ln_1.eps], dtype),
                epsilon_2=np.array([c * block.ln_2.eps], dtype),
            )
            for block in parts.h
        ]
        table: object = parts.wte
        head = table.rows if type(table) is QuantizedEmbedding else lambda x: model.head(x)
        self._head = Product(head, np.empty((len(self.last), model.vocab_size), dtype), *_around(parts.ln_f))
        if type(table) is Embedding:
            self._head.fold(table.weight.data)
        self.epsilon = np.array([c * parts.ln_f.eps], dtype)

    def enter(self, i: int) -> None:
        """Write block i's queries, keys, and values into qkv."""
        block = self.blocks[i]
        block.c_attn(_norm(self.x, block.epsilon_1, *self._space))

    def leave(self, i: int, y: Array) -> None:
        """Add what follows the attention's result y (B, C) to x."""
        x, block = self.x, self.blocks[i]
        np.add(x, block.c_proj(y), x)
        np.add(x, block.mlp(_norm(x, block.epsilon_2, *self._space)), x)

    def head(self) -> Array:
        """Return the logits of `last`, valid until the next call."""
        return self._head(_norm(self.last, self.epsilon, *self._last_space))


def _space(x: Array) -> tuple[Array, Array, Array]:
    """Return memory for `_norm`: the square of each row's length, the same as a column, and the result."""
    square = np.empty(len(x), x.dtype)
    return square, square[:, None], np.empty_like(x)


def _norm(x: Array, epsilon: Array, square: Array, column: Array, normed: Array) -> Array:
    """Return x / sqrt(x . x + epsilon) for each row: the layer norm of rows with mean 0, without gain and shift."""
    np.vecdot(x, x, square)
    np.add(square, epsilon, square)
    np.sqrt(square, square)
    return np.divide(x, column, normed)


class Step:
    """One step of generation: the tokens of all rows (B,) -> logits of the next ones (B, V).

    It makes about 25 NumPy calls per layer, into preallocated buffers. In nanoGPT's CPU configuration (4 layers, width
    128), it takes 130 µs, and `Decoder._read` 320 µs. Most of the difference is the overhead of Tensors and new arrays.
    The rest is computation that is moved into copies of the weights once, with these savings per token:

    - The residual stream x is kept at mean 0, by subtracting the mean from everything that is added to it (the weights
      of c_proj, and the embeddings). The norms, which subtract the mean anyway, do not have to compute it: 8 x 1.3 µs.
    - The norms' weights, biases, and sqrt(C) are folded into the next product, so a norm is x / sqrt(x . x + C eps), 4
      calls: 9 x 0.7 µs, and twice that with biases.
    - The factors of GELU are folded into the weights of c_fc and c_proj, 6 calls instead of 9: 12 x 0.8 µs.
    - 1 / sqrt(D) is folded into the weights of the queries: 4 x 0.8 µs.

    Args:
        pairs: the keys and values of the cache, (n_layer, 2, B, H, block_size, D), which each step extends.
    """

    def __init__(self, model: GPT, pairs: Array) -> None:
        self.pairs, parts = pairs, model.transformer
        _, _, rows, heads, block_size, width = pairs.shape
        dtype: np.dtype[np.floating] = np.result_type(parts.wpe.weight.dtype, np.float32)
        c = heads * width
        self.wte, self.positions = parts.wte, parts.wpe.weight.data.astype(dtype)
        self.x, self.y = (np.empty((rows, c), dtype) for _ in range(2))
        self.mean = np.full(c, 1 / c, dtype)
        qkv = np.empty((rows, 3 * c), dtype)
        by_head = qkv.reshape(rows, 3, heads, width).transpose(1, 0, 2, 3)
        self.query, self.pair = by_head[0, ..., None], by_head[1:]  # (B, H, D, 1), (2, B, H, D)
        self.scores = np.empty((rows, heads, block_size, 1), dtype)
        self.largest, self.total = (np.empty((rows, heads, 1, 1), dtype) for _ in range(2))
        self.attended = self.y.reshape(rows, heads, 1, width)
        table: object = parts.wte
        self.table: Array | None = parts.wte.weight.data if type(table) is Embedding else None
        self.native = Products(Layers(model), self.x, self.y, qkv) if fits(model, rows, dtype) else None
        self.plain = Blocks(model, self.x, qkv) if self.native is None else None

    @SILENT
    def __call__(self, tokens: Array, place: int) -> Array:
        """Return the logits after tokens (B,) at position `place`, and store their keys and values in `pairs`.

        `pairs` must contain the keys and values of all earlier positions. The result is only valid until the next call.
        """
        x, query, plain = self.x, self.query, self.plain
        np.add(self._embedded(tokens), self.positions[place], x)
        np.subtract(x, np.dot(x, self.mean)[:, None], x)
        scores = self.scores[:, :, : place + 1]
        weights = scores.swapaxes(2, 3)
        pairs = self.pairs[:, :, :, :, : place + 1]
        for i, pair in enumerate(pairs):
            if plain is None:
                self.native.programs[i]()  # type: ignore[union-attr]
            else:
                plain.enter(i)
            pair[:, :, :, place] = self.pair
            keys, values = pair  # (B, H, L, D)
            np.matmul(keys, query, scores)
            np.maximum.reduce(scores, axis=2, out=self.largest, keepdims=True)
            np.subtract(scores, self.largest, scores)
            np.exp(scores, scores)
            np.add.reduce(scores, axis=2, out=self.total, keepdims=True)
            np.matmul(weights, values, self.attended)
            np.divide(self.attended, self.total, self.attended)
            if plain is not None:
                plain.leave(i, self.y)
        if plain is not None:
            return plain.head()
        assert self.native is not None
        self.native.programs[-1]()
        return self.native.logits

    def _embedded(self, tokens: Array) -> Array:
        if self.table is not None:
            return self.table.take(tokens, axis=0)
        table: object = self.wte
        if type(table) is QuantizedEmbedding:
            rows, scales = table.rows.weight.data, table.rows.weight_scale.data
            return np.multiply(rows.take(tokens, axis=0), scales.take(tokens)[:, None], dtype=np.float32)
        return self.wte(tokens[:, None]).data[:, 0]


def _mlp(block: TransformerBlock, out: Array) -> ArrayFunction:
    """Return the second part of the block, including the norm before it, with centered results."""
    mlp, around = block.mlp, _around(block.ln_2)
    if type(mlp) is not MLP:
        return Product(mlp, out, *around, centre=True)
    if type(mlp.c_fc) is Linear:
        wide = mlp.c_fc.out_features
    else:
        wide = mlp.c_fc(Tensor(np.zeros((1, 1, out.shape[1]), out.dtype))).shape[-1]
    z, t = np.empty((2, len(out), wide), out.dtype)
    inner, one = np.array([[GELU_SCALE / GELU_UNIT], [1]], out.dtype)
    c_fc = Product(mlp.c_fc, z, *around, after=np.full(wide, GELU_UNIT, out.dtype))
    c_proj = Product(mlp.c_proj, out, gain=np.full(wide, 0.5 / GELU_UNIT, out.dtype), centre=True)

    def both(x: Array) -> Array:
        c_fc(x)
        np.multiply(z, z, t)
        np.add(t, inner, t)
        np.multiply(t, z, t)
        np.tanh(t, t)
        np.add(t, one, t)
        np.multiply(t, z, t)
        return c_proj(t)

    return both
