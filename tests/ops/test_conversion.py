"""Tensors as Python and NumPy values, and NumPy's functions of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import GradientError, SettingError
from tinytorch.ops.creation import tensor
from tinytorch.tensor import Tensor


def test_numbers_and_texts() -> None:
    t = tensor(2.75)
    assert (int(t), float(t), f"{t:.1f}", f"{t}", t.tolist()) == (2, 2.75, "2.8", "2.75", 2.75)
    assert f"{tt.ones(2)}" == "Tensor([1., 1.], dtype=float32)"
    assert [10, 20, 30][tensor(1)] == 20
    assert list(range(tensor(2))) == [0, 1]
    with pytest.raises(TypeError, match=r"a tensor of shape \(2,\) is not a single number"):
        f"{tt.ones(2):.2f}"
    with pytest.raises(TypeError, match="expected one integer"):
        [1][tensor(0.0)]


def test_numpy_functions_return_tensors_with_gradients() -> None:
    x = tensor([1.0, 4.0], requires_grad=True)
    y = np.sqrt(x) + np.exp(x) * np.array([1.0, 2.0], np.float32)
    assert isinstance(y, Tensor)
    y.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data, [0.5 + np.exp(1.0), 0.25 + 2 * np.exp(4)], rtol=1e-5)
    assert np.sum(x).item() == 5
    assert np.mean(x, axis=0, keepdims=True).shape == (1,)
    assert np.max(x).item() == 4


def test_array_on_the_left_gives_a_tensor() -> None:
    x, a = tensor([1.0, 2.0], requires_grad=True), np.array([3.0, 4.0], np.float32)
    for y in (a + x, a - x, a * x, a / x, a @ x, np.float32(2) * x, a**x):
        assert isinstance(y, Tensor)
        assert y.requires_grad
    assert (a - x).tolist() == [2, 2]
    assert (a == x).tolist() == [False, False]


def test_function_without_derivative_is_refused_only_for_gradients() -> None:
    assert isinstance(np.cbrt(tensor([8.0])), Tensor)
    with pytest.raises(GradientError, match=r"np.cbrt: TinyTorch cannot differentiate it"):
        np.cbrt(tensor([8.0], requires_grad=True))


CASTS: list[tuple[Any, str]] = [
    (lambda t: t.to(tt.float64), "float64"),
    (lambda t: t.to("cpu", tt.float64), "float64"),
    (lambda t: t.to(device="cpu", dtype=tt.half), "float16"),
    (lambda t: t.to("cpu"), "float32"),
    (lambda t: t.to(tt.arange(2)), "int64"),
    (lambda t: t.to(tt.device("cpu"), non_blocking=True), "float32"),
    (lambda t: t.double(), "float64"),
    (lambda t: t.half(), "float16"),
    (lambda t: t.bfloat16(), "bfloat16"),
    (lambda t: t.long(), "int64"),
    (lambda t: t.int(), "int32"),
    (lambda t: t.bool(), "bool"),
    (lambda t: t.byte(), "uint8"),
    (lambda t: t.cpu(), "float32"),
    (lambda t: t.type(tt.float64), "float64"),
    (lambda t: t.type_as(tt.arange(2)), "int64"),
]


@pytest.mark.parametrize(("cast", "dtype"), CASTS)
def test_cast_has_pytorchs_dtype(cast: Any, dtype: str) -> None:
    assert cast(tensor([0.0, 1.5])).dtype.name == dtype


def test_gradients_flow_through_casts() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    x.double().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == np.float32


def test_there_is_no_gpu() -> None:
    for move in (lambda: tt.ones(1).cuda(), lambda: tt.ones(1).to("cuda"), lambda: tt.ones(1).to("mps")):
        with pytest.raises(SettingError, match="computes on the CPU only"):
            move()
