"""Module 16: whoever multiplies, the products are the same: exact for integers, within a bound for floats."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytorch import kernels, onednn
from tinytorch.errors import SettingError, ShapeError
from tinytorch.kernels import bfloat16, pack, to_bfloat16, to_float32

ROOT = Path(__file__).parents[2]
BFLOAT16 = bfloat16()
BACKENDS = ["numpy", pytest.param("onednn", marks=pytest.mark.skipif(bool(onednn.why_not()), reason=onednn.why_not()))]
SIZES = st.integers(0, 70)
TINY = np.finfo(np.float32).tiny  # below it, a CPU's bfloat16 instructions may say zero
quick = settings(deadline=None, max_examples=60)
each_backend = pytest.mark.parametrize("name", BACKENDS)


@pytest.fixture(autouse=True, scope="module")
def _leave_the_backend_as_it_was() -> Iterator[None]:
    before = kernels.backend()
    yield
    kernels.use_backend(before)


def strided(array: np.ndarray, how: str) -> np.ndarray:
    """The same numbers in another place: not contiguous, turned, or every third of a larger array."""
    if how == "transposed":
        return np.ascontiguousarray(array.T).T
    if how == "reversed":
        return np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]
    if how == "sparse":
        room = np.full((array.shape[0] * 2, array.shape[1] * 3), 1, array.dtype)
        room[::2, ::3] = array
        return room[::2, ::3]
    return array


LAYOUTS = st.sampled_from(["plain", "transposed", "reversed", "sparse"])


def integers(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """The dtype's whole range, its ends more often than the rest."""
    ends = np.iinfo(dtype)
    values = rng.integers(ends.min, ends.max + 1, shape)
    return np.where(rng.random(shape) < 0.3, rng.choice([ends.min, ends.max], shape), values).astype(dtype)


@each_backend
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@given(m=SIZES, n=SIZES, k=st.integers(0, 300), layouts=st.tuples(LAYOUTS, LAYOUTS), seed=st.integers(0, 2**32 - 1))
@quick
def test_integer_products_are_exact(
    name: str, dtype: Any, m: int, n: int, k: int, layouts: tuple[str, str], seed: int
) -> None:
    kernels.use_backend(name)
    rng = np.random.default_rng(seed)
    x, weight = integers(rng, (m, k), dtype), integers(rng, (n, k), np.int8)
    y = pack(strided(weight, layouts[0])).product(strided(x, layouts[1]))
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, x.astype(np.int64) @ weight.astype(np.int64).T)


@each_backend
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("k", [511, 512, 513, 1023, 1024, 1025, 5001])
def test_the_largest_sums_of_long_rows_are_exact(name: str, dtype: Any, k: int) -> None:
    """All ends of the ranges at once, and one number less: an odd sum past 2^24 is what float32 cannot hold."""
    kernels.use_backend(name)
    ends = np.iinfo(dtype)
    x = np.array([[ends.max] * k, [ends.min] * k, [ends.max] * (k - 1) + [1]], dtype)
    weight = np.array([[-128] * k, [127] * k, [127] * (k - 1) + [1]], np.int8)
    np.testing.assert_array_equal(pack(weight).product(x), x.astype(np.int64) @ weight.astype(np.int64).T)


def assert_close(y: np.ndarray, x: np.ndarray, weight: np.ndarray) -> None:
    """Each sum of k products is off by at most (k + 2) float32 roundings of the sum of their sizes."""
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
    given_as=st.sampled_from([np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BFLOAT16]),
    seed=st.integers(0, 2**32 - 1),
)
@quick
def test_floating_products_are_within_the_rounding_of_float32(
    name: str, dtype: Any, m: int, n: int, k: int, scale: float, layouts: tuple[str, str], given_as: Any, seed: int
) -> None:
    kernels.use_backend(name)
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((m, k)) * scale).astype(given_as)
    weight = rng.standard_normal((n, k)).astype(dtype)
    y = pack(strided(weight, layouts[0])).product(strided(x, layouts[1]))
    assert_close(y, x.astype(dtype), weight)


@each_backend
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), BFLOAT16], ids=lambda dtype: dtype.name)
def test_infinity_and_nan_come_through(name: str, dtype: Any) -> None:
    kernels.use_backend(name)
    weight = np.ones((3, 40), dtype)
    x = np.ones((3, 40), np.float32)
    x[0, 7], x[1, 39] = np.inf, np.nan
    with np.errstate(invalid="ignore"):  # NumPy's product warns of it
        y = pack(weight).product(x)
    assert np.isposinf(y[0]).all()
    assert np.isnan(y[1]).all()
    np.testing.assert_array_equal(y[2], 40)


