"""Sizes and counts as Python numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def python_number(value: Any) -> Any:
    """Return a NumPy scalar as a Python number, and anything else unchanged.

    Arithmetic with a NumPy scalar stays in the scalar's dtype, where -uint8(5) is 251 and 2 * uint8(200) is 144.

    >>> python_number(np.uint8(200)) * 2
    400
    """
    return value.item() if isinstance(value, np.generic) else value
