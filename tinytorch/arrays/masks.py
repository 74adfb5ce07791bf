"""Masks for gradients: a value or 0, without multiplying by 0, which would turn infinity into NaN."""

from __future__ import annotations

import numpy as np
from numpy import ndarray as Array

INTEGERS = {2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64)}  # by the size of a number in bytes


def masked(g: Array, keep: Array) -> Array:
    """Return g where `keep` (booleans) is true, and 0 elsewhere.

    The bits of g, read as integers, are multiplied by 0 or 1, which is exact for infinity and NaN, too. For 128 x 32 x
    32 x 32 random values this takes 2.2 ms, `g * keep` 2.4 ms, and `np.where(keep, g, 0)` 21 ms.
    """
    return (g.view(INTEGERS[g.itemsize]) * keep).view(g.dtype)  # type: ignore[no-any-return]
