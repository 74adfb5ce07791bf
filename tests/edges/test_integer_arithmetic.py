"""Reductions and signs of integer tensors: the values and dtypes of PyTorch, without a silent wrap-around."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinytorch as tt
from tinytorch.autograd import check_grads
from tinytorch.base.errors import SettingError
from tinytorch.quantization import Observer
from tinytorch.tensor import Array, Tensor

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
arrays = st.sampled_from(INTEGERS).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
)


@given(arrays, st.data())
def test_extremes_of_integers_are_exact(x: Array, data: st.DataObject) -> None:
    dim = data.draw(st.sampled_from([None, *range(x.ndim)]))
    for name in ("min", "max"):
        y = getattr(Tensor(x), f"a{name}")(dim)
        exact = getattr(x.astype(object), name)(axis=dim)
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y.data.astype(object), exact)


@given(arrays)
def test_mean_of_integers_is_their_exact_mean_in_float32(x: Array) -> None:
    y = Tensor(x).mean()
    assert y.dtype == np.float32
    exact = sum(map(int, x.flat)) / x.size
    largest = max(abs(int(v)) for v in x.flat)
    np.testing.assert_allclose(y.item(), exact, rtol=1e-6, atol=1e-6 * largest)


@given(arrays.filter(lambda x: x.dtype.itemsize < 8))
def test_sum_of_integers_is_exact_and_can_become_negative(x: Array) -> None:
    y = Tensor(x).sum()
    assert y.dtype == np.int64
    assert y.item() == sum(map(int, x.flat))
    assert (y - 2**40).item() == y.item() - 2**40


# torch.tensor([torch.iinfo(d).min, 0, 5, torch.iinfo(d).max], dtype=d): t.neg(), t.abs(), t.sum() in PyTorch 2.13.
# An integer without a counterpart wraps, as in PyTorch.
PYTORCH: dict[str, tuple[list[int], list[int], int]] = {
    "uint8": ([0, 0, 251, 1], [0, 0, 5, 255], 260),
    "int8": ([-128, 0, -5, -127], [-128, 0, 5, 127], 4),
    "int16": ([-32768, 0, -5, -32767], [-32768, 0, 5, 32767], 4),
    "int32": ([-2147483648, 0, -5, -2147483647], [-2147483648, 0, 5, 2147483647], 4),
    "int64": ([-(2**63), 0, -5, -(2**63) + 1], [-(2**63), 0, 5, 2**63 - 1], 4),
}


@pytest.mark.parametrize("dtype", PYTORCH)
def test_signs_and_sums_are_pytorchs(dtype: str) -> None:
    info = np.iinfo(dtype)
    x = Tensor(np.array([info.min, 0, 5, info.max], dtype))
    negative, magnitude, total = PYTORCH[dtype]
    assert (-x).data.tolist() == negative
    assert x.abs().data.tolist() == magnitude
    assert x.sum().item() == total
    assert x.sum().dtype == np.int64
    assert {(-x).dtype, x.abs().dtype} == {np.dtype(dtype)}
    assert (x.min().item(), x.max().item(), x.argmax().item()) == (info.min, info.max, 3)


def test_booleans_have_extremes_a_mean_and_a_sum_but_no_negative() -> None:
    x = Tensor(np.array([[True, False], [True, True]]))
    assert x.amin(0).data.tolist() == [True, False]
    assert x.amax(1).data.tolist() == [True, True]
    assert (x.min().item(), x.max().item(), x.sum().item(), x.mean().item()) == (False, True, 3, 0.75)
    assert [x.min().dtype.name, x.sum().dtype.name, x.mean().dtype.name] == ["bool", "int64", "float32"]
    with pytest.raises(SettingError, match="neg: a boolean tensor has no negative"):
        _ = -x


@pytest.mark.parametrize("dim", [None, 0, 1, (0, 1), -1])
@pytest.mark.parametrize("name", ["min", "max"])
def test_gradient_of_an_extreme_is_shared_by_equal_elements(name: str, dim: Any) -> None:
    check_grads(
        lambda x: getattr(x, f"a{name}")(dim), np.random.default_rng(0).permutation(np.arange(12.0)).reshape(3, 4)
    )
    x = Tensor(np.array([[1.0, 1.0], [1.0, 1.0]]), requires_grad=True)
    getattr(x, f"a{name}")(dim).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data.sum(), 1 if dim in (None, (0, 1)) else 2)
    assert len(np.unique(x.grad.data)) == 1


def test_minimum_runs_in_mixed_precision() -> None:
    x = tt.randn(4, 3, requires_grad=True)
    with tt.autocast():
        y = (x.to("float16") * 1).amin(1)
    assert y.dtype == np.float16
    y.sum().backward()
    assert x.grad is not None


def test_minus_128_is_counted_in_the_last_bin_of_a_calibration() -> None:
    observer, x = Observer(), np.array([-128, 127, 0], np.int8)
    observer.see("input", x)
    observer.count("input", x)
    assert observer.counts[-1] == 1
    assert observer.counts.sum() == 3
