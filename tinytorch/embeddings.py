"""Module 12: from token numbers to vectors, and where each token stands.

Shapes: tokens (B, T), vectors (B, T, D), V different tokens.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.autograd import derivative
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.random import default_generator
from tinytorch.layers import Module, Parameter, linear
from tinytorch.tensor import Array, Op, Tensor, apply

SMALL_VOCABULARY = 256  # up to here a one-hot product is the faster gradient


def _embedding_weight(g: Array, y: Array, weight: Array, tokens: Array) -> Array:
    """Row v of the gradient is the sum of g wherever token v stood.

    `np.add.at` says just that, but takes 740 us for 768 tokens, 68 x 128 weights; the one-hot product takes 90.
    For 4,096 tokens and 1,256 x 128 weights: `np.add.at` 8 ms, `bincount` 1.1 ms, one-hot 31 ms.
    """
    size, width = weight.shape
    rows = g.reshape(-1, width)  # (N, D)
    tokens = tokens.reshape(-1)
    if size <= SMALL_VOCABULARY:
        one_hot = np.zeros((len(tokens), size), g.dtype)  # (N, V)
        one_hot[np.arange(len(tokens)), tokens] = 1
        return one_hot.T @ rows
    places = tokens[:, None] * width + np.arange(width)  # (N, D): where each number goes in the flat weight
    return np.bincount(places.reshape(-1), rows.reshape(-1), size * width).reshape(size, width)


embedding = Op("embedding", lambda weight, tokens: weight.take(tokens, axis=0))
derivative(embedding, _embedding_weight, None)


class Embedding(Module):
    """A table of vectors, one row a token: y[b, t] = weight[tokens[b, t]].

    Shapes: tokens (...) of integers, weight (num_embeddings, embedding_dim), y (..., embedding_dim).
    Starts standard normal, as PyTorch's does.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        if num_embeddings < 1 or embedding_dim < 1:
            raise SettingError(f"Embedding: sizes {num_embeddings} and {embedding_dim}: expected at least 1")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        shape = (num_embeddings, embedding_dim)
        self.weight = Parameter(default_generator().standard_normal(shape, np.float32))

    def forward(self, tokens: Tensor | Array) -> Tensor:
        return apply(embedding, self.weight, checked_tokens(tokens, self.num_embeddings))

    def project(self, x: Tensor) -> Tensor:
        """The product of vectors (..., D) with each row, (..., V): a language model's last step with tied weights."""
        return apply(linear, x, self.weight)


def checked_tokens(tokens: Tensor | Array, vocabulary: int) -> Array:
    """The tokens as an array, if all of them are known.

    Raises:
        SettingError: a number is not an integer from 0 to vocabulary - 1; the message says which and where.
    """
    array = tokens.data if isinstance(tokens, Tensor) else np.asarray(tokens)
    if array.dtype.kind not in "iu":
        raise SettingError(f"tokens of type {array.dtype}: expected integers")
    if array.size and not 0 <= array.min() <= array.max() < vocabulary:
        wrong = np.argwhere((array < 0) | (array >= vocabulary))[0]
        place = ", ".join(str(i) for i in wrong)
        raise SettingError(f"token {array[tuple(wrong)]} at ({place}): expected 0 to {vocabulary - 1}")
    return array


class LearnedPositions(Module):
    """One trained vector for each place in the context: (B, T, D) + weight[:T].

    The weight is called as PyTorch calls that of an embedding of positions, (max_length, D).
    """

    def __init__(self, max_length: int, embedding_dim: int) -> None:
        if max_length < 1 or embedding_dim < 1:
            raise SettingError(f"LearnedPositions: sizes {max_length} and {embedding_dim}: expected at least 1")
        self.max_length = max_length
        self.weight = Parameter(default_generator().standard_normal((max_length, embedding_dim), np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight[: _length(x, self.max_length, "LearnedPositions")]


class SinusoidalPositions(Module):
    """Fixed waves of falling frequency: (B, T, D) + sinusoids[:T]; see `sinusoids`. Nothing is trained."""

    def __init__(self, max_length: int, embedding_dim: int) -> None:
        self.max_length = max_length
        self._table = sinusoids(max_length, embedding_dim)

    @property
    def weight(self) -> Tensor:
        """The waves, (max_length, D), for who reads them as `LearnedPositions`' own."""
        return Tensor(self._table)

    def forward(self, x: Tensor) -> Tensor:
        return x + self._table[: _length(x, self.max_length, "SinusoidalPositions")].astype(x.dtype, copy=False)


def sinusoids(length: int, width: int) -> Array:
    """p[t, 2i] = sin(t / 10000^(2i / D)), p[t, 2i + 1] = cos of the same. Shape (length, width), float32.

    A shift by k places is the same rotation of each pair (2i, 2i + 1) wherever it starts.
    Source: Vaswani et al. 2017, section 3.5, https://arxiv.org/abs/1706.03762.
    """
    if length < 1 or width < 2 or width % 2:
        raise SettingError(f"sinusoids: length {length}, width {width}: expected at least 1, and an even width")
    frequency = np.exp(np.arange(0, width, 2) * (-math.log(10_000) / width))  # (D/2,)
    angle = np.arange(length)[:, None] * frequency  # (T, D/2)
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(length, width).astype(np.float32)


def _length(x: Tensor, max_length: int, name: str) -> int:
    if x.ndim < 2 or x.shape[-2] > max_length:
        raise ShapeError(f"{name}: input of shape {x.shape}: expected (..., T, D) with T up to {max_length}")
    return x.shape[-2]
