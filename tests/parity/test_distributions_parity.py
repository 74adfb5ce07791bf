"""Distributions against PyTorch's: log-probabilities, entropies, and divergences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

import tinytorch as tt

X, Y = np.random.default_rng(0).standard_normal((2, 3, 4))
EXPRESSIONS = [
    "D.Categorical(logits=x).log_prob(T([1, 0, 3]))",
    "D.Categorical(x.exp()).log_prob(T([[1, 0, 3], [2, 2, 2]]))",
    "D.Categorical(x.exp()).entropy()",
    "D.Bernoulli(logits=x).log_prob(T([1.0, 0.0, 1.0, 1.0]))",
    "D.Bernoulli(x.sigmoid()).entropy()",
    "D.Normal(x, y.exp()).log_prob(T(0.3))",
    "D.Normal(0.0, y.exp()).entropy()",
    "D.kl_divergence(D.Normal(x, y.exp()), D.Normal(y, x.exp()))",
    "D.kl_divergence(D.Categorical(logits=x), D.Categorical(logits=y))",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_distribution_has_pytorchs_values(expression: str) -> None:
    results = []
    for framework in (tt, torch):
        space: dict[str, Any] = {"D": framework.distributions, "T": framework.tensor}
        results.append(eval(expression, {**space, "x": framework.tensor(X), "y": framework.tensor(Y)}))
    np.testing.assert_allclose(results[0].data, results[1].numpy(), rtol=1e-6, atol=1e-8)
