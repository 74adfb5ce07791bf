"""Gradients and parameters of a whole model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinytorch import tensor as T
from tinytorch.base.errors import GradientError, ShapeError
from tinytorch.tensor import Tensor


def _with_gradients(parameters: Any) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p for p in given if p.grad is not None]


def get_total_norm(parameters: Any, norm_type: float = 2.0) -> float:
    """Return the norm of all gradients together."""
    arrays = [p.grad.data.astype(np.float64).reshape(-1) for p in _with_gradients(parameters) if p.grad is not None]
    if not arrays:
        return 0.0
    if norm_type == math.inf:
        return max(float(np.abs(a).max(initial=0)) for a in arrays)
    return float(sum(float((np.abs(a) ** norm_type).sum()) for a in arrays) ** (1 / norm_type))


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by one factor so that their norm is at most max_norm; return the norm before, as a tensor.

    As in PyTorch, the factor is max_norm / (norm + 1e-6), and gradients that are not finite stay so, unless
    error_if_nonfinite is set. The course's `clip_grad_norm_` always refuses them.

    Raises:
        GradientError: the norm is not finite, and error_if_nonfinite is set.
    """
    chosen = _with_gradients(parameters)
    norm = get_total_norm(chosen, norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise GradientError(f"clip_grad_norm_: the gradients' norm is {norm}")
    factor = max_norm / (norm + 1e-6)
    if factor < 1 or math.isnan(factor):
        for p in chosen:
            p.grad = Tensor(p.grad.data * p.dtype.type(factor))  # type: ignore[union-attr]
    return Tensor(np.array(norm, np.float32))


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Limit each element of each gradient to -clip_value to clip_value."""
    for p in _with_gradients(parameters):
        p.grad = Tensor(np.clip(p.grad.data, -clip_value, clip_value))  # type: ignore[union-attr]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all parameters in one vector."""
    return T.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Set the parameters to the parts of a vector, in their order.

    Raises:
        ShapeError: the vector has another number of elements.
    """
    given = list(parameters)
    if vec.numel() != sum(p.numel() for p in given):
        raise ShapeError(f"vector_to_parameters: {vec.numel()} numbers for {sum(p.numel() for p in given)} parameters")
    place = 0
    for p in given:
        p.data = vec.data[place : place + p.numel()].reshape(p.shape).astype(p.dtype)
        place += p.numel()
