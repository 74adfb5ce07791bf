"""Three distributions: of classes, of bits, and of real numbers. Samples come from the default generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytorch.activations import log_softmax
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.random import default_generator
from tinytorch.ops.common import as_tensor, raw
from tinytorch.ops.elementwise import clamp
from tinytorch.tensor import Tensor, where


def _one_of(name: str, probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise SettingError(f"{name}: expected either probs or logits")


class Categorical:
    """A distribution of the classes 0 to C - 1, given by probabilities (..., C) up to a factor, or by logits.

    Raises:
        SettingError: neither or both are given, or probabilities are negative, not finite, or all 0.
    """

    def __init__(self, probs: Tensor | None = None, logits: Tensor | None = None) -> None:
        _one_of("Categorical", probs, logits)
        if probs is not None:
            sums = probs.data.sum(axis=-1)
            if not (np.isfinite(probs.data).all() and (probs.data >= 0).all() and (sums > 0).all()):
                raise SettingError("Categorical: expected finite probabilities of at least 0, not all 0; are they NaN?")
            self.probs = probs / probs.sum(-1, keepdim=True)
            eps = float(np.finfo(probs.dtype).eps)
            self.logits = clamp(self.probs, eps, 1 - eps).log()
        else:
            assert logits is not None
            self.logits = log_softmax(logits)
            self.probs = self.logits.exp()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw classes, sample_shape + the shape without the last dimension."""
        steps = np.cumsum(self.probs.data.astype(np.float64), axis=-1)
        shape = (*sample_shape, *steps.shape[:-1])
        draws = default_generator().random(shape)[..., None] * steps[..., -1:]
        return Tensor((np.broadcast_to(steps, (*shape, steps.shape[-1])) <= draws).sum(axis=-1))

    def log_prob(self, value: Any) -> Tensor:
        """Return the logarithm of the probability of each class in `value`."""
        index = np.asarray(raw(value)).astype(np.int64)
        shape = np.broadcast_shapes(index.shape, self.logits.shape[:-1])
        expanded = self.logits.expand(*shape, self.logits.shape[-1])
        return expanded.gather(-1, np.broadcast_to(index, shape)[..., None]).squeeze(-1)

    def entropy(self) -> Tensor:
        """Return -sum of p log p."""
        return -(self.probs * self.logits).sum(-1)


class Bernoulli:
    """A distribution of 0 and 1, given by the probability of 1 or by its logit."""

    def __init__(self, probs: Tensor | None = None, logits: Tensor | None = None) -> None:
        _one_of("Bernoulli", probs, logits)
        if probs is not None:
            if not ((probs.data >= 0).all() and (probs.data <= 1).all()):
                raise SettingError("Bernoulli: expected probabilities from 0 to 1; are they NaN?")
            eps = float(np.finfo(probs.dtype).eps)
            inside = clamp(probs, eps, 1 - eps)
            self.probs, self.logits = probs, inside.log() - (1 - inside).log()
        else:
            assert logits is not None
            self.logits, self.probs = logits, logits.sigmoid()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw zeros and ones."""
        draws = default_generator().random((*sample_shape, *self.probs.shape))
        return Tensor((draws < self.probs.data).astype(self.probs.dtype))

    def log_prob(self, value: Any) -> Tensor:
        """Return the logarithm of the probability of each value."""
        x = self.logits
        return as_tensor(value) * x - _log1p_exp(x)

    def entropy(self) -> Tensor:
        """Return -p log p - (1 - p) log(1 - p)."""
        return _log1p_exp(self.logits) - self.probs * self.logits


def _log1p_exp(x: Tensor) -> Tensor:
    """Return log(1 + e^x), without overflow."""
    return x.clamp(min=0) + (-x.abs()).exp().log1p()


class Normal:
    """A normal distribution with mean `loc` and standard deviation `scale`.

    Raises:
        SettingError: a scale is not positive.
        ShapeError: loc and scale do not broadcast.
    """

    def __init__(self, loc: Any, scale: Any) -> None:
        loc, scale = (as_tensor(float(v) if isinstance(v, int) else v) for v in (loc, scale))
        if not (scale.data > 0).all():
            raise SettingError("Normal: expected scales above 0; are they NaN?")
        try:
            shape = np.broadcast_shapes(loc.shape, scale.shape)
        except ValueError:
            raise ShapeError(f"Normal: loc {loc.shape} and scale {scale.shape} do not broadcast") from None
        self.loc, self.scale = (v if v.shape == shape else v.expand(*shape) for v in (loc, scale))

    @property
    def mean(self) -> Tensor:
        """The mean."""
        return self.loc

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.scale

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw numbers through which gradients flow to loc and scale."""
        noise = default_generator().standard_normal((*sample_shape, *self.loc.shape))
        return self.loc + self.scale * Tensor(np.asarray(noise).astype(self.loc.dtype))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw numbers without gradients."""
        return self.rsample(sample_shape).detach()

    def log_prob(self, value: Any) -> Tensor:
        """Return the logarithm of the density at each value."""
        z = (as_tensor(value) - self.loc) / self.scale
        return -(z * z) / 2 - self.scale.log() - math.log(math.sqrt(2 * math.pi))

    def entropy(self) -> Tensor:
        """Return log(scale) + log(2 pi e) / 2."""
        return self.scale.log() + (0.5 + 0.5 * math.log(2 * math.pi))


def kl_divergence(p: Any, q: Any) -> Tensor:
    """Return the sum or integral of p log(p / q), for two distributions of one kind.

    Raises:
        SettingError: they are of different kinds.
    """
    if isinstance(p, Normal) and isinstance(q, Normal):
        ratio = (p.scale / q.scale) ** 2
        return (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log()) * 0.5
    if isinstance(p, Categorical) and isinstance(q, Categorical):
        return where(p.probs.data > 0, p.probs * (p.logits - q.logits), 0.0).sum(-1)
    raise SettingError(
        f"kl_divergence: {type(p).__name__} and {type(q).__name__}: expected two Normal or two Categorical"
    )
