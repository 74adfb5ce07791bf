"""Pools with PyTorch's settings: values that tests/parity also compares with PyTorch's, and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import tinytorch as tt
import tinytorch.nn.functional as F
from tinytorch import nn, spatial
from tinytorch.base.errors import SettingError
from tinytorch.tensor import Tensor

X = Tensor(np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5))
SETTINGS = [
    (F.max_pool2d, {"ceil_mode": True}),
    (F.max_pool2d, {"padding": 1, "dilation": 2}),
    (F.max_pool2d, {"padding": 1, "ceil_mode": True, "dilation": 2}),
    (F.avg_pool2d, {"ceil_mode": True}),
    (F.avg_pool2d, {"padding": 1, "count_include_pad": False}),
    (F.avg_pool2d, {"padding": 1, "ceil_mode": True, "divisor_override": 3}),
]


def test_ceil_mode_reaches_the_last_pixels() -> None:
    # torch.nn.functional's results
    assert F.max_pool2d(X, 2).tolist() == [[[[6, 8], [16, 18]]]]
    assert F.max_pool2d(X, 2, ceil_mode=True).tolist() == [[[[6, 8, 9], [16, 18, 19], [21, 23, 24]]]]
    assert F.avg_pool2d(X, 2, ceil_mode=True).tolist() == [[[[3, 5, 6.5], [13, 15, 16.5], [20.5, 22.5, 24]]]]
    assert F.avg_pool2d(X, 3, 2, 1, count_include_pad=False)[0, 0, 0].tolist() == [3, 4.5, 6]
    assert F.max_pool1d(X[0, :, 0], 2, ceil_mode=True).tolist() == [[1, 3, 4]]


@pytest.mark.parametrize(("function", "settings"), SETTINGS)
def test_gradients_match_numerical_ones(function: object, settings: dict[str, object]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 2, 5, 6))
    tt.check_grads(lambda x: function(x, 2 if "dilation" in settings else 3, 2, **settings), x)  # type: ignore[operator]


def test_layers_without_such_settings_are_the_courses() -> None:
    assert type(nn.MaxPool2d(2)) is spatial.MaxPool2d
    assert type(nn.AvgPool2d(2, stride=1)) is spatial.AvgPool2d
    assert isinstance(nn.MaxPool2d(2), nn.MaxPool2d)
    assert nn.MaxPool2d(2, ceil_mode=True)(X).shape == (1, 1, 3, 3)
    assert nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)(X).shape == (1, 1, 3, 3)


def test_what_is_not_supported_is_refused_in_words() -> None:
    with pytest.raises(SettingError, match=r"^MaxPool2d: return_indices is not supported: expected False"):
        nn.MaxPool2d(2, return_indices=True)
    with pytest.raises(SettingError, match=r"^max_pool2d: kernel_size 2\.5: expected an integer of at least 1"):
        F.max_pool2d(X, 2.5, ceil_mode=True)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"^avg_pool2d: padding 2: expected at most half of kernel_size 3"):
        F.avg_pool2d(X, 3, padding=2, ceil_mode=True)
