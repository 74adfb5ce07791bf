"""Longer signatures of the course's methods: PyTorch's and NumPy's other arguments, such as `axis=` or `strict=`.

Each function here takes a method and returns one with a longer signature, which calls it; see `extension`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from numbers import Real
from typing import Any

import numpy as np

from tinytorch.base.changes import note_all
from tinytorch.base.errors import GradientError, InputTypeError, ShapeError
from tinytorch.base.words import described

Method = Callable[..., Any]


def _reduction(original: Method) -> Method:
    """Accept `axis` for `dim` and `keepdims` for `keepdim`, and what NumPy passes from `np.sum(t)`: dtype and out."""

    def method(self: Any, *given: Any, **named: Any) -> Any:
        if named:
            if "axis" in named:
                named["dim"] = named.pop("axis")
            if "keepdims" in named:
                named["keepdim"] = named.pop("keepdims")
            if named.pop("out", None) is not None:
                raise TypeError(f"{original.__name__}: out= is not supported; assign the result instead")
            if (dtype := named.pop("dtype", None)) is not None:
                return original(self.to(dtype), *given, **named)
        if given and type(given[0]) is list:
            given = (tuple(given[0]), *given[1:])
        return original(self, *given, **named)

    return method


def _var(original: Method) -> Method:
    """Accept PyTorch's `unbiased` and NumPy's `ddof` for `correction`."""
    shorter = _reduction(original)

    def method(self: Any, dim: Any = None, *given: Any, **named: Any) -> Any:
        if isinstance(dim, bool):  # var(False): PyTorch's older signature
            dim, named["correction"] = None, int(dim)
        if "unbiased" in named:
            named["correction"] = int(named.pop("unbiased"))
        if "ddof" in named:
            named["correction"] = named.pop("ddof")
        correction = named.get("correction", given[0] if given else 1)
        if isinstance(correction, bool) or not isinstance(correction, Real):
            raise InputTypeError(f"var: correction is {described(correction)}: expected a number")
        return shorter(self, *given, **named) if "axis" in named else shorter(self, dim, *given, **named)

    return method


def _argmax(original: Method) -> Method:
    def method(self: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Any:
        dim = axis if dim is None else dim
        found = original(self, dim)
        if not (keepdim or keepdims):
            return found
        return found.reshape((1,) * self.ndim) if dim is None else found.unsqueeze(dim)

    return method


def _flatten(original: Method) -> Method:
    def method(self: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
        count = max(1, self.ndim)
        start, end = self._dim(start_dim, count), self._dim(end_dim, count)
        if end == count - 1:
            return original(self, start)
        if start > end:
            raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in shape {self.shape}")
        return self.reshape((*self.shape[:start], -1, *self.shape[end + 1 :]))

    return method


def _expand(original: Method) -> Method:
    """Accept -1 for a size that stays."""

    def method(self: Any, *shape: Any) -> Any:
        sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        if -1 in sizes:
            new = len(sizes) - self.ndim
            sizes = tuple(self.shape[i - new] if size == -1 and i >= new else size for i, size in enumerate(sizes))
        return original(self, *sizes)

    return method


def _squeeze(original: Method) -> Method:
    """Without a dimension, remove every dimension of size 1; with several, remove those."""

    def method(self: Any, dim: Any = None) -> Any:
        if isinstance(dim, int):
            return original(self, dim)
        if dim is not None and not isinstance(dim, tuple | list):
            return original(self, dim)
        dims = range(self.ndim) if dim is None else [self._dim(i, self.ndim) for i in dim]
        return self.reshape(tuple(n for i, n in enumerate(self.shape) if n != 1 or i not in dims))

    return method


def _to(original: Method) -> Method:
    """Accept a device, a device and a dtype, or another tensor, as PyTorch does."""

    def method(self: Any, *given: Any, **named: Any) -> Any:
        if len(given) == 1 and not named and hasattr(given[0], "newbyteorder"):  # a NumPy dtype
            return original(self, given[0])
        from tinytorch.base.devices import target

        dtype = target(*given, **named)
        return self if dtype is None or dtype == self.dtype else original(self, dtype)

    return method


def _backward(original: Method) -> Method:
    """Refuse PyTorch's `create_graph`, in words."""

    def method(self: Any, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        if create_graph:
            raise GradientError("backward: create_graph=True is not supported: gradients of gradients are not recorded")
        given = None if hasattr(gradient, "requires_grad") and not isinstance(gradient, type) else gradient
        if given is not None and np.asarray(given).dtype.kind in "OSUMm":
            raise InputTypeError(f"backward: gradient is {described(given)}: expected a Tensor or an array")
        original(self, gradient, bool(retain_graph))

    return method


def _zero_grad(original: Method) -> Method:
    """Accept PyTorch's set_to_none; False sets the gradients to zero instead."""

    def method(self: Any, set_to_none: bool = True) -> None:
        if set_to_none:
            original(self)
        else:
            for parameter in self.parameters():
                if parameter.grad is not None:
                    parameter.grad = type(parameter.grad)(parameter.grad.data * 0)

    return method


def _step(original: Method) -> Method:
    """Accept a closure that computes the loss again, and return its result; note which parameters change."""

    def method(self: Any, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else closure()
        note_all([p.data for group in self.param_groups for p in group["params"] if p.grad is not None])
        original(self)
        return loss

    return method


def keep_defaults(original: Method) -> Method:
    """Keep the defaults of the settings, which a group that is added later gets, too."""

    def method(self: Any, parameters: Any, **defaults: Any) -> None:
        self.defaults = defaults
        original(self, parameters, **defaults)

    return method


def _load_state_dict(original: Method) -> Method:
    """Accept PyTorch's `strict`, and the prefixes and buffers of `inputs.states`; return the names that did not fit."""

    def method(self: Any, state: Any, strict: bool = True, assign: bool = False) -> Any:
        prepared = import_module("tinytorch.inputs.states").prepared(self, state, strict)
        original(self, prepared.state)
        return prepared.keys

    return method


class Parameters(list[Any]):
    """The parameters of a module: a list, of which `next()` returns one after the other, as of PyTorch's iterator."""

    place = 0

    def __next__(self) -> Any:
        if self.place >= len(self):
            raise StopIteration
        self.place += 1
        return self[self.place - 1]


def _parameters(original: Method) -> Method:
    """Accept PyTorch's `recurse`: False returns only the module's own parameters."""

    def method(self: Any, recurse: bool = True) -> Any:
        if recurse:
            return Parameters(original(self))
        return Parameters(value for _, value in self._held() if getattr(value, "requires_grad", False))

    return method


def _named_parameters(original: Method) -> Method:
    """Accept PyTorch's `prefix` and `recurse`."""

    def method(self: Any, prefix: str = "", recurse: bool = True) -> Any:
        own = None if recurse else {id(p) for p in self.parameters(recurse=False)}
        for name, value in original(self):
            if own is None or id(value) in own:
                yield f"{prefix}.{name}" if prefix else name, value

    return method


MODULE_LONGER: dict[str, Callable[[Method], Method]] = {
    "zero_grad": _zero_grad,
    "load_state_dict": _load_state_dict,
    "named_parameters": _named_parameters,
    "parameters": _parameters,
}
OPTIMIZER_LONGER: dict[str, Callable[[Method], Method]] = {"zero_grad": _zero_grad, "step": _step}
TENSOR_LONGER: dict[str, Callable[[Method], Method]] = {
    **dict.fromkeys(("sum", "mean", "max", "min", "amax", "amin"), _reduction),
    "var": _var,
    "backward": _backward,
    "argmax": _argmax,
    "flatten": _flatten,
    "expand": _expand,
    "squeeze": _squeeze,
    "to": _to,
}
