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
