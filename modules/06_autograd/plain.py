"""Module 06, written as a learner would: the course's proof tests that these answers pass, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinytorch import activations as A
from tinytorch import layers as L
from tinytorch import tensor as T
from tinytorch.arrays.masks import spread
from tinytorch.autograd import _FREED, _initial_gradient, _rows, _sum
from tinytorch.base.errors import GradientError
from tinytorch.tensor import Array, Node, Tensor

DERIVATIVES: dict[Any, Any] = {}

DERIVATIVES[T.mul] = (
    lambda g, y, a, b: b * g,
    lambda g, y, a, b: a * g,
)
DERIVATIVES[T.div] = (
    lambda g, y, a, b: g / b,
    lambda g, y, a, b: -g * a / (b * b),
)
DERIVATIVES[T.exp] = (lambda g, y, x: g * np.exp(x),)
DERIVATIVES[T.log] = (lambda g, y, x: g * (1 / x),)
DERIVATIVES[T.sum_] = (lambda g, y, x, dim, keepdim: spread(g, x, dim, keepdim),)
DERIVATIVES[T.mean] = (lambda g, y, x, dim, keepdim: spread(g, x, dim, keepdim) * (y.size / max(x.size, 1)),)
DERIVATIVES[A.relu_] = (lambda g, y, x: np.where(x > 0, g, 0),)
DERIVATIVES[A.sigmoid_] = (lambda g, y, x: g * (y - y * y),)
DERIVATIVES[A.tanh_] = (lambda g, y, x: g * (1 - y**2),)
DERIVATIVES[L.linear] = (
    lambda g, y, x, w, b=None: g @ w,
    lambda g, y, x, w, b=None: np.dot(_rows(g).T, _rows(x)),
    lambda g, y, x, w, b=None: _rows(g).sum(0),
)


def _power_x(g: Array, x: Array, exponent: float) -> Array:
    if exponent == 0:
        return 0 * g
    return g * exponent * x ** (exponent - 1.0)


def unbroadcast(g: Array, x: Array) -> Array:
    while g.ndim > x.ndim:
        g = g.sum(axis=0)
    for i in range(x.ndim):
        if x.shape[i] == 1 and g.shape[i] != 1:
            g = g.sum(axis=i, keepdims=True)
    return g.astype(x.dtype)


def topological_order(output: Tensor) -> list[Tensor]:
    order: list[Tensor] = []
    started: set[int] = set()
    finished: set[int] = set()
    path = [output]
    while path:
        tensor = path[-1]
        if id(tensor) not in started:
            started.add(id(tensor))
            inputs = tensor.node.inputs if tensor.node is not None else ()
            for x in inputs:
                if isinstance(x, Tensor) and x.requires_grad and id(x) not in started:
                    path.append(x)
        else:
            path.pop()
            if id(tensor) not in finished:
                finished.add(id(tensor))
                order.append(tensor)
    return order


def input_gradients(node: Node, g: Array) -> Iterator[tuple[Tensor, Array]]:
    all_at_once = None
    if not isinstance(rules, tuple):  # noqa: F821 (the checks above this answer define it)
        all_at_once = rules(g, node.kept, *arrays, **node.attrs)  # noqa: F821
    for i, x in enumerate(inputs):  # noqa: F821
        if isinstance(x, Tensor) and x.requires_grad:
            if all_at_once is not None:
                gradient = all_at_once[i]
            elif i >= len(rules) or rules[i] is None:  # noqa: F821
                raise GradientError(f"backward: op '{node.op.name}' has no derivative for its input {i}")
            else:
                gradient = rules[i](g, node.kept, *arrays, **node.attrs)  # noqa: F821
            yield x, unbroadcast(gradient, x.data)


def backward(output: Tensor, gradient: Tensor | Array | None = None, retain_graph: bool = False) -> None:
    reached = {id(output): _initial_gradient(output, gradient)}
    for tensor in reversed(topological_order(output)):
        if id(tensor) not in reached:
            continue
        g = reached[id(tensor)]
        if tensor.node is None:
            if tensor.grad is not None:
                g = tensor.grad.data + g
            tensor.grad = Tensor(g.copy())
        else:
            for x, gx in input_gradients(tensor.node, g):
                if id(x) in reached:
                    gx = _sum(reached[id(x)], gx)
                reached[id(x)] = gx
            if not retain_graph:
                tensor.node = _FREED


def _matmul_a(g: Array, a: Array, b: Array) -> Array:
    if a.ndim == 1 and b.ndim == 1:
        return g * b
    if b.ndim == 1:
        return np.expand_dims(g, -1) * b
    if a.ndim == 1:
        row = np.expand_dims(g, -2) @ b.swapaxes(-1, -2)
        return row.squeeze(-2)
    return g @ b.swapaxes(-1, -2)


def _matmul_b(g: Array, a: Array, b: Array) -> Array:
    if a.ndim == 1 and b.ndim == 1:
        return g * a
    if a.ndim == 1:
        return np.expand_dims(a, -1) * np.expand_dims(g, -2)
    if b.ndim == 1:
        column = a.swapaxes(-1, -2) @ np.expand_dims(g, -1)
        return column.squeeze(-1)
    return a.swapaxes(-1, -2) @ g


def _softmax_x(g: Array, y: Array, dim: int) -> Array:
    weighted = np.sum(g * y, axis=dim, keepdims=True)
    return y * (g - weighted)


def _cross_entropy_x(g: Array, p: Array, targets: Array, label_smoothing: float) -> Array:
    n, classes = p.shape
    q = np.full_like(p, label_smoothing / classes)
    q[np.arange(n), targets] += 1 - label_smoothing
    return (p - q) * (g / n)


class no_grad:  # noqa: N801 (PyTorch's name)
    def __enter__(self) -> no_grad:
        was_enabled = T.is_grad_enabled()
        self._before.append(was_enabled)
        T.set_grad_enabled(False)
        return self

    def __exit__(self, *error: object) -> None:
        was_enabled = self._before[-1]
        del self._before[-1]
        T.set_grad_enabled(was_enabled)
