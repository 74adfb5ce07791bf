"""Module 04: layers. A layer consists of its parameters, set in `__init__`, and one expression in `forward`.

`Module` finds its parameters, buffers, and submodules by walking its own attributes, in the order in which they were
set, and the lists, tuples, and dicts in them, at any depth. A `Parameter` is trained. Any other `Tensor` that
`__init__` sets is a buffer (saved, but not trained); one that `forward` keeps is neither. Names and layouts follow
PyTorch, so weights saved from PyTorch load unchanged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tinytorch.arrays.masks import masked
from tinytorch.base.errors import SettingError, ShapeError, StateError, TinyTorchError
from tinytorch.base.extension import ModuleExtension, about_array
from tinytorch.base.fusing import joined
from tinytorch.base.promotion import in_float32, in_floating_point, like, promoted
from tinytorch.base.random import default_generator
from tinytorch.base.words import RAW, explained, foreign_array, in_words
from tinytorch.tensor import PLAIN, Array, Op, Tensor, apply, as_tensor

if TYPE_CHECKING:
    from pathlib import Path


class Parameter(Tensor):
    """A tensor that is trained. `name` is its full name in the module that listed it last, for messages."""

    __slots__ = ("name",)

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)
        self.name: str | None = None


def _noting_buffers(init: Callable[..., None]) -> Callable[..., None]:
    """Return an `__init__` that calls `note_buffers` at its end, unless a subclass's `__init__` called it."""

    @wraps(init)
    def __init__(self: Module, *args: Any, **kwargs: Any) -> None:  # noqa: N807 (the name in tracebacks)
        init(self, *args, **kwargs)
        if type(self).__init__ is __init__:
            self.note_buffers()

    return __init__


PLAIN.add(Parameter)


