"""Containers of modules and parameters, and the layers without parameters that fit between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tinytorch import layers
from tinytorch.base.course import Longer
from tinytorch.base.errors import SettingError
from tinytorch.layers import Module, Parameter
from tinytorch.ops.shapes import flatten
from tinytorch.tensor import Tensor


def _checked(kind: str, value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise SettingError(f"{kind}: {type(value).__name__}: expected a {wanted.__name__}")
    return value


class Sequential(layers.Sequential, metaclass=Longer):
    """The course's Sequential; with an OrderedDict, its layers have names: `model.conv1`, and `conv1.weight`."""

    course = layers.Sequential

    @staticmethod
    def plain(*parts: Any) -> Any:
        """Return the arguments for the course's class, or None for a dict of layers."""
        return None if len(parts) == 1 and isinstance(parts[0], dict) else (parts, {})

    def __init__(self, *parts: Any) -> None:
        given = parts[0] if len(parts) == 1 and isinstance(parts[0], dict) else {str(i): p for i, p in enumerate(parts)}
        super().__init__(*given.values())
        self._names = list(given)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct submodules with their names."""
        for name, child in super().named_children():
            yield self._names[int(name)] if name.isdecimal() and int(name) < len(self._names) else name, child

    def __getattr__(self, name: str) -> Any:
        names = vars(self).get("_names", [])
        if name not in names:
            raise AttributeError(f"{type(self).__name__}: no attribute or layer {name!r}")
        return self.layers[names.index(name)]


class _List(Module):
    """A list whose entries are named by position."""

    kind: type = Module

    def __init__(self, parts: Iterable[Any] = ()) -> None:
        self._parts: list[Any] = []
        self.extend(parts)

    def _held(self) -> Iterator[tuple[str, Any]]:
        yield from ((str(i), part) for i, part in enumerate(self._parts))

    def append(self, part: Any) -> Any:
        """Add an entry at the end; return the list."""
        self._parts.append(_checked(type(self).__name__, part, self.kind))
        return self

    def extend(self, parts: Iterable[Any]) -> Any:
        """Add several entries at the end; return the list."""
        for part in parts:
            self.append(part)
        return self

    def insert(self, index: int, part: Any) -> None:
        """Insert an entry before a position."""
        self._parts.insert(index, _checked(type(self).__name__, part, self.kind))

    def __getitem__(self, index: Any) -> Any:
        return type(self)(self._parts[index]) if isinstance(index, slice) else self._parts[index]

    def __setitem__(self, index: int, part: Any) -> None:
        self._parts[index] = _checked(type(self).__name__, part, self.kind)

    def __delitem__(self, index: Any) -> None:
        del self._parts[index]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts)

    def __add__(self, others: Iterable[Any]) -> Any:
        return type(self)([*self._parts, *others])


class ModuleList(_List):
    """A list of modules, named `0`, `1`, ... A plain list as an attribute does the same."""


class ParameterList(_List):
    """A list of parameters, named `0`, `1`, ..."""

    kind = Parameter


class _Dict(Module):
    """A dict whose entries are named by their keys."""

    kind: type = Module

    def __init__(self, parts: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        self._parts: dict[str, Any] = {}
        self.update(parts or {})

    def _held(self) -> Iterator[tuple[str, Any]]:
        yield from self._parts.items()

    def update(self, parts: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add entries, or replace those of the same names."""
        for key, part in parts.items() if isinstance(parts, Mapping) else parts:
            self[key] = part

    def __getitem__(self, key: str) -> Any:
        return self._parts[key]

    def __setitem__(self, key: str, part: Any) -> None:
        self._parts[str(key)] = _checked(type(self).__name__, part, self.kind)

    def __delitem__(self, key: str) -> None:
        del self._parts[key]

    def __contains__(self, key: object) -> bool:
        return key in self._parts

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._parts.keys()

    def values(self) -> Iterable[Any]:
        """Return the entries."""
        return self._parts.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return the names with their entries."""
        return self._parts.items()

    def pop(self, key: str) -> Any:
        """Remove an entry and return it."""
        return self._parts.pop(key)


class ModuleDict(_Dict):
    """A dict of modules, named by their keys; `parts.key` is `parts["key"]`."""

    def __getattr__(self, name: str) -> Any:
        parts = vars(self).get("_parts", {})
        if name not in parts:
            raise AttributeError(f"{type(self).__name__}: no entry {name!r}: expected one of {list(parts)}")
        return parts[name]


class ParameterDict(_Dict):
    """A dict of parameters, named by their keys."""

    kind = Parameter


class Linear(layers.Linear, metaclass=Longer):
    """The course's Linear, with PyTorch's `device` and `dtype`."""

    course = layers.Linear

    @staticmethod
    def plain(*given: Any, **named: Any) -> Any:
        """Return the arguments for the course's class."""
        return given, named


class Identity(Module):
    """A layer that returns its input; it ignores all settings."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return x


class Flatten(layers.Flatten, metaclass=Longer):
    """Flattens the dimensions from start_dim to end_dim: (N, C, H, W) -> (N, C*H*W)."""

    course = layers.Flatten

    @staticmethod
    def plain(start_dim: int = 1, end_dim: int = -1) -> Any:
        """Return the arguments for the course's layer, or None if it lacks a setting."""
        return ((), {}) if (start_dim, end_dim) == (1, -1) else None

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return flatten(x, self.start_dim, self.end_dim)


class Unflatten(Module):
    """Splits one dimension into several."""

    def __init__(self, dim: int, unflattened_size: Iterable[int]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(self.dim, self.unflattened_size)


class Dropout(layers.Dropout, metaclass=Longer):
    """The course's Dropout, with p up to 1; `inplace` has no effect."""

    course = layers.Dropout

    @staticmethod
    def plain(p: float = 0.5, inplace: bool = False) -> Any:
        """Return the arguments for the course's layer, or None if it lacks a setting."""
        return None if p == 1 else ((p,), {})

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0 <= p <= 1:
            raise SettingError(f"Dropout: p {p}: expected 0 <= p <= 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return x * 0 if self.p == 1 and self.training else super().forward(x)


class Lambda(Module):
    """A function as a module, for Sequential."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)
