"""Module 12: embeddings. A vector for each token and for each position.

Shapes: tokens (B, T), vectors (B, T, D), V different tokens.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.autograd import derivative
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.promotion import in_float32
from tinytorch.base.random import default_generator
from tinytorch.graph.reads import reads
from tinytorch.layers import Module, Parameter, linear
from tinytorch.tensor import Array, Op, Tensor, apply, as_tensor

SMALL_VOCABULARY = 256  # up to this size, a one-hot product is the faster gradient


def _embedding_weight(g: Array, y: Array, weight: Array, tokens: Array) -> Array:
    """Return dL/dweight, (V, D): row v is the sum of g (..., D) over all positions where token v occurs.

    A row whose token does not occur is 0. The weight's values are not needed, and neither is y, the op's result: only
    the tokens (...). The result may be float64; `backward` converts it to the weight's dtype.
    """
    # `np.add.at` computes exactly this. For 768 tokens and 68 x 128 weights, it takes 740 µs, and the one-hot product
    # 90 µs. For 4,096 tokens and 1,256 x 128 weights, `np.add.at` takes 8 ms, `bincount` 1.1 ms, and the one-hot
    # product 31 ms.
    size, width = weight.shape
    rows = in_float32(g).reshape(-1, width)  # (N, D)
    tokens = tokens.reshape(-1)
    if size <= SMALL_VOCABULARY and np.isfinite(np.vdot(rows, rows)):  # 0 times infinity would reach every row
        one_hot = np.zeros((len(tokens), size), rows.dtype)  # (N, V)
        one_hot[np.arange(len(tokens)), tokens] = 1
        return one_hot.T @ rows
    places = tokens[:, None] * width + np.arange(width)  # (N, D): indices into the flattened weight
    return np.bincount(places.reshape(-1), rows.reshape(-1), size * width).reshape(size, width)


embedding = Op("embedding", lambda weight, tokens: weight.take(tokens, axis=0))
derivative(embedding, _embedding_weight, None)
reads(embedding, (1,))


class Embedding(Module):
    """A table of vectors with one row per token: y[b, t] = weight[tokens[b, t]].

    Shapes: tokens (...) of integers, weight (num_embeddings, embedding_dim), y (..., embedding_dim).
    The weight is a float32 `Parameter`, drawn by `default_generator()` from a standard normal distribution, as in
    PyTorch.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        if num_embeddings < 1 or embedding_dim < 1:
            raise SettingError(f"Embedding: sizes {num_embeddings} and {embedding_dim}: expected at least 1")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        shape = (num_embeddings, embedding_dim)
        self.weight = Parameter(default_generator().standard_normal(shape, np.float32))

    def forward(self, tokens: Tensor | Array) -> Tensor:
        """Return the rows of the tokens, (...) -> (..., D), by the op `embedding`.

        Raises:
            SettingError: a token is not in the vocabulary (`checked_tokens`).
        """
        return apply(embedding, self.weight, checked_tokens(tokens, self.num_embeddings))

    def project(self, x: Tensor) -> Tensor:
        """Return x weight^T: (..., D) -> (..., V). With tied weights, it is the last layer of a language model.

        It is the op `linear` without a bias, so its gradient is added to the one of the weight as a table.
        """
        return apply(linear, x, self.weight)


def checked_tokens(tokens: Tensor | Array, vocabulary: int) -> Array:
    """Return the tokens as an array of NumPy's index dtype, after checking that all of them are in the vocabulary.

    Products such as token * width would overflow in the 16 bits of a token file.

    Raises:
        SettingError: a token is not an integer from 0 to vocabulary - 1. The message states the token and its position.
    """
    array = tokens.data if isinstance(tokens, Tensor) else np.asarray(tokens)
    if array.dtype.kind not in "iu":
        raise SettingError(f"tokens of dtype {array.dtype}: expected integers")
    if array.size and not 0 <= array.min() <= array.max() < vocabulary:
        wrong = np.argwhere((array < 0) | (array >= vocabulary))[0]
        place = ", ".join(str(i) for i in wrong)
        raise SettingError(f"token {array[tuple(wrong)]} at ({place}): expected 0 to {vocabulary - 1}")
    return array.astype(np.intp, copy=False)


class LearnedPositions(Module):
    """One trained vector for each position in the context: (B, T, D) + weight[:T].

    The weight is a float32 `Parameter`, (max_length, D), drawn by `default_generator()` from a standard normal
    distribution. It has the same name and shape as the weight of a PyTorch `Embedding` of positions.
    """

    def __init__(self, max_length: int, embedding_dim: int) -> None:
        if max_length < 1 or embedding_dim < 1:
            raise SettingError(f"LearnedPositions: sizes {max_length} and {embedding_dim}: expected at least 1")
        self.max_length = max_length
        self.weight = Parameter(default_generator().standard_normal((max_length, embedding_dim), np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Return x + weight[:T] for x (..., T, D). All samples of a batch get the same vectors.

        Raises:
            ShapeError: T is larger than `max_length` (`_length`).
        """
        x = as_tensor(x)
        return x + self.weight[: _length(x, self.max_length, "LearnedPositions")]


class SinusoidalPositions(Module):
    """Fixed waves of decreasing frequency: (B, T, D) + sinusoids[:T]; see `sinusoids`. It has no parameters."""

    def __init__(self, max_length: int, embedding_dim: int) -> None:
        self.max_length = max_length
        self._table = sinusoids(max_length, embedding_dim)

    @property
    def weight(self) -> Tensor:
        """The waves, (max_length, D), for callers that read the weight of `LearnedPositions`."""
        return Tensor(self._table)

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor(x)
        return x + self._table[: _length(x, self.max_length, "SinusoidalPositions")].astype(x.dtype, copy=False)


def sinusoids(length: int, width: int) -> Array:
    """Return p[t, 2i] = sin(t / 10000^(2i / D)) and p[t, 2i + 1] = cos of the same angle, float32 (length, width).

    D is the width, t = 0 to length - 1, and i = 0 to D / 2 - 1. The angles are computed in float64.

    A shift by k positions rotates each pair (2i, 2i + 1) by the same angle, wherever the shift starts.
    Source: Vaswani et al. 2017, section 3.5, https://arxiv.org/abs/1706.03762.
    """
    if length < 1 or width < 2 or width % 2:
        raise SettingError(f"sinusoids: length {length}, width {width}: expected at least 1, and an even width")
    frequency = np.exp(np.arange(0, width, 2) * (-math.log(10_000) / width))  # (D/2,)
    angle = np.arange(length)[:, None] * frequency  # (T, D/2)
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(length, width).astype(np.float32)


def _length(x: Tensor, max_length: int, name: str) -> int:
    """Return T of an input (..., T, D), after checking that it is at most `max_length`."""
    if x.ndim < 2 or x.shape[-2] > max_length:
        raise ShapeError(f"{name}: input of shape {x.shape}: expected (..., T, D) with T up to {max_length}")
    return x.shape[-2]
