"""Embeddings with a padding token, distances, and dropout of whole channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch import embeddings
from tinytorch.base.course import Longer
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.random import default_generator
from tinytorch.layers import Module, Parameter, kaiming_uniform
from tinytorch.ops.common import raw
from tinytorch.ops.products import einsum
from tinytorch.ops.reductions import norm
from tinytorch.tensor import Tensor, apply, where


def embedding(input: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Return the rows of `weight` at the tokens; the row padding_idx gets no gradient."""
    tokens = embeddings.checked_tokens(input, weight.shape[0])
    rows = apply(embeddings.embedding, weight, tokens)
    if padding_idx is None:
        return rows
    padding = tokens == padding_idx % weight.shape[0]
    return where(padding[..., None], rows.detach(), rows)


class Embedding(embeddings.Embedding, metaclass=Longer):
    """The course's Embedding, with a padding token: its row starts at 0 and gets no gradient."""

    course = embeddings.Embedding

    @staticmethod
    def plain(num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *_: Any, **__: Any) -> Any:
        """Return the arguments for the course's layer, or None if it lacks a setting."""
        return ((num_embeddings, embedding_dim), {}) if padding_idx is None else None

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise SettingError(f"Embedding: padding_idx {padding_idx}: expected a token below {num_embeddings}")
            self.weight.data[padding_idx] = 0
        self.padding_idx = padding_idx

    def forward(self, tokens: Any) -> Tensor:
        return embedding(tokens, self.weight, self.padding_idx)

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None) -> Any:
        """Return an Embedding with the given rows; `freeze` keeps them from being trained."""
        rows, width = embeddings.shape
        layer = cls(rows, width, padding_idx)
        layer.weight.data = embeddings.data.copy()
        layer.weight.requires_grad = not freeze
        return layer


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Return 1 at the index and 0 elsewhere, int64 (..., num_classes); the classes are counted by default.

    Raises:
        SettingError: the tensor holds no class indices.
    """
    array = np.asarray(raw(tensor))
    if array.dtype.kind not in "iu" or (array.size and array.min() < 0):
        raise SettingError(f"one_hot: {array.dtype} from {array.min(initial=0)}: expected integers of at least 0")
    classes = int(array.max(initial=-1)) + 1 if num_classes < 0 else num_classes
    if array.size and array.max() >= classes:
        raise SettingError(f"one_hot: index {array.max()}: expected less than num_classes {classes}")
    return Tensor((array[..., None].astype(np.int64) == np.arange(classes)).astype(np.int64))


# Distances ----------------------------------------------------------------------------------------------


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the p-norm along `dim`, or by eps if that is larger."""
    return input / norm(input, p, dim, keepdim=True).clamp(eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return x1 . x2 / (|x1| |x2|) along `dim`, each norm at least eps."""
    norms = norm(x1, 2, dim, keepdim=True).clamp(eps), norm(x2, 2, dim, keepdim=True).clamp(eps)
    return ((x1 / norms[0]) * (x2 / norms[1])).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """Return the p-norm of x1 - x2 + eps along the last dimension."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


class CosineSimilarity(Module):
    """`cosine_similarity` as a layer."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """`pairwise_distance` as a layer."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.p, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x1^T W_k x2 + b_k for each output k: weight (K, D1, D2)."""
    y = einsum("...i,kij,...j->...k", input1, weight, input2)
    return y if bias is None else y + bias


class Bilinear(Module, metaclass=Longer):
    """`bilinear` as a layer."""

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True) -> None:
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = kaiming_uniform((out_features, in1_features, in2_features), in1_features)
        self.bias: Parameter | None = kaiming_uniform((out_features,), in1_features) if bias else None

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return bilinear(x1, x2, self.weight, self.bias)


# Dropout ------------------------------------------------------------------------------------------------


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability p and scale the rest by 1 / (1 - p), in training."""
    return _dropped(input, input.shape, p, training)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each channel of (N, C, ...) with probability p and scale the rest by 1 / (1 - p), in training."""
    if input.ndim < 2:
        raise ShapeError(f"dropout2d: input of shape {input.shape}: expected (N, C, ...)")
    return _dropped(input, (*input.shape[:2],) + (1,) * (input.ndim - 2), p, training)


def _dropped(x: Tensor, shape: tuple[int, ...], p: float, training: bool) -> Tensor:
    if not 0 <= p <= 1:
        raise SettingError(f"dropout: p {p}: expected 0 <= p <= 1")
    if not training or p == 0:
        return x
    if p == 1:
        return where(np.zeros(x.shape, bool), x, 0.0)
    kept = default_generator().random(shape, np.float32) >= p
    return where(np.broadcast_to(kept, x.shape), x * x.dtype.type(1 / (1 - p)), 0.0)


class Dropout2d(Module):
    """`dropout2d` as a layer, active in training."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0 <= p <= 1:
            raise SettingError(f"{type(self).__name__}: p {p}: expected 0 <= p <= 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout2d(x, self.p, self.training)


class Dropout1d(Dropout2d):
    """`dropout2d` for sequences (N, C, L)."""
