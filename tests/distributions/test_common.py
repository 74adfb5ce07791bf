"""Distributions: samples, gradients, and what they refuse. PyTorch's values: tests/parity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.distributions import Bernoulli, Categorical, Normal, kl_divergence
from tinytorch.ops.creation import tensor

X = np.random.default_rng(0).standard_normal((3, 4))
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "classes": lambda x, y: Categorical(logits=x).log_prob([1, 0, 3]),
    "classes by probabilities": lambda x, y: Categorical(x.exp()).log_prob(tensor([[1, 0, 3], [2, 2, 2]])),
    "entropy of classes": lambda x, y: Categorical(logits=x).entropy(),
    "bits": lambda x, y: Bernoulli(logits=x).log_prob((X > 0).astype(float)),
    "entropy of bits": lambda x, y: Bernoulli(x.sigmoid()).entropy(),
    "numbers": lambda x, y: Normal(x, y.exp()).log_prob(X * 2),
    "entropy of numbers": lambda x, y: Normal(x, y.exp()).entropy(),
    "divergence of numbers": lambda x, y: kl_divergence(Normal(x, y.exp()), Normal(0, 2)),
    "divergence of classes": lambda x, y: kl_divergence(Categorical(logits=x), Categorical(logits=y)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_equals_central_differences(name: str) -> None:
    tt.check_grads(FUNCTIONS[name], X, X[::-1].copy())


def test_samples_have_the_distribution() -> None:
    tt.manual_seed(0)
    drawn = Categorical(tensor([[1.0, 3.0], [0.0, 2.0]])).sample((4000,))
    assert drawn.shape == (4000, 2)
    np.testing.assert_allclose(drawn.data.mean(axis=0), [0.75, 1], atol=0.03)
    np.testing.assert_allclose(
        Bernoulli(tensor([0.2, 1.0])).sample((4000,)).data.mean(axis=0), np.array([0.2, 1]), atol=0.03
    )
    normal = Normal(tensor([1.0, -2.0], requires_grad=True), 0.5)
    assert not normal.sample().requires_grad
    draws = normal.rsample((4000,))
    assert draws.requires_grad
    np.testing.assert_allclose(draws.data.mean(axis=0), [1, -2], atol=0.05)
    np.testing.assert_allclose(draws.data.std(axis=0), 0.5, atol=0.05)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="either probs or logits"):
        Categorical()
    with pytest.raises(SettingError, match="not all 0; are they NaN"):
        Categorical(tensor([float("nan"), 1.0]))
    with pytest.raises(SettingError, match="probabilities from 0 to 1"):
        Bernoulli(tensor([1.5]))
    with pytest.raises(SettingError, match="scales above 0"):
        Normal(0.0, 0.0)
    with pytest.raises(ShapeError, match="do not broadcast"):
        Normal(tt.ones(2), tt.ones(3))
    with pytest.raises(SettingError, match="Normal and Bernoulli"):
        kl_divergence(Normal(0, 1), Bernoulli(tensor([0.5])))
