"""Copies that begin at a cache line."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tinytorch.base.alignment import aligned_copy
from tinytorch.tensor import Array


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, bool, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (7, 1, 2)])
def test_copy_is_equal_aligned_contiguous_and_its_own(shape: tuple[int, ...], dtype: type) -> None:
    x: Array = np.arange(np.prod(shape, dtype=int)).reshape(shape[::-1]).T.astype(dtype)
    copy = aligned_copy(x)
    np.testing.assert_array_equal(copy, x)
    assert (copy.shape, copy.dtype) == (x.shape, x.dtype)
    assert copy.ctypes.data % 64 == 0 or not copy.size
    assert copy.flags.c_contiguous
    assert copy.flags.writeable
    assert not np.shares_memory(copy, x)
