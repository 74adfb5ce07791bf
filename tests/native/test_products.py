"""Matrix products are correct with both backends: exact for integers, within a bound for floats."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytorch.base.dtypes import bfloat16
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.native import backend
from tinytorch.native.products import pack

BFLOAT16 = bfloat16()
SIZES = st.integers(0, 70)
TINY = np.finfo(np.float32).tiny  # below it, a CPU's bfloat16 instructions may return zero
quick = settings(deadline=None, max_examples=60)
each_backend = pytest.mark.usefixtures("backend")


def strided(array: np.ndarray, how: str) -> np.ndarray:
    """Return the same values with another memory layout: not contiguous, transposed, or every third of an array."""
    if how == "transposed":
        return np.ascontiguousarray(array.T).T
    if how == "reversed":
        return np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]
    if how == "sparse":
        larger = np.full((array.shape[0] * 2, array.shape[1] * 3), 1, array.dtype)
        larger[::2, ::3] = array
        return larger[::2, ::3]
    return array


LAYOUTS = st.sampled_from(["plain", "transposed", "reversed", "sparse"])


def integers(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """Draw from the dtype's whole range, and its ends more often than other values."""
    ends = np.iinfo(dtype)
    values = rng.integers(ends.min, ends.max + 1, shape)
    return np.where(rng.random(shape) < 0.3, rng.choice([ends.min, ends.max], shape), values).astype(dtype)


