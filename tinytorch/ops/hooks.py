"""Gradients inside the graph: `retain_grad`, `register_hook`, `autograd.grad`, and modes of recording."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from tinytorch import autograd
from tinytorch import tensor as T
from tinytorch.base.errors import GradientError, InputTypeError, ShapeError
from tinytorch.base.words import described
from tinytorch.tensor import Array, Tensor

Hook = Callable[[Tensor], Tensor | None]


class _Hooks:
    """The functions that the backward pass calls with one tensor's gradient, in the order of their registration."""

    def __init__(self) -> None:
        self.functions: list[Hook] = []

    def __call__(self, g: Array) -> Array:
        for function in self.functions:
            changed = function(Tensor(g))
            if changed is not None:
                if changed.shape != g.shape:
                    raise ShapeError(f"hook: it returned a gradient of shape {changed.shape}: expected {g.shape}")
                g = changed.data
        return g


class Handle:
    """A registered hook; `remove()` unregisters it."""

    def __init__(self, functions: list[Any], function: Any) -> None:
        self.functions, self.function = functions, function

    def remove(self) -> None:
        """Unregister the hook; nothing happens if it already is."""
        self.functions[:] = [f for f in self.functions if f is not self.function]


@cache
def _called(backward: Callable[..., Any]) -> bool:
    """Return whether a backward pass calls hooks. A learner's own answer in the course need not."""
    x, seen = Tensor(1.0, requires_grad=True), []

    def hook(g: Array) -> Array:
        seen.append(g)
        return g

    autograd.HOOKS[id(x)] = hook
    try:
        with enable_grad():
            y = x * 1
        backward(y)
    finally:
        del autograd.HOOKS[id(x)]
    return bool(seen)


def _hooks_of(x: Tensor) -> _Hooks:
    key = id(x)
    found = autograd.HOOKS.get(key)
    if not isinstance(found, _Hooks):
        found = autograd.HOOKS[key] = _Hooks()
        weakref.finalize(x, autograd.HOOKS.pop, key, None).atexit = False
    return found


def register_hook(x: Tensor, hook: Hook) -> Handle:
    """Call `hook(gradient)` in the backward pass; if it returns a tensor, that replaces the gradient.

    Raises:
        GradientError: x requires no gradient.
    """
    if not x.requires_grad:
        raise GradientError("register_hook: this tensor requires no gradient")
    if not _called(autograd.backward):
        raise GradientError("register_hook: your own backward() in module 06 does not call hooks, so neither "
                            "register_hook nor retain_grad works: use the reference's, which looks them up in "
                            "autograd.HOOKS")  # fmt: skip
    functions = _hooks_of(x).functions
    functions.append(hook)
    return Handle(functions, hook)


class _Retain:
    """A hook that adds the gradient to `.grad` of a tensor that is no leaf."""

    def __init__(self, x: Tensor) -> None:
        self.tensor = weakref.ref(x)

    def __call__(self, g: Tensor) -> None:
        x = self.tensor()
        if x is not None:
            x.grad = Tensor(g.data.copy() if x.grad is None else x.grad.data + g.data)


def retain_grad(x: Tensor) -> None:
    """Let `backward()` also store the gradient of this tensor, which is no leaf."""
    if not x.requires_grad:
        raise GradientError("retain_grad: this tensor requires no gradient")
    if x.node is not None and not retains_grad(x):
        register_hook(x, _Retain(x))


def retains_grad(x: Tensor) -> bool:
    """Return whether `retain_grad` was called for this tensor."""
    found = autograd.HOOKS.get(id(x))
    return isinstance(found, _Hooks) and any(isinstance(f, _Retain) for f in found.functions)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the outputs' sum with respect to each input, without changing any `.grad`.

    Args:
        grad_outputs: dL/d(output) for each output; 1 for outputs with a single element.
        retain_graph: keep the recorded graph.
        create_graph: must be False, because gradients are not recorded themselves.
        allow_unused: return None for an input that the outputs do not depend on.

    Raises:
        GradientError: create_graph is set, or an input is not used.
    """
    if create_graph:
        raise GradientError(
            "autograd.grad: create_graph=True is not supported: gradients of gradients are not recorded"
        )
    ends = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given = [grad_outputs] if not isinstance(grad_outputs, list | tuple) else list(grad_outputs)
    found: dict[int, Array] = {}
    for i, end in enumerate(ends):
        _walk(end, given[i] if i < len(given) else None, wanted, found, bool(retain_graph) or i < len(ends) - 1)
    missing = [i for i, x in enumerate(wanted) if id(x) not in found]
    if missing and not allow_unused:
        raise GradientError(f"autograd.grad: the outputs do not depend on input {missing[0]}, of shape "
                            f"{wanted[missing[0]].shape}; pass allow_unused=True to get None for it")  # fmt: skip
    return tuple(Tensor(found[id(x)].copy()) if id(x) in found else None for x in wanted)


def _walk(end: Tensor, gradient: Any, wanted: list[Tensor], found: dict[int, Array], keep: bool) -> None:
    if not end.requires_grad:
        raise GradientError("autograd.grad: an output depends on nothing that requires a gradient")
    gradients = {id(end): autograd._initial_gradient(end, gradient)}
    ids = {id(x) for x in wanted}
    for tensor in reversed(autograd.topological_order(end)):
        g = gradients.pop(id(tensor), None)
        if g is None:
            continue
        if id(tensor) in autograd.HOOKS:
            g = autograd.HOOKS[id(tensor)](g)
        if id(tensor) in ids:
            found[id(tensor)] = found[id(tensor)] + g if id(tensor) in found else g
        if tensor.node is None:
            continue
        for x, gx in autograd.input_gradients(tensor.node, g):
            gradients[id(x)] = gradients[id(x)] + gx if id(x) in gradients else gx
        if not keep:
            tensor.node = autograd._FREED


inference_mode = autograd.no_grad


# Modes --------------------------------------------------------------------------------------------------


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record operations in this thread, also inside `no_grad`: `with enable_grad(): ...`."""
    before = T.is_grad_enabled()
    T.set_grad_enabled(True)
    try:
        yield
    finally:
        T.set_grad_enabled(before)


class set_grad_enabled:  # noqa: N801 (PyTorch's name)
    """Turn recording on or off in this thread, at once; as a context manager, until the end of the block."""

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise InputTypeError(f"set_grad_enabled: mode is {described(mode)}: expected bool")
        self.before = T.is_grad_enabled()
        T.set_grad_enabled(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        T.set_grad_enabled(self.before)


class GradFn:
    """How a tensor was computed, for messages: `t.grad_fn.name()`."""

    def __init__(self, node: T.Node) -> None:
        self.node = node

    def name(self) -> str:
        """Return the operation's name."""
        return self.node.op.name

    def __repr__(self) -> str:
        return f"<{self.name()}>"


METHODS: dict[str, Any] = {
    "grad_fn": property(lambda x: None if x.node is None else GradFn(x.node)),
    "register_hook": register_hook,
    "retain_grad": retain_grad,
    "retains_grad": property(retains_grad),
}
