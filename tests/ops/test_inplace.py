"""Changes in place: values, gradients, views, and the errors that keep a wrong gradient from passing in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import GradientError, SettingError, ShapeError
from tinytorch.ops.inplace import METHODS
from tinytorch.tensor import Tensor

X, Y = np.random.default_rng(0).standard_normal((2, 3, 4))

# Each change in place has the gradient of the same function out of place
CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "+=": lambda x, y: x.__iadd__(y),
    "-=": lambda x, y: x.__isub__(y),
    "*=": lambda x, y: x.__imul__(y),
    "/=": lambda x, y: x.__itruediv__(y * y + 1),
    "**=": lambda x, y: x.__ipow__(2),
    "add_": lambda x, y: x.add_(y, alpha=3),
    "mul_ sub_": lambda x, y: x.mul_(y).sub_(y),
    "clamp_": lambda x, y: x.clamp_(-0.5, 0.5),
    "exp_": lambda x, y: x.exp_(),
    "tanh_": lambda x, y: x.tanh_(),
    "masked_fill_": lambda x, y: x.masked_fill_(X > 0.5, 2.0),
    "copy_": lambda x, y: x.copy_(y * 2),
    "zero_ add_": lambda x, y: x.zero_().add_(y),
    "scatter_add_": lambda x, y: x.scatter_add_(1, np.array([[0], [1], [1]]), y[:, :1]),
    "tril_": lambda x, y: x.tril_(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_recorded_change_has_the_right_gradient(name: str) -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        h = x * 1.5
        before = h * y  # uses the old value
        changed = CHANGES[name](h, y)
        assert changed is h
        return before + h * y

    tt.check_grads(function, X, Y)


def test_assigned_part_has_the_right_gradient() -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        h = x * 2
        h[0] = y[1] * h[2]
        h[1:, [0, 2]] += y[1:, :2]
        h[h.data > 100] = 0
        return h * y

    tt.check_grads(function, X, Y)


def test_tensor_without_gradient_starts_to_require_one() -> None:
    def function(y: Tensor) -> Tensor:
        rows = tt.zeros(3, 4, dtype=np.float64)
        for i in range(3):
            rows[i] = y[i] * (i + 1)
        return rows * rows

    tt.check_grads(function, Y)


@pytest.mark.parametrize(
    "view", [lambda h: h.view(4, 3), lambda h: h.t(), lambda h: h[1:], lambda h: h.t()[1:3].reshape(-1)]
)
def test_change_through_a_view_changes_what_it_views(view: Callable[[Tensor], Tensor]) -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        h = x * 1
        part = view(h)
        part *= 3
        part += y[0, 0]
        return h * y

    tt.check_grads(function, X, Y)  # the numeric gradient runs without recording, and changes memory


def test_update_by_hand_under_no_grad_keeps_the_tensor_and_its_memory() -> None:
    w = tt.ones(3, requires_grad=True)
    memory, same = w.data, w
    (w * w).sum().backward()
    with tt.no_grad():
        w -= 0.5 * w.grad
        w.grad.zero_()
    assert w is same
    assert w.data is memory
    assert w.requires_grad
    np.testing.assert_array_equal(w.data, 0)
    np.testing.assert_array_equal(w.grad.data, 0)


@pytest.mark.parametrize(
    "change",
    [lambda w: w.__isub__(1.0), lambda w: w.zero_(), lambda w: w.__setitem__(0, 1.0), lambda w: w[0].add_(1.0)],
)
def test_leaf_is_not_changed_while_operations_are_recorded(change: Callable[[Tensor], Any]) -> None:
    w = tt.ones(3, requires_grad=True)
    with pytest.raises(
        GradientError, match=r"cannot be changed in place while operations are recorded; write `with no_grad"
    ):
        change(w)
    np.testing.assert_array_equal(w.data, 1)


def test_backward_through_a_value_that_was_changed_is_an_error() -> None:
    w = tt.ones(3, requires_grad=True)
    loss = (w * w).sum()
    with tt.no_grad():
        w.add_(1)
    with pytest.raises(GradientError, match="has been changed in place"):
        loss.backward()


def test_change_of_what_no_derivative_reads_is_none() -> None:
    w = tt.ones(3, requires_grad=True)
    loss = (w + 1).sum()
    with tt.no_grad():
        w.add_(1)
    loss.backward()
    np.testing.assert_array_equal(w.grad.data, 1)


def test_gradients_of_two_leaves_never_share_memory() -> None:
    a, b = tt.ones(3, requires_grad=True), tt.ones(3, requires_grad=True)
    (a + b).sum().backward()
    a.grad.mul_(5)
    np.testing.assert_array_equal(b.grad.data, 1)


def test_result_stays_in_the_tensors_dtype_or_is_refused() -> None:
    x = tt.zeros(3, dtype=np.int64)
    x += 2
    assert x.dtype == np.int64
    with pytest.raises(SettingError, match=r"\+=: float32 values do not fit into int64; convert the tensor first"):
        x += 0.5
    with pytest.raises(SettingError, match="float64 values do not fit into int64"):
        x[0] = np.float64(0.5)
    y = tt.zeros(3)
    y += np.arange(3)
    assert y.dtype == np.float32


def test_value_of_another_shape_is_refused() -> None:
    x = tt.zeros(3)
    with pytest.raises(ShapeError, match="do not fit into a tensor of shape"):
        x += tt.ones(2, 3)
    with pytest.raises(ShapeError, match="do not fit a tensor of shape"):
        x[5] = 1.0
    with pytest.raises(SettingError, match="shares elements or is read-only"):
        tt.ones(1).expand(3).add_(1)


@pytest.mark.parametrize("name", ["uniform_", "normal_", "exponential_", "bernoulli_", "random_"])
def test_random_fill_changes_the_memory(name: str) -> None:
    x = tt.full((50, 40), -5.0)
    memory = x.data
    METHODS[name](x)
    assert x.data is memory
    assert (x.data > -5).all()
    assert len(np.unique(x.data)) > 1


def test_shapes_change_in_place() -> None:
    x = tt.ones(2, 3)
    assert x.unsqueeze_(0).shape == x.shape == (1, 2, 3)
    assert x.squeeze_().shape == (2, 3)
    assert x.t_().shape == (3, 2)


def test_requires_grad_and_detach_in_place() -> None:
    w = tt.ones(2).requires_grad_()
    assert w.requires_grad
    h = w * 2
    h.detach_()
    assert h.is_leaf
    assert not h.requires_grad
    with pytest.raises(GradientError, match="only floating-point"):
        tt.arange(3).requires_grad_()
    with pytest.raises(GradientError, match=r"use \.detach"):
        (w * 2).requires_grad_(False)


def test_every_method_is_found_on_a_tensor() -> None:
    for name in METHODS:
        assert callable(getattr(Tensor, name)), name