@each_backend
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@given(m=SIZES, n=SIZES, k=st.integers(0, 300), layouts=st.tuples(LAYOUTS, LAYOUTS), seed=st.integers(0, 2**32 - 1))
@quick
def test_integer_products_are_exact(dtype: Any, m: int, n: int, k: int, layouts: tuple[str, str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, weight = integers(rng, (m, k), dtype), integers(rng, (n, k), np.int8)
    y = pack(strided(weight, layouts[0])).product(strided(x, layouts[1]))
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, x.astype(np.int64) @ weight.astype(np.int64).T)


@each_backend
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("k", [511, 512, 513, 1023, 1024, 1025, 5001])
def test_largest_sums_of_long_rows_are_exact(dtype: Any, k: int) -> None:
    """Use the ends of the ranges, and one smaller value: float32 cannot represent an odd sum beyond 2^24."""
    ends = np.iinfo(dtype)
    x = np.array([[ends.max] * k, [ends.min] * k, [ends.max] * (k - 1) + [1]], dtype)
    weight = np.array([[-128] * k, [127] * k, [127] * (k - 1) + [1]], np.int8)
    np.testing.assert_array_equal(pack(weight).product(x), x.astype(np.int64) @ weight.astype(np.int64).T)


def assert_close(y: np.ndarray, x: np.ndarray, weight: np.ndarray) -> None:
    """Assert that each sum of k products is within (k + 2) float32 roundings of the sum of their magnitudes."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    bound = (x.shape[1] + 2) * 2.0**-23 * (abs(x) @ abs(weight).T) + (x.shape[1] + 1) * TINY
    assert y.dtype == np.float32
    assert (abs(y - x @ weight.T) <= bound).all()


@each_backend
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), BFLOAT16, np.dtype(np.float16)], ids=lambda dtype: dtype.name)
@given(
    m=SIZES,
    n=SIZES,
    k=st.integers(0, 300),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    layouts=st.tuples(LAYOUTS, LAYOUTS),
    x_dtype=st.sampled_from([np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BFLOAT16]),
    seed=st.integers(0, 2**32 - 1),
)
@quick
def test_float_products_are_within_float32_rounding(
    dtype: Any, m: int, n: int, k: int, scale: float, layouts: tuple[str, str], x_dtype: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((m, k)) * scale).astype(x_dtype)
    weight = rng.standard_normal((n, k)).astype(dtype)
    y = pack(strided(weight, layouts[0])).product(strided(x, layouts[1]))
    assert_close(y, x.astype(dtype), weight)


@each_backend
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), BFLOAT16], ids=lambda dtype: dtype.name)
def test_infinity_and_nan_propagate(dtype: Any) -> None:
    weight = np.ones((3, 40), dtype)
    x = np.ones((3, 40), np.float32)
    x[0, 7], x[1, 39] = np.inf, np.nan
    with np.errstate(invalid="ignore"):  # NumPy's product warns about it
        y = pack(weight).product(x)
    assert np.isposinf(y[0]).all()
    assert np.isnan(y[1]).all()
    np.testing.assert_array_equal(y[2], 40)


@each_backend
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), BFLOAT16, np.dtype(np.int8)], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("shape", [(5, 8), (1, 8), (5, 1)])
def test_packed_weight_is_a_snapshot(dtype: Any, shape: tuple[int, int]) -> None:
    weight = np.ones(shape, dtype)
    packed = pack(weight)
    weight[:] = 0
    for rows in (2, 3):
        x = np.ones((rows, shape[1]), np.int8 if dtype == np.int8 else np.float32)
        np.testing.assert_array_equal(packed.product(x), shape[1])


@each_backend
def test_many_row_counts_share_one_packed_weight() -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.standard_normal((33, 65)).astype(np.float32), rng.standard_normal((80, 65)).astype(np.float32)
    packed = pack(weight)
    for rows in [*range(81), 3, 50]:
        assert_close(packed.product(x[:rows]), x[:rows], weight)
    if packed.backend == "onednn":
        assert len(packed.layouts) < 5


@each_backend
def test_packed_weight_keeps_the_backend_that_packed_it() -> None:
    packed = pack(np.eye(3, dtype=np.float32))
    in_use = backend.backend()
    backend.use_backend("numpy")
    assert packed.backend == in_use
    np.testing.assert_array_equal(packed.product(np.arange(6.0).reshape(2, 3)), np.arange(6.0).reshape(2, 3))


@each_backend
def test_a_packed_weight_can_be_copied() -> None:
    packed = pack(np.eye(3, dtype=np.float32))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    packed.product(x)
    np.testing.assert_array_equal(copy.deepcopy(packed).product(x), x)


@each_backend
@pytest.mark.parametrize("dtype", ["float32", BFLOAT16, "float16", np.int8])
def test_a_packed_weight_can_be_pickled_before_and_after_use(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.integers(-9, 9, (5, 7)).astype(dtype), rng.integers(-9, 9, (3, 7)).astype(np.int8)
    x = x if weight.dtype == np.int8 else x.astype(np.float32)
    packed = pack(weight)
    fresh = pickle.loads(pickle.dumps(packed))
    expected = packed.product(x)
    for other in (fresh, pickle.loads(pickle.dumps(packed))):
        assert (other.dtype, other.shape) == (packed.dtype, packed.shape)
        np.testing.assert_array_equal(other.product(x), expected)


@each_backend
@pytest.mark.parametrize("kind", ["f4", "f2"])
def test_other_byte_order_has_the_same_values(kind: str) -> None:
    weight, x = np.arange(12.0).reshape(3, 4), np.arange(8, dtype=np.float32).reshape(2, 4)
    for order in "<>":
        np.testing.assert_array_equal(pack(weight.astype(order + kind)).product(x.astype(order + "f4")), x @ weight.T)


@each_backend
def test_threads_that_share_a_packed_weight_get_their_own_products() -> None:
    rng = np.random.default_rng(0)
    packed = pack(rng.integers(-9, 9, (64, 64)).astype(np.float32))
    inputs = [rng.integers(-9, 10, (256, 64)).astype(np.float32) for _ in range(3)]
    expected = [packed.product(x) for x in inputs]
    errors = [0] * len(inputs)

    def work(i: int) -> None:
        for _ in range(300):
            errors[i] += not np.array_equal(packed.product(inputs[i]), expected[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [0, 0, 0]


@each_backend
@pytest.mark.parametrize("what", ["nonsense", object()])
def test_invalid_dtype_is_reported(what: Any) -> None:
    with pytest.raises(SettingError, match=r"native: .*: expected a dtype"):
        backend.native(what)
    assert not backend.native("complex64")
    assert backend.native("bfloat16") == backend.native(BFLOAT16)


@each_backend
def test_lists_are_rejected() -> None:
    with pytest.raises(ShapeError, match=r"pack: a list: expected \(out, in\)"):
        pack([[1.0]])  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"product: a list: expected \(M, 1\)"):
        pack(np.ones((1, 1), np.float32)).product([[1.0]])  # type: ignore[arg-type]


@each_backend
@pytest.mark.parametrize(
    ("weight", "x"),
    [
        (np.zeros((3, 4), np.float32), np.zeros((2, 5), np.float32)),
        (np.zeros((3, 4), np.float32), np.zeros(4, np.float32)),
        (np.zeros((3, 4), np.float32), np.zeros((2, 4), np.int8)),
        (np.zeros((3, 4), np.int8), np.zeros((2, 4), np.float32)),
        (np.zeros((3, 4), np.int8), np.zeros((2, 4), np.int32)),
    ],
)
def test_mismatched_arguments_are_rejected(weight: np.ndarray, x: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"product: .* expected \(M, 4\)"):
        pack(weight).product(x)


@pytest.mark.parametrize("weight", [np.zeros((3, 4)), np.zeros(3, np.float32), np.zeros((3, 4), np.uint8)])
def test_weight_of_another_dtype_is_rejected(weight: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"pack: .* expected \(out, in\)"):
        pack(weight)
