"""Checks that a predictor returns what its model returns, and that a language model does not read later tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinytorch.autograd import no_grad
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
        ValueError: the outputs have another shape, or an output differs by more than the tolerance.
    """
    inputs = inputs[:CHECKED]
    with no_grad():
        expected = model.next_logits(inputs) if isinstance(model, GPT) else model(Tensor(inputs)).data
    alone = np.concatenate([predict(inputs[i : i + 1]) for i in range(len(inputs))])
    most = tolerance * float(np.abs(expected).max())
    for outputs, how in ((alone, "for single queries"), (predict(inputs), "for a batch")):
        if outputs.shape != expected.shape or not np.abs(outputs - expected).max() <= most:
            raise ValueError(f"the predictor's outputs {how} differ from the model's")


def check_causal(model: GPT, tokens: Array, tolerance: float) -> None:
    """Check that the logits of a language model do not depend on later tokens.

    Args:
        tokens: (B, T), of which the second half is changed.
        tolerance: the largest accepted difference, relative to the largest logit.

    Raises:
        ValueError: a logit changes by more than the tolerance when later tokens change.
    """
    half = tokens.shape[1] // 2
    other = tokens.copy()
    other[:, half:] = (other[:, half:] + 1) % model.vocab_size
    with no_grad():
        logits, changed = (model(text).data[:, :half] for text in (tokens, other))
    if not np.abs(logits - changed).max() <= tolerance * np.abs(logits).max():
        raise ValueError("the model reads the tokens that it should predict")
