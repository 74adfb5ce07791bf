"""Module 19: one step of a GPT with a cache, as a plan over arrays.

What module 19 says plainly stands in `caching.Decoder`; this says it again for one new token a row, where everything
but the arithmetic counts: a token needs some 0.8 million multiplications, 40 us, in nanoGPT's CPU configuration.

Shapes: B rows, L positions, H heads, D width of a head, C = H x D, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinytorch.activations import GELU_CUBIC, GELU_SCALE
from tinytorch.attention import MultiHeadAttention
from tinytorch.embeddings import Embedding
from tinytorch.layers import Linear
from tinytorch.native import int8
from tinytorch.quantized.layers import QuantizedLinear
from tinytorch.quantized.tables import QuantizedEmbedding
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT, MLP, LayerNorm, Transformer, TransformerBlock

ArrayFunction = Callable[[Array], Array]


def is_plain(model: GPT) -> bool:
    """Whether norms, attention and their order are GPT's own, so that `Step` says the same; products may be others."""
    parts = model.transformer
    norms = [parts.ln_f, *(norm for block in parts.h for norm in (block.ln_1, block.ln_2))]
    return (
        type(model) is GPT
        and type(parts) is Transformer
        and all(type(norm) is LayerNorm for norm in norms)
        and all(type(block) is TransformerBlock and type(block.attn) is MultiHeadAttention for block in parts.h)
    )


class Product:
    """A layer on rows of arrays, with what stands around it: out = after * layer(x * gain + shift), centred if asked.

    `_call` is the plain idea, for any layer that takes a Tensor (B, 1, in). Where the layer is y = x W^T + b, all of it
    is put into a copy of W and b once, and a call is one product into the buffer `out`.
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
        """The layer is x weight^T + bias, so be quick about it."""
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
        self.turned = np.ascontiguousarray(weight.T, self.out.dtype)  # a sixth sooner than the view
        self.bias = None if bias is None else bias.astype(self.out.dtype)

    def bind(self, layer: QuantizedLinear) -> None:
        """A kernel on buffers of its own: for one row a third of the time of the layer's call."""
        kernel = layer.kernel()
        if layer.input_scale is None and isinstance(kernel, int8.Linear) and self.out.dtype == np.float32:
            self.given = np.zeros((len(self.out), layer.in_features), np.float32)
            self.run = kernel.bound(self.given, self.out)[0]

    def __call__(self, x: Array) -> Array:
        if self.turned is None:
            return self._call(x)
        np.dot(x, self.turned, self.out)  # 0.4 us less than matmul, of 1.5 to 3.5
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
            np.subtract(self.out, np.dot(self.out, self.mean)[:, None], self.out)  # `mean` takes 4 us more
        return self.out


def _around(norm: LayerNorm) -> tuple[Array, Array | None]:
    """Gain and shift that `Step._norm` leaves to the next product."""
    gain = norm.weight.data * norm.weight.dtype.type(math.sqrt(norm.weight.data.size))
    return gain, None if norm.bias is None else norm.bias.data


# gelu(x) = x/2 (1 + tanh(g x + g c x^3)); with z = u x, u^3 = g c, it is z/2u (1 + tanh(z (z^2 + g / u)))
GELU_UNIT = (GELU_SCALE * GELU_CUBIC) ** (1 / 3)


@dataclass
class BlockStep:
    """A block's three products with what stands around them, and C eps of its norms."""

    c_attn: Product
    c_proj: Product
    mlp: ArrayFunction
    epsilon_1: Array  # arrays: beside a scalar a call takes 0.3 us more
    epsilon_2: Array