class Module(ModuleExtension):
    """Base class of all layers and networks."""

    training: bool = True

    @_noting_buffers
    def __init__(self) -> None:
        pass

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "__init__" in vars(cls):
            ours = cls.__module__.startswith("tinytorch.")
            cls.__init__ = _noting_buffers(in_words(cls.__init__, all_errors=ours))  # type: ignore[method-assign]

    def note_buffers(self) -> None:
        """Make the tensors in the attributes buffers. Runs at the end of `__init__`: later ones are not buffers."""
        chosen = getattr(self, "_buffers", {})
        self._buffers = {name: True for name, value in self._held() if isinstance(value, Tensor)} | chosen

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._hooks is not None:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except TinyTorchError:
            raise
        except RAW as error:
            raise explained(self.forward, args, kwargs) or about_array(error) or error from None

    def _held(self) -> Iterator[tuple[str, Module | Tensor]]:
        """Yield the modules and tensors in the attributes, with their names; see `held_in`."""
        for name, value in vars(self).items():
            if isinstance(value, (Module, Tensor)):
                yield name, value
            elif isinstance(value, CONTAINERS):
                yield from held_in(name, value)

    def _own_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters and buffers in this module's attributes, with their names; see `held_in`."""
        buffers = getattr(self, "_buffers", None)  # None while __init__ runs: every tensor counts
        for name, value in self._held():
            if isinstance(value, Parameter) or (
                isinstance(value, Tensor) and (buffers is None or buffers.get(name, False))
            ):
                yield name, value

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Set an attribute to a tensor that is saved but not trained, or with `persistent=False` not saved either."""
        self._buffers = getattr(self, "_buffers", {}) | {name: persistent}
        setattr(self, name, tensor)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) for each direct submodule, in the order in which the attributes were set.

        A submodule is an attribute that is a Module, under the attribute's name, or a Module in an attribute that is a
        list, tuple, or dict, under the name that `held_in` makes: `list.0`, `list.1`, `dict.key`, `list.0.key`.
        `_held` yields the tensors and modules in the attributes.
        """
        yield from ((name, part) for name, part in self._held() if isinstance(part, Module))

    def modules(self) -> Iterator[Module]:
        """Yield this module first, then all its submodules, recursively: those of `named_children`, and theirs."""
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
        """Yield (full name, tensor) for all parameters and buffers; a shared one is yielded under each of its names.

        First come this module's own tensors, which `_own_tensors` yields, and then those of each child. A full name
        begins with `prefix`, and then has the child's name and a dot for each module on the way: `blocks.0.weight`.
        """
        for name, value in self._own_tensors():
            yield prefix + name, value
        for name, child in self.named_children():
            yield from child.named_tensors(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (full name, parameter) in the order of `named_tensors`, without buffers.

        A parameter shared by two layers (tied weights) is yielded once, under its first name.
        """
        seen: set[int] = set()
        for name, value in self.named_tensors():
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                value.name = name
                yield name, value

    def parameters(self) -> list[Parameter]:
        """Return the list of parameters, as an optimizer expects it."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self) -> None:
        """Reset all gradients to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Self:
        """Set `training` to `mode` on this module and all its submodules, and return this module.

        In training, dropout is active, and batch normalization uses the batch's statistics.
        """
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set inference mode on this module and its submodules."""
        return self.train(False)

    def state_dict(self) -> dict[str, Tensor]:
        """Return all parameters and buffers by name, with PyTorch's names and layouts.

        Raises:
            SettingError: two tensors have one name, as those of {1: ..., "1": ...} would.
        """
        state: dict[str, Tensor] = {}
        for name, value in self.named_tensors():
            if state.setdefault(name, value) is not value:
                raise SettingError(f"{type(self).__name__}: two tensors are named {name}: rename a key of a dict")
        return state

    def load_state_dict(self, state: Mapping[str, Tensor | Array]) -> None:
        """Copy values into the parameters and buffers, keeping each one's dtype.

        A shared tensor needs to be given under only one of its names.

        Raises:
            StateError: names are missing or unknown, a shape differs, or two names of a shared tensor have
                different values. The message lists all problems, and nothing is changed.
        """
        own = self.state_dict()
        arrays = {name: value.data if isinstance(value, Tensor) else foreign_array(name, value)
                  for name, value in state.items()}  # fmt: skip
        problems = [f"unknown {name}" for name in arrays if name not in own]
        chosen: dict[int, str] = {}  # the name that supplies each tensor's values
        for name, value in own.items():
            if name not in arrays:
                continue
            if arrays[name].shape != value.shape:
                problems.append(f"{name} has shape {arrays[name].shape}, expected {value.shape}")
            elif (first := chosen.setdefault(id(value), name)) != name and not _equal(arrays[first], arrays[name]):
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
        for name, value in self.state_dict().items():
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


CONTAINERS = (list, tuple, dict, set, frozenset)
HELD = (Module, Tensor, *CONTAINERS)


def held_in(name: str, value: Any, above: tuple[int, ...] = ()) -> Iterator[tuple[str, Module | Tensor]]:
    """Yield (name, value) if the value is a module or tensor, and those in a list, tuple, or dict at any depth.

    The entries of `blocks = [a, {"key": b}]` are named `blocks.0` and `blocks.1.key`. `above` holds the ids of the
    containers around the value: one that contains itself is searched once.

    Raises:
        SettingError: a set holds a module or tensor. It has no order, so a name would mean another one in each run.
    """
    if isinstance(value, (set, frozenset)) and any(isinstance(part, (Module, Tensor)) for part in value):
        raise SettingError(f"{name}: a set of modules or tensors: expected a list, tuple, or dict, with an order")
    if isinstance(value, (Module, Tensor)):
        yield name, value
    elif isinstance(value, (list, tuple, dict)) and id(value) not in above:
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in entries:
            if isinstance(part, HELD):
                yield from held_in(f"{name}.{key}", part, (*above, id(value)))


def kaiming_uniform(shape: tuple[int, ...], fan_in: int) -> Parameter:
    """Return a float32 Parameter of this shape, drawn uniformly from [-b, b) with b = 1/sqrt(fan_in).

    It is drawn from `default_generator()`, one number per element, so that `manual_seed` repeats it.
    This is PyTorch's default for linear and convolutional layers.
    Source: He et al. 2015, https://arxiv.org/abs/1502.01852, with gain 1/sqrt(3), as in PyTorch.
    """
    bound = 1 / math.sqrt(fan_in)
    values = default_generator().random(shape, np.float32)
    return Parameter((2 * values - 1) * np.float32(bound))


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return y = x W^T + b, or x W^T without a bias, in the dtype of x.

    Shapes: x (..., in), weight (out, in), bias (out,), y (..., out), with any number of leading dimensions.
    """
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"linear: input of shape {x.shape} does not match weight of shape {weight.shape}: "
                         f"expected (..., {weight.shape[1]})")  # fmt: skip
    if x.dtype is not weight.dtype:
        x, weight = promoted(x, weight)
    if x.dtype.itemsize == 2:  # NumPy's own product would be rounded before the bias, or be float32 for bfloat16
        return like(_linear(in_float32(x), in_float32(weight), bias), x)
    if x.ndim > 2:  # one large matrix product instead of many small ones
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        return _linear(rows, weight, bias).reshape(*x.shape[:-1], len(weight))
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
        """Set `in_features` and `out_features`, `weight`, and `bias`, which is None for `bias=False`.

        Both are drawn by `kaiming_uniform`, the weight first; the fan-in is the number of inputs of one output.
        """
        if in_features < 1 or out_features < 1:
            raise SettingError(f"Linear: sizes {in_features} and {out_features}: expected at least 1")
        self.in_features, self.out_features = in_features, out_features
        self.weight = kaiming_uniform((out_features, in_features), in_features)
        self.bias = kaiming_uniform((out_features,), in_features) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return y = x W^T + b: the op `linear`, with two inputs or, if there is a bias, three."""
        if self.bias is None:
            return apply(linear, x, self.weight)
        return apply(linear, x, self.weight, self.bias)


class Flatten(Module):
    """Flattens all dimensions after the first: (N, C, H, W) -> (N, C*H*W)."""

    def forward(self, x: Tensor) -> Tensor:
        return as_tensor(x).flatten(1)


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
        """Return x itself in inference mode or if p is 0; otherwise x times 0 or 1/(1-p), in the dtype of x.

        An element is kept if its own number from `default_generator().random(x.shape, np.float32)` is at least p.
        """
        x = as_tensor(x)
        if not self.training or self.p == 0:
            return x
        kept = default_generator().random(x.shape, np.float32) >= self.p
        return apply(dropout, x, kept, scale=1 / (1 - self.p))


class Sequential(Module):
    """A sequence of layers, applied in order; any callable from tensor to tensor can be a layer."""

    def __init__(self, *layers: Callable[[Tensor], Tensor]) -> None:
        """Set the attribute `layers` to a list of the layers."""
        self.layers = list(layers)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the layers that are Modules, named by position only (`0`, `1`, ...), as in PyTorch.

        Then come the submodules that a subclass has besides its layers, as `Module.named_children` names them.
        """
        yield from ((str(i), layer) for i, layer in enumerate(self.layers) if isinstance(layer, Module))
        yield from ((name, child) for name, child in super().named_children() if not name.startswith("layers."))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the last layer; each layer gets the output of the one before it, the first one x."""
        for layer in joined(self.layers):
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int | slice) -> Callable[[Tensor], Tensor]:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]


def _equal(a: Array, b: Array) -> bool:
    """Return whether two arrays are equal, where NaN equals NaN, also in bfloat16."""
    one, other = (x.astype(np.float32) if x.dtype.name == "bfloat16" else x for x in (a, b))
    return np.array_equal(one, other, equal_nan=True)


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Put the model in inference mode; on exit, restore each module's previous mode."""
    with mode_kept(model):
        model.eval()
        yield


@contextmanager
def mode_kept(model: Module) -> Iterator[None]:
    """Restore each module's mode, training or inference, on exit."""
    were_training = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in were_training:
            module.training = training