@each_backend
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), BFLOAT16, np.dtype(np.int8)], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("shape", [(5, 8), (1, 8), (5, 1)])
def test_what_was_packed_stays_when_the_weight_changes(name: str, dtype: Any, shape: tuple[int, int]) -> None:
    kernels.use_backend(name)
    weight = np.ones(shape, dtype)
    packed = pack(weight)
    weight[:] = 0
    for rows in (2, 3):
        x = np.ones((rows, shape[1]), np.int8 if dtype == np.int8 else np.float32)
        np.testing.assert_array_equal(packed.product(x), shape[1])


@each_backend
def test_many_row_counts_share_one_packed_weight(name: str) -> None:
    kernels.use_backend(name)
    rng = np.random.default_rng(0)
    weight, x = rng.standard_normal((33, 65)).astype(np.float32), rng.standard_normal((80, 65)).astype(np.float32)
    packed = pack(weight)
    for rows in [*range(81), 3, 50]:
        assert_close(packed.product(x[:rows]), x[:rows], weight)
    if packed.backend == "onednn":
        assert len(packed.layouts) < 5


@each_backend
def test_a_packed_weight_stays_with_the_backend_that_packed_it(name: str) -> None:
    kernels.use_backend(name)
    packed = pack(np.eye(3, dtype=np.float32))
    kernels.use_backend("numpy")
    assert packed.backend == name
    np.testing.assert_array_equal(packed.product(np.arange(6.0).reshape(2, 3)), np.arange(6.0).reshape(2, 3))


@each_backend
def test_a_packed_weight_can_be_copied(name: str) -> None:
    kernels.use_backend(name)
    packed = pack(np.eye(3, dtype=np.float32))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    packed.product(x)
    np.testing.assert_array_equal(copy.deepcopy(packed).product(x), x)


@each_backend
@pytest.mark.parametrize("dtype", ["float32", BFLOAT16, "float16", np.int8])
def test_a_packed_weight_can_be_pickled_before_and_after_use(name: str, dtype: Any) -> None:
    kernels.use_backend(name)
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
def test_the_other_byte_order_is_the_same_numbers(name: str, kind: str) -> None:
    kernels.use_backend(name)
    weight, x = np.arange(12.0).reshape(3, 4), np.arange(8, dtype=np.float32).reshape(2, 4)
    for order in "<>":
        np.testing.assert_array_equal(pack(weight.astype(order + kind)).product(x.astype(order + "f4")), x @ weight.T)


@each_backend
def test_threads_that_share_a_packed_weight_get_their_own_products(name: str) -> None:
    kernels.use_backend(name)
    rng = np.random.default_rng(0)
    packed = pack(rng.integers(-9, 9, (64, 64)).astype(np.float32))
    inputs = [rng.integers(-9, 10, (256, 64)).astype(np.float32) for _ in range(3)]
    expected = [packed.product(x) for x in inputs]
    wrong = [0] * len(inputs)

    def work(i: int) -> None:
        for _ in range(300):
            wrong[i] += not np.array_equal(packed.product(inputs[i]), expected[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [0, 0, 0]


@each_backend
@pytest.mark.parametrize("what", ["nonsense", object()])
def test_what_is_no_dtype_is_told(name: str, what: Any) -> None:
    kernels.use_backend(name)
    with pytest.raises(SettingError, match="is no dtype"):
        kernels.native(what)
    assert not kernels.native("complex64")
    assert kernels.native("bfloat16") == kernels.native(BFLOAT16)


@each_backend
def test_lists_are_refused(name: str) -> None:
    kernels.use_backend(name)
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
def test_what_does_not_fit_is_refused(name: str, weight: np.ndarray, x: np.ndarray) -> None:
    kernels.use_backend(name)
    with pytest.raises(ShapeError, match=r"product: .* expected \(M, 4\)"):
        pack(weight).product(x)


@pytest.mark.parametrize("weight", [np.zeros((3, 4)), np.zeros(3, np.float32), np.zeros((3, 4), np.uint8)])
def test_a_weight_of_another_kind_is_refused(weight: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"pack: .* expected \(out, in\)"):
        pack(weight)


# ---- bfloat16


def rounded_by_hand(bits: np.ndarray) -> np.ndarray:
    """float32's 32 bits to bfloat16's 16: add just less than half, or half if the last bit kept is odd."""
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=200))
@quick
def test_bfloat16_rounds_to_the_nearest_and_halves_to_even(numbers: list[int]) -> None:
    bits = np.array(numbers, np.uint32)
    x = bits.view(np.float32)
    finite = ~np.isnan(x)
    rounded = to_bfloat16(x)
    np.testing.assert_array_equal(rounded.view(np.uint16)[finite], rounded_by_hand(bits[finite].astype(np.uint64)))
    assert np.isnan(to_float32(rounded)[~finite]).all()


