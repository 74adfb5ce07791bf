"""Arrays without extreme values, for algorithms that mix values: see Winograd's in `convolution`."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numpy import ndarray as Array


def uneven(x: Array, limit: int) -> Array | None:
    """Return which samples (rows of x) have an extreme value, or None if no one has.

    A value is extreme if it exceeds `limit` times the mean absolute value (without it), if a transform of it could
    overflow, or if it is not finite.
    """
    if not x.size:
        return None
    rows = x.reshape(len(x), -1)
    if _clearly_even(rows, limit):
        return None
    sizes = np.abs(rows)
    largest = sizes.max(axis=1)
    others = sizes.sum(axis=1, dtype=np.float64) - largest
    even = (largest * float(rows.shape[1]) < limit * others) & (largest < _huge(x.dtype)) | (largest == 0)
    return None if even.all() else ~even


def _clearly_even(rows: Array, limit: int) -> bool:
    """Return whether all samples are even; False leaves it open. It takes less time than `uneven`.

    Without negative values, as after ReLU, a product with ones is the sum. Otherwise, the sum of absolute values is at
    least the sum of squares divided by the largest value.
    """
    size = rows.shape[1]
    if len(rows) == 1:  # of one row, argmin and argmax take half the time of min and max
        row = rows[0]
        low, high = row[row.argmin()].item(), row[row.argmax()].item()
        if low >= 0:
            return high * size < limit * (np.dot(row, _ones(size, row.dtype)).item() - high) and high < _huge(row.dtype)
        high = max(high, -low)
        return high * high * size < limit * (np.dot(row, row).item() - high * high) and high < _root(row.dtype)
    lows, highs = rows.min(axis=1), rows.max(axis=1)
    if lows.min() >= 0:
        totals = rows @ _ones(size, rows.dtype)
        return bool((highs * size < limit * (totals - highs)).all() and highs.max() < _huge(rows.dtype))
    highs = np.maximum(highs, -lows)
    squares = highs * highs
    return bool((squares * size < limit * (np.vecdot(rows, rows) - squares)).all() and highs.max() < _root(rows.dtype))


@cache
def _huge(dtype: np.dtype) -> float:
    """Return a value that a few transforms and sums do not turn into infinity."""
    return float(np.finfo(dtype).max) / 1e8


@cache
def _root(dtype: np.dtype) -> float:
    """Return a value whose square is one of these."""
    return float(_huge(dtype) ** 0.5)


@lru_cache(maxsize=16)
def _ones(size: int, dtype: np.dtype) -> Array:
    return np.ones(size, dtype)
