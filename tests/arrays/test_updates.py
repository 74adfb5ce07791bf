"""Updates of large arrays on all cores: what module 07's own `update` gives, bit for bit, in every memory order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch import optim
from tinytorch.arrays import parallel, updates
from tinytorch.layers import Parameter
from tinytorch.optimizers import Optimizer
from tinytorch.tensor import Array, Tensor

OPTIMIZERS: dict[str, Callable[[list[Parameter]], Optimizer]] = {
    "SGD": lambda p: tt.SGD(p, lr=0.1),
    "SGD with weight decay": lambda p: tt.SGD(p, lr=0.1, weight_decay=0.01),
    "SGD with momentum": lambda p: tt.SGD(p, lr=0.1, momentum=0.9),
    "SGD with both": lambda p: tt.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "SGD, Nesterov": lambda p: tt.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "SGD, maximize": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, maximize=True),
    "Adam": lambda p: tt.Adam(p, lr=0.1),
    "Adam with weight decay": lambda p: tt.Adam(p, lr=0.1, weight_decay=0.01),
    "Adam without averages": lambda p: tt.Adam(p, lr=0.1, betas=(0.0, 0.0)),
    "AdamW": lambda p: tt.AdamW(p, lr=0.1, betas=(0.9, 0.99), weight_decay=0.1),
}
ORDERS: dict[str, Callable[[Array], Array]] = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "channels last": lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
}
SHAPE = (6, 5, 3, 4)


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Update every array in two parts; return the number of parts of each update."""
    monkeypatch.setattr(updates, "SHARED", 1)
    monkeypatch.setattr(parallel, "SMALLEST", 1)
    found: list[int] = []

    def noted(data: Array, work: Callable[[int, int], Any]) -> list[Any]:
        done = parallel.in_parallel(data, work)
        found.append(len(done))
        return done

    monkeypatch.setattr(updates, "in_parallel", noted)
    return found


def numbers(seed: int, shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def trained(
    name: str, order: str = "C", gradient_order: str = "C", dtype: Any = np.float32, steps: int = 4
) -> list[Array]:
    """Return a parameter after some steps, and the optimizer's state."""
    parameter = Parameter(ORDERS[order](numbers(0).astype(dtype)))
    optimizer = OPTIMIZERS[name]([parameter])
    for i in range(steps):
        given = ORDERS[gradient_order](numbers(i + 1).astype(dtype))
        kept = given.copy()
        parameter.grad = Tensor(given)
        optimizer.step()
        assert np.array_equal(given, kept), "the gradient has changed"
    return [parameter.data, *(array for _, array in sorted(optimizer.state[0].items()))]


def plainly(*arguments: Any, **settings: Any) -> list[Array]:
    """Return the same by module 07's own update of whole arrays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(updates, "SHARED", 2**62)
        return trained(*arguments, **settings)


def same(found: list[Array], expected: list[Array]) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parts_give_what_the_whole_gives_to_the_last_bit(parts: list[int], name: str, dtype: Any) -> None:
    assert same(trained(name, dtype=dtype), plainly(name, dtype=dtype))
    assert parts == [len(parallel.parts((360,)))] * 4


@pytest.mark.parametrize("gradient_order", ORDERS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["SGD with both", "AdamW"])
def test_every_memory_order_gives_the_same(parts: list[int], name: str, order: str, gradient_order: str) -> None:
    assert same(trained(name, order, gradient_order), plainly(name))
    assert len(parts) == 4


def test_a_view_with_gaps_is_updated_as_a_whole(parts: list[int]) -> None:
    whole = numbers(0)
    parameter = Parameter(np.zeros(1, np.float32))
    parameter.data = whole[:, ::2]
    expected = parameter.data - np.float32(0.1) * numbers(1)[:, ::2]
    optimizer = tt.SGD([parameter], lr=0.1)
    parameter.grad = Tensor(numbers(1)[:, ::2])
    optimizer.step()
    np.testing.assert_allclose(whole[:, ::2], expected, rtol=1e-6)
    assert np.array_equal(whole[:, 1::2], numbers(0)[:, 1::2])
    assert not parts


def test_small_arrays_are_updated_as_a_whole(monkeypatch: pytest.MonkeyPatch, parts: list[int]) -> None:
    monkeypatch.undo()
    trained("AdamW")
    assert not parts


def test_threads_may_train_models_of_their_own() -> None:
    expected = trained("AdamW", steps=20)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: trained("AdamW", steps=20), range(8)))
    assert all(same(arrays, expected) for arrays in found)


def test_an_error_in_one_part_is_raised() -> None:
    parameter = Parameter(numbers(0))
    optimizer = tt.SGD([parameter], lr=0.1)
    parameter.grad = Tensor(numbers(1))
    optimizer.param_groups[0]["lr"] = "fast"
    with pytest.raises(TypeError):
        optimizer.step()


def test_the_text_of_module_07_is_kept() -> None:
    for update in (tt.SGD.update, tt.Adam.update):
        assert "formula" in (update.__doc__ or "")
        assert (update.__name__, update.__module__) == ("update", "tinytorch.optimizers")
