"""Result dtypes, limits, and 16-bit sums against PyTorch itself, for random inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

import torch.nn.functional as F

import tinytorch as tt
from tinytorch.base.dtypes import numpy_dtype
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.filterwarnings("ignore")
rng = np.random.default_rng(0)
DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.0, 2.0], np.float32)


def values(z: Any) -> Array:
    return z.detach().to(torch.float64).numpy()


@pytest.mark.parametrize("a", DTYPES)
@pytest.mark.parametrize("b", DTYPES)
@pytest.mark.parametrize("dimensions", [(2, 2), (2, 0), (0, 2), (0, 0)])
def test_result_types(a: str, b: str, dimensions: tuple[int, int]) -> None:
    ours = [Tensor(np.ones((2,) * bool(n), numpy_dtype(d))) for d, n in zip((a, b), dimensions, strict=True)]
    theirs = [torch.ones((2,) * bool(n), dtype=getattr(torch, d)) for d, n in zip((a, b), dimensions, strict=True)]
    for operation in (lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x / y):
        assert operation(*ours).dtype.name == str(operation(*theirs).dtype).removeprefix("torch.")
    assert ours[0].maximum(ours[1]).dtype.name == str(torch.maximum(*theirs).dtype).removeprefix("torch.")


def power(exponent: float) -> Any:
    return lambda x: x**exponent


OPERATIONS: dict[str, tuple[Any, Any]] = {
    **{f"power {e}": (power(e), power(e)) for e in (0, 1, 2, 3, -1, -2, 0.5, 1.5, -0.5)},
    "relu": (tt.relu, F.relu),
    "sigmoid": (tt.sigmoid, torch.sigmoid),
    "tanh": (tt.tanh, torch.tanh),
    "gelu": (tt.gelu, lambda x: F.gelu(x, approximate="tanh")),
    "softmax": (tt.softmax, lambda x: torch.softmax(x, -1)),
    "log_softmax": (tt.log_softmax, lambda x: torch.log_softmax(x, -1)),
    "maximum": (lambda x: x.maximum(x[:, ::-1]), lambda x: torch.maximum(x, x.flip(1))),
    "max": (lambda x: x.max(), lambda x: x.max()),
    "min": (lambda x: x.min(), lambda x: x.min()),
    "max along": (lambda x: x.max(1).values, lambda x: x.max(1).values),
    "min along": (lambda x: x.min(0, keepdim=True).values, lambda x: x.min(0, keepdim=True).values),
    "max_pool2d": (
        lambda x: tt.max_pool2d(x.reshape(1, 1, 6, 6), 2),
        lambda x: F.max_pool2d(x.reshape(1, 1, 6, 6), 2),
    ),
    "max_pool2d overlapping": (
        lambda x: tt.max_pool2d(x.reshape(1, 1, 6, 6), 3, 2, 1),
        lambda x: F.max_pool2d(x.reshape(1, 1, 6, 6), 3, 2, 1),
    ),
    "adaptive_avg_pool2d": (
        lambda x: tt.adaptive_avg_pool2d(x.reshape(1, 1, 6, 6), 4),
        lambda x: F.adaptive_avg_pool2d(x.reshape(1, 1, 6, 6), 4),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_limits(name: str) -> None:
    ours, theirs = OPERATIONS[name]
    for trial in range(50):
        chosen = np.random.default_rng(trial)
        array = chosen.standard_normal((4, 9)).astype(np.float32)
        special = chosen.random(array.shape) < 0.2
        array[special] = chosen.choice(SPECIAL, special.sum())
        x, z = Tensor(array.copy(), requires_grad=True), torch.tensor(array, requires_grad=True)
        y, w = ours(x), theirs(z)
        g = np.full(y.shape, chosen.choice([1.0, -2.0, np.inf]), np.float32)
        y.backward(g)
        w.backward(torch.from_numpy(g))
        assert x.grad is not None
        np.testing.assert_allclose(y.data, values(w), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(x.grad.data, values(z.grad), rtol=1e-4, atol=1e-6)


HALF: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "sum": (lambda x: x.sum(), lambda x: x.sum(), (3000,)),
    "mean": (lambda x: x.mean(0), lambda x: x.mean(0), (3000, 2)),
    "softmax": (tt.softmax, lambda x: torch.softmax(x, -1), (2, 3000)),
    "layer_norm": (lambda x: tt.LayerNorm(256)(x), lambda x: F.layer_norm(x, (256,)), (4, 256)),
    "batch_norm": (lambda x: tt.BatchNorm2d(3)(x), lambda x: torch.nn.BatchNorm2d(3)(x), (8, 3, 9, 9)),
    "avg_pool2d": (lambda x: tt.avg_pool2d(x, 4), lambda x: F.avg_pool2d(x, 4), (2, 3, 8, 8)),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", HALF)
def test_half_sums(name: str, dtype: str) -> None:
    ours, theirs, shape = HALF[name]
    array = (100 if name != "softmax" else 0) + rng.standard_normal(shape)
    half = array.astype(np.float32).astype(numpy_dtype(dtype))
    y = ours(Tensor(half))
    w = theirs(torch.tensor(half.astype(np.float32)).to(getattr(torch, dtype)))
    step = 2.0**-10 if dtype == "float16" else 2.0**-7
    np.testing.assert_allclose(
        y.data.astype(np.float64), values(w), rtol=2 * step, atol=2 * step * abs(values(w)).max()
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_convolution_is_as_exact_as_pytorchs(dtype: str) -> None:
    x, w = rng.standard_normal((2, 16, 9, 9)), rng.standard_normal((16, 16, 3, 3)) / 12
    x, w = (a.astype(np.float32).astype(numpy_dtype(dtype)) for a in (x, w))
    exact = values(F.conv2d(*(torch.tensor(a.astype(np.float64)) for a in (x, w)), padding=1))
    theirs = values(
        F.conv2d(*(torch.tensor(a.astype(np.float32)).to(getattr(torch, dtype)) for a in (x, w)), padding=1)
    )
    ours = tt.conv2d(Tensor(x), Tensor(w), padding=1).data.astype(np.float64)
    assert np.abs(ours - exact).max() <= 1.01 * np.abs(theirs - exact).max()


def test_bfloat16_state_dict_of_pytorch_loads() -> None:
    theirs = torch.nn.Linear(3, 2).to(torch.bfloat16)
    model = tt.Linear(3, 2)
    model.load_state_dict(theirs.state_dict())
    np.testing.assert_array_equal(model.weight.data, theirs.weight.detach().float().numpy())
    assert model.weight.dtype != ml_dtypes.bfloat16
