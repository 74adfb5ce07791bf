"""Module 05, written as a learner would: the course's proof tests that these answers pass, too."""

from __future__ import annotations

import numpy as np

from tinytorch.tensor import Array, Tensor


def mse_loss(prediction: Tensor, target: Tensor | Array) -> Tensor:
    error = prediction - target
    return (error * error).mean()


def _bce_with_logits(logits: Array, targets: Array) -> Array:
    softplus = np.maximum(logits, 0) + np.log(1 + np.exp(-np.abs(logits)))
    return np.asarray(np.mean(softplus - targets * logits))


def _cross_entropy(logits: Array, targets: Array, label_smoothing: float) -> tuple[Array, Array]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1, keepdims=True)
    log_p = shifted - np.log(total)
    own = log_p[np.arange(len(logits)), targets].mean()
    average = log_p.mean(axis=1).mean()
    loss = -(1 - label_smoothing) * own - label_smoothing * average
    return np.asarray(loss, dtype=logits.dtype), exponentials / total