def test_bfloat16_at_its_ends() -> None:
    half, least = 2.0**-8, 2.0**-133  # half of the step above 1; the smallest subnormal number of bfloat16
    x = np.array([1 + half, 1 + 3 * half, -1 - half, np.inf, -np.inf, 3.4028235e38, least, least / 2, -0.0], np.float32)
    y = np.array([1, 1 + 4 * half, -1, np.inf, -np.inf, np.inf, least, 0, -0.0], np.float32)
    rounded = to_float32(to_bfloat16(x))
    np.testing.assert_array_equal(rounded, y)
    np.testing.assert_array_equal(np.signbit(rounded), np.signbit(y))
    # Its sign and its being no number are all that stays of this one, whose only set bits are cut off.
    assert np.isnan(to_float32(to_bfloat16(np.array([0x7F800001], np.uint32).view(np.float32)))).all()


def test_every_bfloat16_comes_back() -> None:
    every = np.arange(2**16).astype(np.uint16).view(BFLOAT16)
    back = to_bfloat16(to_float32(every))
    numbers = ~np.isnan(to_float32(every))
    np.testing.assert_array_equal(back.view(np.uint16)[numbers], every.view(np.uint16)[numbers])


# ---- the choice

WITHOUT_ONEDNN = """
import importlib.metadata as metadata
found = metadata.distribution

def hidden(name):
    if "onednn" in name:
        raise metadata.PackageNotFoundError(name)
    return found(name)

metadata.distribution = hidden
"""
TELL = """
from tinytorch import kernels
from tinytorch.errors import SettingError
try:
    print(kernels.backend(), kernels.why(), sep="\\n")
except SettingError as error:
    print(f"refused\\n{error}")
"""


def tell(program: str, **variables: str) -> list[str]:
    """What a fresh process chooses: the backend and why, or "refused" and why."""
    environment = {key: value for key, value in os.environ.items() if key != kernels.VARIABLE}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout.splitlines()


@each_backend
def test_the_environment_forces_a_backend(name: str) -> None:
    told, why = tell(TELL, TINYTORCH_BACKEND=name)
    assert told == name
    assert why == "NumPy (TINYTORCH_BACKEND=numpy)" if name == "numpy" else why.startswith("oneDNN 3.")


def test_an_unknown_backend_is_one_line_that_names_those_there_are() -> None:
    refused, why = tell(TELL, TINYTORCH_BACKEND="cuda")
    assert refused == "refused"
    assert "'cuda'" in why
    assert "numpy, onednn" in why
    with pytest.raises(SettingError, match="backend 'mkl': expected one of numpy, onednn"):
        kernels.use_backend("mkl")


def on(system: str, machine: str) -> str:
    """A program's beginning that makes it believe it runs there."""
    return f"import platform, sys; sys.platform = {system.lower()!r}; platform.machine = lambda: {machine!r}\n"


LINUX = on("Linux", "x86_64")


def test_without_the_package_it_is_numpy_and_says_how_to_get_more() -> None:
    told, why = tell(WITHOUT_ONEDNN + LINUX + TELL)
    assert told == "numpy"
    assert why == f"NumPy ({onednn.NOT_INSTALLED})"


def test_where_there_is_no_package_none_is_recommended() -> None:
    assert tell(WITHOUT_ONEDNN + on("Linux", "aarch64") + TELL)[1].endswith(" aarch64)")
    assert "pip install" not in tell(WITHOUT_ONEDNN + on("Linux", "aarch64") + TELL)[1]


def test_a_forced_backend_that_is_not_installed_is_refused_in_one_line() -> None:
    told = tell(WITHOUT_ONEDNN + LINUX + TELL, TINYTORCH_BACKEND="onednn")
    assert told == ["refused", f"backend 'onednn': {onednn.NOT_INSTALLED}"]


def test_a_package_without_a_library_for_this_system_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "onednn_cpu_gomp-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: onednn-cpu-gomp\nVersion: 1\n")
    (folder / "RECORD").write_text("../../libdnnl.so.3,,\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + TELL
    told, why = tell(program)
    assert told == "numpy"
    assert why.startswith("NumPy (oneDNN cannot be loaded (")


@pytest.mark.skipif(bool(onednn.why_not()), reason=onednn.why_not())
def test_a_process_that_used_onednn_ends_quietly() -> None:
    use = "import numpy as np; from tinytorch.kernels import pack; kept = pack(np.eye(3, dtype=np.float32));"
    assert tell(use + "print(kept.product(np.ones((2, 3))).sum())", TINYTORCH_BACKEND="onednn") == ["6.0"]