class Step:
    """The next token of each row: (B,) -> logits (B, V), by some 25 NumPy calls a layer into buffers made once.

    In nanoGPT's CPU configuration (4 layers, width 128) it takes 130 us, `Decoder._read` 320: most of the difference is
    Tensors and new arrays. What else is worked out anew each time is moved into copies of the weights, once:

    - The stream x is kept at mean 0, by taking the mean out of all that is added to it (c_proj's weights and the
      embeddings): the norms, which subtract the mean anyway, need not work it out. 8 x 1.3 us.
    - The norms' weights, biases and sqrt(C) are in the next product's, so that a norm is x / sqrt(x . x + C eps), 4
      calls. 9 x 0.7 us, twice that with biases.
    - GELU's factors are in c_fc's and c_proj's weights: 6 calls for 9. 12 x 0.8 us.
    - 1 / sqrt(D) is in the queries' weights. 4 x 0.8 us.
    """

    def __init__(self, model: GPT, pairs: Array) -> None:
        self.pairs, parts = pairs, model.transformer
        _, _, rows, heads, block_size, width = pairs.shape
        dtype: np.dtype[np.floating] = np.result_type(parts.wpe.weight.dtype, np.float32)
        c = heads * width
        self.wte, self.positions = parts.wte, parts.wpe.weight.data.astype(dtype)
        self.x, self.normed, self.y = (np.empty((rows, c), dtype) for _ in range(3))
        self.square = np.empty(rows, dtype)
        self.lengths = self.square[:, None]
        self.mean = np.full(c, 1 / c, dtype)
        qkv = np.empty((rows, 3 * c), dtype)
        by_head = qkv.reshape(rows, 3, heads, width).transpose(1, 0, 2, 3)
        self.query, self.pair = by_head[0, ..., None], by_head[1:]  # (B, H, D, 1), (2, B, H, D)
        self.scores = np.empty((rows, heads, block_size, 1), dtype)
        self.largest, self.total = (np.empty((rows, heads, 1, 1), dtype) for _ in range(2))
        self.attended = self.y.reshape(rows, heads, 1, width)
        root = np.ones(3 * c, dtype)
        root[:c] = 1 / math.sqrt(width)
        self.blocks = [
            BlockStep(
                c_attn=Product(block.attn.c_attn, qkv, *_around(block.ln_1), after=root),
                c_proj=Product(block.attn.c_proj, np.empty_like(self.x), centre=True),
                mlp=_mlp(block, np.empty_like(self.x)),
                epsilon_1=np.array([c * block.ln_1.eps], dtype),
                epsilon_2=np.array([c * block.ln_2.eps], dtype),
            )
            for block in parts.h
        ]
        table: object = parts.wte
        head = table.rows if type(table) is QuantizedEmbedding else lambda x: model.head(x)
        self.head = Product(head, np.empty((rows, model.vocab_size), dtype), *_around(parts.ln_f))
        self.table: Array | None = None
        if type(parts.wte) is Embedding:
            self.table = parts.wte.weight.data
            self.head.fold(self.table)
        self.epsilon = np.array([c * parts.ln_f.eps], dtype)

    def __call__(self, tokens: Array, place: int) -> Array:
        """The tokens stand at `place`; those before it are in `pairs`. The result is good until the next call."""
        x, query = self.x, self.query
        np.add(self._embedded(tokens), self.positions[place], x)
        np.subtract(x, np.dot(x, self.mean)[:, None], x)
        scores = self.scores[:, :, : place + 1]
        weights = scores.swapaxes(2, 3)
        pairs = self.pairs[:, :, :, :, : place + 1]
        for block, pair in zip(self.blocks, pairs, strict=True):
            block.c_attn(self._norm(block.epsilon_1))
            pair[:, :, :, place] = self.pair
            keys, values = pair  # (B, H, L, D)
            np.matmul(keys, query, scores)
            np.maximum.reduce(scores, axis=2, out=self.largest, keepdims=True)
            np.subtract(scores, self.largest, scores)
            np.exp(scores, scores)
            np.add.reduce(scores, axis=2, out=self.total, keepdims=True)
            np.matmul(weights, values, self.attended)
            np.divide(self.attended, self.total, self.attended)
            np.add(x, block.c_proj(self.y), x)
            np.add(x, block.mlp(self._norm(block.epsilon_2)), x)
        return self.head(self._norm(self.epsilon))

    def _embedded(self, tokens: Array) -> Array:
        if self.table is not None:
            return self.table.take(tokens, axis=0)
        return self.wte(tokens[:, None]).data[:, 0]

    def _norm(self, epsilon: Array) -> Array:
        """x / sqrt(x . x + epsilon), each row: a layer norm of what has mean 0, but for its gain and shift."""
        np.vecdot(self.x, self.x, self.square)
        np.add(self.square, epsilon, self.square)
        np.sqrt(self.square, self.square)
        return np.divide(self.x, self.lengths, self.normed)


def _mlp(block: TransformerBlock, out: Array) -> ArrayFunction:
    """The block's second part with the norm before it, centred."""
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
