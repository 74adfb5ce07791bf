"""INT8 counterparts of a GPT's tables: the token embedding, which is also the output projection, and the positions."""

from __future__ import annotations

import numpy as np

from tinytorch.base.errors import ShapeError
from tinytorch.embeddings import checked_tokens
from tinytorch.layers import Module
from tinytorch.quantized.layers import QuantizedLinear
from tinytorch.tensor import Array, Tensor, as_tensor


class QuantizedEmbedding(Module):
    """`Embedding` with int8 rows, each with its own scale: y[b, t] = weight[tokens[b, t]] weight_scale[tokens[b, t]].

    `project`, a GPT's output projection, is an integer product of the same int8 weight and dynamically quantized input.
    Buffers: rows.weight int8 (num_embeddings, embedding_dim), rows.weight_scale float32 (num_embeddings,).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.rows = QuantizedLinear(embedding_dim, num_embeddings, bias=False)

    @property
    def weight(self) -> Tensor:
        """The rows as floats, computed at each access, for callers that read the weight of an `Embedding`."""
        return Tensor(self.rows.weight.operand())

    def forward(self, tokens: Tensor | Array) -> Tensor:
        indices = checked_tokens(tokens, self.num_embeddings)
        vectors = self.rows.weight.data[indices].astype(np.float32)
        vectors *= self.rows.weight_scale.data[indices][..., None]
        return Tensor(vectors)

    def project(self, x: Tensor) -> Tensor:
        """Return the products of hidden states with all rows: (..., D) -> (..., V)."""
        return self.rows(x)


class QuantizedPositions(Module):
    """`LearnedPositions` with int8 rows, each with its own scale: (..., T, D) + weight[:T], weight = rows weight_scale.

    Buffers: rows int8 (max_length, embedding_dim), weight_scale float32 (max_length,).
    """

    def __init__(self, max_length: int, embedding_dim: int) -> None:
        self.max_length, self.embedding_dim = max_length, embedding_dim
        self.rows = Tensor(np.zeros((max_length, embedding_dim), np.int8))
        self.weight_scale = Tensor(np.ones(max_length, np.float32))

    @property
    def weight(self) -> Tensor:
        """The vectors as floats, computed at each access, for callers that read the weight of a `LearnedPositions`."""
        return Tensor(self.rows.data * self.weight_scale.data[:, None])

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor(x)
        if x.ndim < 2 or x.shape[-2] > self.max_length or x.shape[-1] != self.embedding_dim:
            raise ShapeError(f"QuantizedPositions: input of shape {x.shape}: expected (..., T, {self.embedding_dim}) "
                             f"with T up to {self.max_length}")  # fmt: skip
        length = x.shape[-2]
        return x + self.rows.data[:length] * self.weight_scale.data[:length, None]
