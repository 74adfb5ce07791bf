"""Module 04: layers. A layer consists of its parameters, set in `__init__`, and one expression in `forward`.

`Module` finds its parameters, buffers, and submodules by walking its own attributes, in the order in which they were
set. A `Parameter` is trained, any other `Tensor` is a buffer (saved, but not trained), and a `Module` or a list of
modules holds submodules. Names and layouts follow PyTorch, so weights saved from PyTorch load unchanged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tinytorch.arrays.masks import masked
from tinytorch.base.errors import SettingError, ShapeError, StateError, TinyTorchError
from tinytorch.base.promotion import in_floating_point, promoted
from tinytorch.base.random import default_generator
from tinytorch.base.words import RAW, described, explained, in_words
from tinytorch.tensor import Array, Op, Tensor, apply

if TYPE_CHECKING:
    from pathlib import Path


class Parameter(Tensor):
    """A tensor that is trained."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)


class Module:
    """Base class of all layers and networks."""

    training: bool = True

    def __init_subclass__(cls, **settings: Any) -> None:
        """Give the constructor errors in words for arguments of the wrong type; see `base.words`."""
        super().__init_subclass__(**settings)
        if "__init__" in vars(cls):
            cls.__init__ = in_words(cls.__init__)  # type: ignore[method-assign]

    def forward(self, *args: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward()")

    def __call__(self, *args: Any) -> Any:
        try:
            return self.forward(*args)
        except TinyTorchError:
            raise
        except RAW as error:
            raise explained(self.forward, args, {}) or error from None

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct submodules, including those in lists (named `list.0`, `list.1`, ...)."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(value) if isinstance(part, Module))

    def modules(self) -> Iterator[Module]:
        """Yield this module and all its submodules, recursively."""
        yield self
        for _, child in self.named_children():
            yield from child.modules()

    def named_modules(self, memo: set[int] | None = None, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module, named "", and all its submodules with their full names; a shared one is yielded once.

        `memo` holds the ids of the modules that were already yielded.
        """
        memo = set() if memo is None else memo
        if id(self) not in memo:
            memo.add(id(self))
            yield prefix, self
            for name, child in self.named_children():
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name)

    def named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Yield parameters and buffers with their full names; a shared one is yielded under each of its names."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                yield prefix + name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{prefix}{name}.{i}", part) for i, part in enumerate(value) if isinstance(part, Tensor))
        for name, child in self.named_children():
            yield from child.named_tensors(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters with their full names; one shared by two layers (tied weights) is yielded once."""
        seen: set[int] = set()
        for name, value in self.named_tensors():
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> list[Parameter]:
        """Return the list of parameters, as an optimizer expects it."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self) -> None:
        """Reset all gradients to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Self:
        """Set training mode on this module and its submodules: dropout is active, batch norm uses batch statistics."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set inference mode on this module and its submodules."""
        return self.train(False)

    def state_dict(self) -> dict[str, Tensor]:
        """Return all parameters and buffers by name, with PyTorch's names and layouts."""
        return dict(self.named_tensors())

    def load_state_dict(self, state: Mapping[str, Tensor | Array]) -> None:
        """Copy values into the parameters and buffers, keeping each one's dtype.

        A shared tensor needs to be given under only one of its names.

        Raises:
            StateError: names are missing or unknown, a shape differs, or two names of a shared tensor have
                different values. The message lists all problems, and nothing is changed.
        """
        own = self.state_dict()
        arrays = {name: _array(name, value) for name, value in state.items()}
        problems = [f"unknown {name}" for name in arrays if name not in own]
        chosen: dict[int, str] = {}  # the name that supplies each tensor's values
        for name, value in own.items():
            if name not in arrays:
                continue
            if arrays[name].shape != value.shape:
                problems.append(f"{name} has shape {arrays[name].shape}, expected {value.shape}")
            elif not _equal(arrays[chosen.setdefault(id(value), name)], arrays[name]):
                problems.append(f"{name} and {chosen[id(value)]} are one tensor but differ")
        given = {id(own[name]) for name in arrays if name in own}
        problems += [f"missing {name}" for name, value in own.items() if id(value) not in given]
        if problems:
            raise StateError(f"{type(self).__name__}: state does not fit: {'; '.join(problems)}")
        for value in own.values():
            value.data = np.array(arrays[chosen[id(value)]], value.dtype)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the state_dict as safetensors; an existing file stays intact until the new one is complete.

        A shared tensor is saved once, under its first name.
        """
        from tinytorch.base.files import save_arrays  # here: pathlib would cost `import tinytorch` a tenth of its time

        once: dict[int, tuple[str, Tensor]] = {}
        for name, value in self.named_tensors():
            once.setdefault(id(value), (name, value))
        return save_arrays(path, {name: value.data for name, value in once.values()})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Load a file that `save` wrote, or a safetensors file from PyTorch.

        Raises:
            StateError: the file is truncated, or its tensors do not match; the message names the file.
        """
        from tinytorch.base.files import load_arrays

        arrays, _ = load_arrays(path)
        try:
            self.load_state_dict(arrays)
        except StateError as error:
            raise StateError(f"{path}: {error}") from None


def _array(name: str, value: Any) -> Array:
    """Return a value of a state_dict as an array: also one of PyTorch's, for which NumPy lacks bfloat16."""
    if isinstance(value, (Tensor, Array)):
        return value.data if isinstance(value, Tensor) else value
    try:
        return np.asarray(value.detach().float() if hasattr(value, "detach") else value)
    except RAW:
        raise StateError(f"{name} is {described(value)}: expected a Tensor or an array") from None


def _equal(a: Array, b: Array) -> bool:
    """Return whether two arrays are equal; NaN equals NaN."""
    if a is b:
        return True
    if "bfloat16" in (a.dtype.name, b.dtype.name):  # ml_dtypes supports only a part of NumPy's functions
        a, b = a.astype(np.float64), b.astype(np.float64)
    return np.array_equal(a, b, equal_nan=True)


def kaiming_uniform(shape: tuple[int, ...], fan_in: int) -> Parameter:
    """Return a Parameter drawn uniformly from [-b, b) with b = 1/sqrt(fan_in).

    This is PyTorch's default for linear and convolutional layers.
    Source: He et al. 2015, https://arxiv.org/abs/1502.01852, with gain 1/sqrt(3), as in PyTorch.
    """
    bound = 1 / math.sqrt(fan_in)
    values = default_generator().random(shape, np.float32)
    return Parameter((2 * values - 1) * np.float32(bound))


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"linear: input of shape {x.shape} does not match weight of shape {weight.shape}: "
                         f"expected (..., {weight.shape[1]})")  # fmt: skip
    if x.ndim > 2:  # one large matrix product instead of many small ones
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        return _linear(rows, weight, bias).reshape(*x.shape[:-1], len(weight))
    if x.dtype is not weight.dtype:
        x, weight = promoted(x, weight)
    y = x @ weight.T
    if bias is not None:
        y += bias
    return y


linear = Op("linear", _linear)


class Linear(Module):
    """A linear layer, y = x W^T + b.

    Shapes: x (..., in_features), weight (out_features, in_features), bias (out_features,), y (..., out_features).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        if in_features < 1 or out_features < 1:
            raise SettingError(f"Linear: sizes {in_features} and {out_features}: expected at least 1")
        self.in_features, self.out_features = in_features, out_features
        self.weight = kaiming_uniform((out_features, in_features), in_features)
        self.bias = kaiming_uniform((out_features,), in_features) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None:
            return apply(linear, x, self.weight)
        return apply(linear, x, self.weight, self.bias)


class Flatten(Module):
    """Flattens all dimensions after the first: (N, C, H, W) -> (N, C*H*W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def _dropout(x: Array, kept: Array, scale: float) -> Array:
    x = in_floating_point(x)
    return masked(x * x.dtype.type(scale), kept)


dropout = Op("dropout", _dropout)


class Dropout(Module):
    """In training, zeroes each element with probability p and scales the rest by 1/(1-p); otherwise returns x.

    Source: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p < 1:
            raise SettingError(f"Dropout: p {p}: expected 0 <= p < 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = default_generator().random(x.shape, np.float32) >= self.p
        return apply(dropout, x, kept, scale=1 / (1 - self.p))


class Sequential(Module):
    """A sequence of layers, applied in order; any callable from tensor to tensor can be a layer."""

    def __init__(self, *layers: Callable[[Tensor], Tensor]) -> None:
        self.layers = list(layers)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct submodules, named by position only (`0`, `1`, ...), as in PyTorch."""
        yield from ((str(i), layer) for i, layer in enumerate(self.layers) if isinstance(layer, Module))
        yield from ((name, child) for name, child in super().named_children() if not name.startswith("layers."))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Callable[[Tensor], Tensor]:
        return self.layers[index]


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Put the model in inference mode; on exit, restore each module's previous mode."""
    were_training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in were_training:
            module.training = training
