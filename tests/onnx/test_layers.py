"""tinytorch.onnx.layers: each layer alone, in every form of its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.models import with_statistics
from tests.onnx.sample import error, operations
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.onnx.export import OPSETS
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d

IMAGES = np.random.default_rng(0).standard_normal((2, 4, 7, 9), np.float32)
ROWS = np.random.default_rng(1).standard_normal((3, 5, 4), np.float32) * 4

ON_IMAGES: dict[str, Callable[[], Any]] = {
    "convolution": lambda: Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2)),
    "groups": lambda: Conv2d(4, 6, 3, groups=2, bias=False),
    "maximum": lambda: MaxPool2d((3, 2), 2, 1),
    "mean with padding": lambda: AvgPool2d(3, 2, 1),
    "global mean": lambda: AdaptiveAvgPool2d(1),
    "even sections": lambda: AdaptiveAvgPool2d((7, 3)),
    "overlapping sections": lambda: AdaptiveAvgPool2d((3, 4)),
    "norm": lambda: with_statistics(BatchNorm2d(4)),
    "flat": Flatten,
}
ON_ROWS: dict[str, Callable[[], Any]] = {
    "linear": lambda: Linear(4, 3),
    "without bias": lambda: Linear(4, 3, bias=False),
    "softmax over rows": lambda: tt.Softmax(1),
    "log softmax": lambda: tt.LogSoftmax(-2),
    "relu": lambda: tt.relu,
    "gelu": lambda: tt.gelu,
    "tanh": lambda: tt.tanh,
    "sigmoid": lambda: tt.sigmoid,
    "softmax": lambda: tt.softmax,
    "log_softmax": lambda: tt.log_softmax,
    "ReLU of nn": tt.nn.ReLU,
}


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
@pytest.mark.parametrize("name", ON_IMAGES)
def test_layer_of_images(name: str, opset: int) -> None:
    assert error(Sequential(ON_IMAGES[name]()), IMAGES, input_shape=IMAGES.shape[1:], opset=opset) < 1e-5


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
@pytest.mark.parametrize("name", ON_ROWS)
def test_layer_of_rows(name: str, opset: int) -> None:
    assert error(Sequential(ON_ROWS[name]()), ROWS, input_shape=ROWS.shape[1:], opset=opset) < 1e-5


def test_images_of_infinite_and_missing_values_pass_through_the_maximum() -> None:
    x = np.where(IMAGES > 1, np.float32(np.inf), IMAGES)
    expected = tt.MaxPool2d(2, padding=1)(tt.Tensor(x)).data
    from tests.onnx.sample import session

    run = session(Sequential(tt.MaxPool2d(2, padding=1)), threads=1, input_shape=x.shape[1:])
    np.testing.assert_array_equal(run(x), expected)


def test_softmax_over_a_dimension_that_is_not_there_is_refused() -> None:
    with pytest.raises(tt.SettingError, match=r"Softmax over dimension 2 of an input of shape \(batch, 4\)"):
        operations(Sequential(Linear(3, 4), tt.Softmax(2)))


def test_gelu_is_one_operation_where_onnx_has_it() -> None:
    model = Sequential(Linear(2, 2), tt.GELU())
    assert operations(model, opset=20) == ["Gemm", "Gelu", "Identity"]
    assert "Tanh" in operations(model, opset=19)


POOLS: list[tuple[Any, str]] = [
    (tt.MaxPool2d(3, 1, 2), "padding 2: expected at most half of kernel_size 3"),
    (tt.AvgPool2d(3, 1, 2), "padding 2: expected at most half of kernel_size 3"),
    (tt.MaxPool2d((3, 1), 1, (0, 1)), r"padding \(0, 1\): expected at most half of kernel_size \(3, 1\)"),
    (tt.MaxPool2d(2, 0), "stride 0: expected an integer of at least 1, or a pair of them"),
    (tt.AvgPool2d(2.0), "kernel_size 2.0: expected an integer of at least 1"),  # type: ignore[arg-type]
    (tt.AdaptiveAvgPool2d((None, 1)), r"output_size \(None, 1\): expected an integer"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("pool", "problem"), POOLS)
def test_pool_that_the_module_refuses_is_refused(pool: Any, problem: str) -> None:
    with pytest.raises(tt.SettingError, match=rf"layers\[1\]: {problem}"):
        operations(Sequential(tt.Conv2d(4, 4, 1), pool), input_shape=(4, 9, 9))
