"""Attention of float32 queries, keys, and values that lie side by side, as primitives of a program.

    y = softmax(q k^T + mask) v        two products with a softmax between them; q is divided by sqrt(D) already

For one text of 128 tokens with 4 heads of width 28, this takes 71 µs on two threads. `arrays.attention` takes 186 µs,
and 265 µs between other primitives, because two libraries then wake their threads in turn.

Shapes: B texts, T positions, H heads, D width of a head, C = H x D.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy import ndarray as Array

from tinytorch.native.primitives import (
    DST,
    FORWARD_INFERENCE,
    SOFTMAX,
    SRC,
    WEIGHTS,
    Attributes,
    Descriptor,
    Primitive,
    operand,
    threads,
)
from tinytorch.native.program import cost_of

TOGETHER = 2**16  # scores that are computed together, so that they stay in the cache: 256 KiB
GROUPS = 16  # of texts at most, because each has its own primitives


class Attention:
    """The attention from qkv (B, T, 3 C) to y (B, T, C), both contiguous.

    It adds a mask of 0 and -inf to the scores if it is causal. A mask of the scores' own shape is fast; oneDNN 3.2
    would need 200 times as long for one that is the same for all texts.
    """

    def __init__(self, qkv: Array, y: Array, n_head: int, causal: bool) -> None:
        self._qkv, self._y, self._n_head = qkv, y, n_head
        texts, length = qkv.shape[:2]
        group = min(texts, max(1, TOGETHER // (n_head * length**2), -(-texts // GROUPS)))
        self._scores = np.empty((group, n_head, length, length), np.float32)
        hidden = np.triu(np.full((length, length), -np.inf, np.float32), 1)
        self._mask = np.broadcast_to(hidden, self._scores.shape).copy() if causal else None

    def primitives(self, alone: bool) -> list[Primitive]:
        """Return the primitives, for one thread or for all."""
        group = len(self._scores)
        return [
            primitive
            for begin in range(0, len(self._qkv), group)
            for primitive in self._group(self._qkv[begin : begin + group], self._y[begin : begin + group], alone)
        ]

    def _group(self, qkv: Array, y: Array, alone: bool) -> list[Primitive]:
        (texts, length, c), heads = y.shape, self._n_head
        width, scores = c // heads, self._scores[: len(y)]
        sizes, steps = (texts, heads, length, width), (length * 3 * c, width, 3 * c, 1)
        queries = values = _described(sizes, steps)
        keys = _described((texts, heads, width, length), (length * 3 * c, width, 1, 3 * c))
        found, result = _described(scores.shape), _described(sizes, (length * c, width, c, 1))
        one_thread, work = threads(alone), cost_of(2 * scores.size * width, scores.nbytes)
        arrays: dict[int, Descriptor | None] = {SRC: queries, WEIGHTS: keys, DST: found}
        bound, attributes = {SRC: qkv, WEIGHTS: qkv[..., c:], DST: scores}, None
        if self._mask is not None:
            attributes, arrays[operand(0)] = Attributes(post=[found]), found
            bound[operand(0)] = self._mask[:texts]
        products = Primitive("matmul", (queries, keys, None, found, attributes), arrays, one_thread, work)
        products.bind(bound)
        what = (FORWARD_INFERENCE, SOFTMAX, found, found, 3, None)
        softmax = Primitive("softmax_forward", what, {SRC: found, DST: found}, one_thread, 4 * scores.nbytes)
        softmax.bind({SRC: scores, DST: scores})
        arrays = {SRC: found, WEIGHTS: values, DST: result}
        means = Primitive("matmul", (found, values, None, result, None), arrays, one_thread, work)
        means.bind({SRC: scores, WEIGHTS: qkv[..., 2 * c :], DST: y})
        return [products, softmax, means]


def _described(shape: Sequence[int], strides: Sequence[int] | None = None) -> Descriptor:
    return Descriptor(shape, np.float32, strides)
