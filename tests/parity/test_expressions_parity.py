"""Functions and methods in PyTorch's style: the same values, shapes, and gradients as PyTorch's, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

import tinytorch
import tinytorch.nn.functional as functional
from tests import torch_style as S
from tinytorch.tensor import Tensor

TABLES = (S.ELEMENTWISE, S.SHAPES, S.REDUCTIONS, S.INDEXING, S.PRODUCTS, S.FUNCTIONAL, S.LOSSES, S.NOT_THE_DERIVATIVE)


@pytest.mark.parametrize("expression", [line for table in TABLES for line in S.lines(table)])
@pytest.mark.filterwarnings("ignore")
def test_expression_has_pytorchs_values_and_gradients(expression: str) -> None:
    names, constants = S.names_in(expression, S.INPUTS), S.names_in(expression, S.CONSTANTS)
    ours: dict[str, Any] = {n: Tensor(S.INPUTS[n].copy(), requires_grad=True) for n in names}
    theirs: dict[str, Any] = {n: torch.tensor(S.INPUTS[n], requires_grad=True) for n in names}
    given = [{n: make(S.CONSTANTS[n]) for n in constants} for make in (Tensor, torch.tensor)]
    left = S.evaluate(expression, {**ours, **given[0]}, tinytorch, functional)
    right = S.evaluate(expression, {**theirs, **given[1]}, torch, torch.nn.functional)
    assert len(left) == len(right)
    random = np.random.default_rng(1)
    losses: list[Any] = [0, 0]
    for a, b in zip(left, right, strict=True):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-9, atol=1e-11)
        assert str(a.dtype) == str(b.dtype).removeprefix("torch.")
        if b.requires_grad:
            weights = random.standard_normal(a.shape)
            losses[0] = losses[0] + (a * Tensor(weights)).sum()
            losses[1] = losses[1] + (b * torch.tensor(weights)).sum()
    losses[0].backward()
    losses[1].backward()
    for name in names:
        expected = theirs[name].grad
        actual = ours[name].grad
        if expected is None:
            assert actual is None
        else:
            np.testing.assert_allclose(actual.data, expected.numpy(), rtol=1e-7, atol=1e-10)


# Formulas that mix all elements, and zeros that a transposed convolution inserts: an infinite gradient or weight turns
# more of the result to NaN than PyTorch's, and never into another number
MIXED = ("batch_norm", "group_norm", "conv_transpose", "std(", "var(", "lerp", "logaddexp", "logits")


@pytest.mark.parametrize("expression", [line for table in TABLES for line in S.lines(table)])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore")
def test_infinite_value_reaches_no_further_than_in_pytorch(expression: str, value: float) -> None:
    names, constants = S.names_in(expression, S.INPUTS), S.names_in(expression, S.CONSTANTS)
    for place in (*names, "the gradient"):
        arrays = {n: S.INPUTS[n].copy() for n in names}
        if place in names:
            arrays[place][(*(0,) * (arrays[place].ndim - 1), 1)] = value
        ours: dict[str, Any] = {n: Tensor(a.copy(), requires_grad=True) for n, a in arrays.items()}
        theirs: dict[str, Any] = {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
        given = [{n: make(S.CONSTANTS[n]) for n in constants} for make in (Tensor, torch.tensor)]
        try:
            right = S.evaluate(expression, {**theirs, **given[1]}, torch, torch.nn.functional)
        except (RuntimeError, ValueError):
            continue  # PyTorch refuses the value
        left = S.evaluate(expression, {**ours, **given[0]}, tinytorch, functional)
        for a, b in zip(left, right, strict=True):
            no_further(a.data, b.detach().numpy(), expression)
        differentiable = [i for i, b in enumerate(right) if b.requires_grad]
        if differentiable:
            g = np.random.default_rng(1).standard_normal(left[differentiable[0]].shape)
            if place == "the gradient" and g.size:
                g.reshape(-1)[g.size // 2] = value
            left[differentiable[0]].backward(g)
            right[differentiable[0]].backward(torch.tensor(g))
            for name in names:
                if theirs[name].grad is not None:
                    no_further(ours[name].grad.data, theirs[name].grad.numpy(), expression)


def no_further(ours: Any, theirs: Any, expression: str) -> None:
    """Assert equality, where PyTorch's value is not NaN, which any value may replace."""
    meant = ~np.isnan(theirs)
    if any(name in expression for name in MIXED):
        meant &= ~np.isnan(ours)
    np.testing.assert_allclose(np.asarray(ours)[meant], theirs[meant], rtol=1e-6, atol=1e-8)
