"""Prompts as arrays of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray as Array

from tinytorch.base.errors import SettingError, ShapeError


def checked_prompt(tokens: Any) -> Array:
    """Return a prompt, (T,), or several of one length, (B, T), as an array.

    Raises:
        SettingError: there is no token.
        ShapeError: the prompts have different lengths, or there are more than two dimensions.
    """
    try:
        prompt = np.asarray(tokens)
    except ValueError:
        lengths = [len(row) if hasattr(row, "__len__") else 1 for row in tokens]
        raise ShapeError(f"generate: prompts of lengths {lengths}: expected one length; "
                         f"generate from each one separately") from None  # fmt: skip
    if not prompt.size:
        raise SettingError("generate: the prompt is empty; expected at least one token")
    if prompt.ndim not in (1, 2):
        raise ShapeError(f"generate: prompt of shape {prompt.shape}: expected (T,) or (B, T)")
    return prompt
