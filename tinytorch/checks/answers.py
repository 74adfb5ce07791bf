"""Checks that a predictor returns what its model returns, and that a language model does not read later tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinytorch.autograd import no_grad
from tinytorch.base.errors import CheckError
from tinytorch.layers import Module
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT

CHECKED = 50  # inputs whose outputs are compared


def check_answers(model: Module, predict: Callable[[Array], Array], inputs: Array, tolerance: float) -> None:
    """Check that a predictor returns the model's outputs, both for one input at a time and for a batch.

    Args:
        inputs: (N, ...), of which the first 50 are used.
        tolerance: the largest accepted difference, relative to the largest output.

    Raises:
        CheckError: an output has another shape, is not finite, or differs by more than the tolerance.
    """
    inputs = inputs[:CHECKED]
    expected = outputs_of(model, inputs)
    alone = np.concatenate([predict(inputs[i : i + 1]) for i in range(len(inputs))])
    check_same(alone, expected, tolerance, "for single queries")
    check_same(predict(inputs), expected, tolerance, "for a batch")


def check_same(outputs: Array, expected: Array, tolerance: float, how: str) -> None:
    """Refuse outputs that are not the expected ones.

    Args:
        tolerance: of a difference, relative to the largest expected output. how: the inputs, for the message.

    Raises:
        CheckError: they have another shape, are not finite, or differ by more.
    """
    if not (np.isfinite(outputs).all() and np.isfinite(expected).all()):
        raise CheckError("not-finite", f"the outputs {how} are not finite: expected no NaN and no infinity")
    most = tolerance * float(np.abs(expected).max())
    if outputs.shape != expected.shape or not np.abs(outputs - expected).max() <= most:
        raise CheckError("answers", f"the predictor's outputs {how} differ from the model's")


@no_grad()
def outputs_of(model: Module, inputs: Array) -> Array:
    """Return the model's own outputs, without a predictor: of a GPT, the logits of the next token."""
    return model.next_logits(inputs) if isinstance(model, GPT) else model(Tensor(inputs)).data


def check_causal(model: GPT, tokens: Array, tolerance: float) -> None:
    """Check that the logits of a language model do not depend on later tokens.

    Args:
        tokens: (B, T), of which the second half is changed.
        tolerance: the largest accepted difference, relative to the largest logit.

    Raises:
        CheckError: a logit changes by more than the tolerance when later tokens change.
    """
    half = tokens.shape[1] // 2
    other = tokens.copy()
    other[:, half:] = (other[:, half:] + 1) % model.vocab_size
    with no_grad():
        logits, changed = (model(text).data[:, :half] for text in (tokens, other))
    if not np.abs(logits - changed).max() <= tolerance * np.abs(logits).max():
        raise CheckError("ahead", "the model reads the tokens that it should predict")
