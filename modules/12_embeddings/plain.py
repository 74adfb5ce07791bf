"""The plain answer to module 12, for the course's own proof."""

from __future__ import annotations

import math

import numpy as np

from tinytorch.base.errors import SettingError
from tinytorch.base.random import default_generator
from tinytorch.embeddings import _length, checked_tokens, embedding
from tinytorch.layers import Parameter, linear
from tinytorch.tensor import Array, Tensor, apply


def _embedding_weight(g: Array, y: Array, weight: Array, tokens: Array) -> Array:
    out = np.zeros(weight.shape, g.dtype)
    for place in np.ndindex(tokens.shape):
        out[tokens[place]] += g[place]
    return out


class Embedding:
    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        if num_embeddings < 1 or embedding_dim < 1:
            raise SettingError(f"Embedding: sizes {num_embeddings} and {embedding_dim}: expected at least 1")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        drawn = default_generator().standard_normal((num_embeddings, embedding_dim), np.float32)
        self.weight = Parameter(drawn)

    def forward(self, tokens: Tensor | Array) -> Tensor:
        tokens = checked_tokens(tokens, self.num_embeddings)
        return apply(embedding, self.weight, tokens)

    def project(self, x: Tensor) -> Tensor:
        return apply(linear, x, self.weight)


class LearnedPositions:
    def __init__(self, max_length: int, embedding_dim: int) -> None:
        if max_length < 1 or embedding_dim < 1:
            raise SettingError(f"LearnedPositions: sizes {max_length} and {embedding_dim}: expected at least 1")
        self.max_length = max_length
        drawn = default_generator().standard_normal((max_length, embedding_dim), np.float32)
        self.weight = Parameter(drawn)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight[0 : _length(x, self.max_length, "LearnedPositions")]


def sinusoids(length: int, width: int) -> Array:
    if length < 1 or width < 2 or width % 2:
        raise SettingError(f"sinusoids: length {length}, width {width}: expected at least 1, and an even width")
    table = np.zeros((length, width), np.float32)
    for t in range(length):
        for i in range(width // 2):
            angle = t / 10_000 ** (2 * i / width)
            table[t, 2 * i] = math.sin(angle)
            table[t, 2 * i + 1] = math.cos(angle)
    return table
