"""Whether a predictor returns what its model returns, and whether a language model ignores later tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinytorch.autograd import no_grad
from tinytorch.layers import Module
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT

CHECKED = 50  # inputs whose outputs are compared


def check_answers(model: Module, predict: Callable[[Array], Array], inputs: Array, tolerance: float) -> None:
    """Refuse a predictor whose outputs, one input at a time or in a batch, are not the model's.

    Args:
        inputs: (N, ...), of which the first 50 are used. tolerance: of a difference, relative to the largest output.

    Raises:
        ValueError: an output has another shape or differs by more.
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
    """Refuse a language model whose logits depend on later tokens.

    Args:
        tokens: (B, T). tolerance: of a difference, relative to the largest logit.

    Raises:
        ValueError: a logit changes by more when later tokens change.
    """
    half = tokens.shape[1] // 2
    other = tokens.copy()
    other[:, half:] = (other[:, half:] + 1) % model.vocab_size
    with no_grad():
        logits, changed = (model(text).data[:, :half] for text in (tokens, other))
    if not np.abs(logits - changed).max() <= tolerance * np.abs(logits).max():
        raise ValueError("the model reads the tokens that it should predict")
