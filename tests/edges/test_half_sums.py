"""Sums in 16 bits are accumulated in float32: each operation equals the float32 one, rounded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.dtypes import numpy_dtype
from tinytorch.tensor import Array, Tensor

rng = np.random.default_rng(0)
HALVES = ("float16", "bfloat16")
ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


class Dtypes(NamedTuple):
    """The dtype whose values are used, and the one in which the operation computes."""

    half: str
    inside: str

    def cast(self, array: Array) -> Array:
        return array.astype(numpy_dtype(self.half)).astype(numpy_dtype(self.inside))


def halves(model: tt.Module, dtypes: Dtypes) -> tt.Module:
    for tensor in model.state_dict().values():
        if tensor.dtype == np.float32:
            tensor.data = dtypes.cast(tensor.data)
    return model


def near(*shape: int, value: float = 100.0, spread: float = 1.0) -> Array:
    return (value + spread * rng.standard_normal(shape)).astype(np.float32)


def image_norm(x: Tensor, dtype: Dtypes) -> Tensor:
    return halves(tt.BatchNorm2d(3), dtype)(x)


def inference_norm(x: Tensor, dtype: Dtypes) -> Tensor:
    norm = tt.BatchNorm2d(3)
    norm.running_mean.data[:], norm.running_var.data[:] = 100, 2
    return halves(norm.eval(), dtype)(x)


def convolution(x: Tensor, dtype: Dtypes, *, size: int = 3, groups: int = 1) -> Tensor:
    tt.manual_seed(1)
    layer = tt.Conv2d(x.shape[1], 16, size, padding=size // 2, groups=groups)
    return halves(layer, dtype)(x)


def attention(x: Tensor, dtype: Dtypes) -> Tensor:
    return tt.scaled_dot_product_attention(x, x, x, is_causal=True)


def multi_head(x: Tensor, dtype: Dtypes) -> Tensor:
    tt.manual_seed(1)
    return halves(tt.MultiHeadAttention(16, 2), dtype)(x)


def embedding(x: Tensor, dtype: Dtypes) -> Tensor:
    return x[np.zeros(3000, int)]


CASES: dict[str, tuple[Callable[[Tensor, Dtypes], Tensor], Array]] = {
    "sum": (lambda x, d: x.sum(), np.ones(3000, np.float32)),
    "sum over rows": (lambda x, d: x.sum(0), np.ones((3000, 2), np.float32)),
    "mean": (lambda x, d: x.mean(), near(3000)),
    "var": (lambda x, d: x.var(0), near(500, 2)),
    "softmax": (lambda x, d: tt.softmax(x), near(2, 3000, value=0)),
    "log_softmax": (lambda x, d: tt.log_softmax(x), near(2, 3000, value=0)),
    "cross_entropy": (lambda x, d: tt.cross_entropy(x, np.arange(500) % 40, 0.1), near(500, 40, value=0)),
    "binary_cross_entropy": (
        lambda x, d: tt.binary_cross_entropy_with_logits(x, np.ones((500, 4))),
        near(500, 4, value=0),
    ),
    "gelu": (lambda x, d: tt.gelu(x), np.array([-300, -3, 0.1, 3, 300, 3000], np.float32)),
    "LayerNorm": (lambda x, d: halves(tt.LayerNorm(256), d)(x), near(4, 256)),
    "BatchNorm2d": (image_norm, near(8, 3, 9, 9)),
    "BatchNorm2d in inference": (inference_norm, near(8, 3, 9, 9)),
    "Winograd": (convolution, near(2, 16, 9, 9, value=0, spread=3)),
    "im2col": (lambda x, d: convolution(x, d, size=5), near(2, 4, 9, 9, value=0, spread=3)),
    "groups": (lambda x, d: convolution(x, d, groups=2), near(2, 4, 9, 9, value=0, spread=3)),
    "pointwise": (lambda x, d: convolution(x, d, size=1), near(2, 64, 9, 9, value=0, spread=3)),
    "avg_pool2d": (lambda x, d: tt.avg_pool2d(x, 8), near(2, 2, 16, 16)),
    "adaptive_avg_pool2d": (lambda x, d: tt.adaptive_avg_pool2d(x, 3), near(2, 2, 32, 32)),
    "matmul": (lambda x, d: x @ Tensor(d.cast(np.ones((3000, 2)))), np.ones((2, 3000), np.float32)),
    "attention": (attention, near(2, 40, 16, value=1)),
    "MultiHeadAttention": (multi_head, near(2, 40, 16, value=1)),
    "expand": (lambda x, d: x.expand(3000, 2), near(1, 2)),
    "broadcast": (lambda x, d: x + Tensor(d.cast(np.zeros((3000, 2)))), near(2)),
    "index": (embedding, near(2)),
}


def run(name: str, dtypes: Dtypes) -> tuple[Array, Array]:
    """Return y and dx of a case."""
    operation, array = CASES[name]
    x = Tensor(dtypes.cast(array), requires_grad=True)
    y = operation(x, dtypes)
    y.backward(dtypes.cast(np.abs(np.random.default_rng(1).standard_normal(y.shape))))
    assert x.grad is not None
    assert x.grad.dtype == x.dtype
    assert y.dtype == x.dtype
    return y.data.astype(np.float64), x.grad.data.astype(np.float64)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", CASES)
def test_result_and_gradient_equal_the_rounded_float64_ones(name: str, dtype: str) -> None:
    steps = 8 if name == "MultiHeadAttention" else 2  # three operations, each rounded
    exact = run(name, Dtypes(dtype, "float64"))
    for got, expected in zip(run(name, Dtypes(dtype, dtype)), exact, strict=True):
        assert np.abs(got - expected).max() <= steps * ROUNDING[dtype] * np.abs(expected).max()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("width", [30, 3000])
def test_softmax_of_16_bits_adds_up_to_1(dtype: str, width: int) -> None:
    y = tt.softmax(Tensor(np.zeros((2, width), numpy_dtype(dtype))))
    np.testing.assert_allclose(y.data.astype(np.float64).sum(axis=1), 1, rtol=3 * ROUNDING[dtype])


@pytest.mark.parametrize("dtype", HALVES)
def test_gradient_of_expand_under_autocast_is_summed_in_float32(dtype: str) -> None:
    x = Tensor(np.ones((1, 4), np.float32), requires_grad=True)
    w = Tensor(np.eye(4, dtype=np.float32))
    with tt.autocast(dtype):
        y = (x @ w).expand(3000, 4)
    y.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data, 3000, rtol=ROUNDING[dtype])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_optimizer_moves_16_bit_parameters_as_float32_would(name: str, dtype: str) -> None:
    def trained(inside: str) -> Array:
        p = tt.Parameter(np.array([1, -2, 0.5, 0]).astype(numpy_dtype(inside)))
        settings = {"momentum": 0.9} if name == "SGD" else {}
        optimizer = getattr(tt, name)([p], lr=0.01 if name != "SGD" else 10.0, **settings)
        for _ in range(3):
            p.grad = Tensor(np.array([1e-3, 1e-4, -1e-5, 1e-6]).astype(numpy_dtype(dtype)).astype(numpy_dtype(inside)))
            optimizer.step()
        assert p.dtype.name == inside
        return p.data.astype(np.float64)

    exact = trained("float32")
    assert np.abs(trained(dtype) - exact).max() <= 6 * ROUNDING[dtype]
    np.testing.assert_allclose(trained(dtype)[3], exact[3], rtol=8 * ROUNDING[dtype])


@pytest.mark.parametrize("dtype", HALVES)
def test_clipping_sums_squares_of_16_bit_gradients_in_float32(dtype: str) -> None:
    p = tt.Parameter(np.zeros(4000, numpy_dtype(dtype)))
    p.grad = Tensor(np.full(4000, 10, numpy_dtype(dtype)))
    assert tt.clip_grad_norm_([p], 1.0) == pytest.approx(10 * 4000**0.5)
    assert np.linalg.norm(p.grad.data.astype(np.float64)) == pytest.approx(1, rel=2 * ROUNDING[dtype])
