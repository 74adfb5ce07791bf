"""Gradients inside the graph."""

from __future__ import annotations

import numpy as np
import pytest

import tinytorch as tt
from tinytorch import autograd
from tinytorch.base.errors import GradientError, ShapeError
from tinytorch.ops.creation import tensor
from tinytorch.tensor import Tensor


def test_retained_gradient_is_that_of_the_interior_tensor() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    h = x * 3
    h.retain_grad()
    assert h.retains_grad
    (h * h).sum().backward()
    assert h.grad is not None
    assert h.grad.tolist() == [6, 12]
    assert x.grad is not None
    assert x.grad.tolist() == [18, 36]


def test_hook_sees_and_replaces_the_gradient_until_it_is_removed() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    seen = []
    h = x * 3

    def tenfold(g: Tensor) -> Tensor:
        seen.append(g.tolist())
        return g * 10

    handle = h.register_hook(tenfold)
    h.sum().backward()
    assert seen == [[1, 1]]
    assert x.grad is not None
    assert x.grad.tolist() == [30, 30]
    x = tensor([1.0, 2.0], requires_grad=True)
    h = x * 3
    handle = h.register_hook(lambda g: g * 10)
    handle.remove()
    h.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3, 3]
    leaf = x.register_hook(lambda g: g[:1])
    with pytest.raises(ShapeError, match="hook: it returned a gradient of shape"):
        (x * 2).sum().backward()
    leaf.remove()


def test_hooks_are_forgotten_with_their_tensors() -> None:
    x = tt.ones(2, requires_grad=True)
    for _ in range(3):
        (x * 2).register_hook(lambda g: None)
    assert len(autograd.HOOKS) == 0


def test_grad_returns_gradients_without_storing_them() -> None:
    x, w = tensor([1.0, 2.0], requires_grad=True), tensor([3.0, 4.0], requires_grad=True)
    h = x * w
    dx, dh = autograd.grad((h * h).sum(), [x, h])
    assert dx.tolist() == [18, 64]
    assert dh.tolist() == [6, 16]
    assert x.grad is None
    (dx,) = autograd.grad(x * w, x, grad_outputs=tensor([1.0, 10.0]))
    assert dx.tolist() == [3, 40]
    unused = tt.ones(1, requires_grad=True)
    with pytest.raises(GradientError, match="do not depend on input 0"):
        autograd.grad((x * w).sum(), unused)
    assert autograd.grad((x * w).sum(), unused, allow_unused=True) == (None,)
    with pytest.raises(GradientError, match="create_graph=True is not supported"):
        autograd.grad((x * w).sum(), x, create_graph=True)


def test_modes_of_recording() -> None:
    x = tt.ones(2, requires_grad=True)
    with tt.no_grad():
        assert not (x * 2).requires_grad
        with tt.enable_grad():
            assert (x * 2).requires_grad
    with tt.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    with tt.inference_mode():
        assert not (x * 2).requires_grad


def test_grad_fn_names_the_operation() -> None:
    x = tt.ones(2, requires_grad=True)
    assert x.grad_fn is None
    assert repr((x * 2).grad_fn) == "<mul>"
    assert np.allclose((x * 2).data, 2)
