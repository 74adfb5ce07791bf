"""New tensors: shapes as numbers or tuples, dtypes as PyTorch's, and reproducible random values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.ops.creation import tensor


@pytest.mark.parametrize("make", [tt.zeros, tt.ones, tt.empty, tt.rand, tt.randn])
@pytest.mark.parametrize("size", [(2, 3), ((2, 3),), ([2, 3],), (tt.ones(2, 3).size(),)])
def test_shape_is_given_as_numbers_or_as_one_value(make: Callable[..., Any], size: tuple[Any, ...]) -> None:
    x = make(*size, device="cpu", requires_grad=True)
    assert x.shape == (2, 3)
    assert x.dtype == np.float32
    assert x.requires_grad


# value, dtype as PyTorch 2.13 returns them
DTYPES = [
    (lambda: tensor([1.0, 2.0]), "float32"),
    (lambda: tensor([1, 2]), "int64"),
    (lambda: tensor([True]), "bool"),
    (lambda: tensor(np.array([1.0])), "float64"),
    (lambda: tensor([1, 2], dtype=tt.float), "float32"),
    (lambda: tensor([tensor(1.0), tensor(2.0)]), "float32"),
    (lambda: tt.arange(5), "int64"),
    (lambda: tt.arange(0, 1, 0.25), "float32"),
    (lambda: tt.arange(3.0), "float32"),
    (lambda: tt.linspace(0, 1, 5), "float32"),
    (lambda: tt.full((2,), 3), "int64"),
    (lambda: tt.full((2,), 3.0), "float32"),
    (lambda: tt.full((2,), True), "bool"),
    (lambda: tt.eye(3), "float32"),
    (lambda: tt.zeros_like(tt.arange(3)), "int64"),
    (lambda: tt.ones_like(tt.ones(2, dtype=tt.float64)), "float64"),
    (lambda: tt.randint(5, (2,)), "int64"),
    (lambda: tt.randperm(4), "int64"),
    (lambda: tt.zeros(2, dtype=tt.long), "int64"),
    (lambda: tt.ones(2, dtype=tt.bool), "bool"),
    (lambda: tt.from_numpy(np.zeros(2, np.float16)), "float16"),
    (lambda: tt.randn(2, dtype=tt.double), "float64"),
]


@pytest.mark.parametrize(("make", "dtype"), DTYPES)
def test_dtype_is_pytorchs(make: Callable[[], Any], dtype: str) -> None:
    assert make().dtype == dtype


def test_tensor_copies_and_from_numpy_shares() -> None:
    array = np.zeros(3)
    copied, shared = tensor(array), tt.from_numpy(array)
    array[0] = 1
    assert copied.data[0] == 0
    assert shared.data[0] == 1
    with pytest.raises(SettingError, match="from_numpy: list: expected a NumPy array"):
        tt.from_numpy([1.0])


def test_values() -> None:
    assert tt.arange(2, 8, 3).tolist() == [2, 5]
    assert tt.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
    assert tt.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert tt.logspace(0, 2, 3).tolist() == [1, 10, 100]
    assert sorted(tt.randperm(6).tolist()) == list(range(6))
    with pytest.raises(SettingError, match="expected steps toward the end"):
        tt.arange(5, 0)


def test_random_values_depend_only_on_the_seed() -> None:
    def draw() -> list[Any]:
        tt.manual_seed(3)
        p = tt.full((4,), 0.5)
        return [
            tt.randn(3),
            tt.rand(2),
            tt.randint(0, 9, (4,)),
            tt.normal(0.0, p),
            tt.bernoulli(p),
            tt.multinomial(p, 2),
        ]

    for a, b in zip(draw(), draw(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    own = [tt.randn(3, generator=tt.Generator().manual_seed(1)).tolist() for _ in range(2)]
    assert own[0] == own[1]


def test_multinomial_draws_with_the_given_probabilities() -> None:
    weights = tensor([[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]])
    drawn = tt.multinomial(weights, 4000, replacement=True)
    assert drawn.shape == (2, 4000)
    assert set(drawn.data[1]) == {1}
    assert abs((drawn.data[0] == 2).mean() - 0.75) < 0.04
    without = tt.multinomial(tensor([0.0, 1.0, 1.0, 5.0]), 3)
    assert sorted(without.tolist()) == [1, 2, 3]
    with pytest.raises(SettingError, match="4 samples of 3 positive weights"):
        tt.multinomial(tensor([0.0, 1.0, 1.0, 5.0]), 4)
    with pytest.raises(SettingError, match="are the logits NaN"):
        tt.multinomial(tensor([float("nan"), 1.0]), 1)
    with pytest.raises(ShapeError, match="multinomial"):
        tt.multinomial(tt.ones(1, 2, 3), 1)


def test_only_the_cpu_exists() -> None:
    assert tt.ones(2).device == tt.device("cpu") == "cpu"
    assert not tt.cuda.is_available()
    with pytest.raises(SettingError, match="device 'cuda:0': TinyTorch computes on the CPU only"):
        tt.zeros(2, device="cuda:0")
