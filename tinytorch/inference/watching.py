"""What all prepared models share: they notice changed weights; threads, copies, and forks of them are safe."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from operator import is_not
from typing import Any, Generic, TypeVar

import numpy as np

from tinytorch.base import changes
from tinytorch.base.errors import InputTypeError
from tinytorch.base.words import described
from tinytorch.layers import Module
from tinytorch.tensor import Tensor

Model = TypeVar("Model", bound=Module)
_all: weakref.WeakSet[Prepared[Any]] = weakref.WeakSet()


class Watch:
    """A model's tensors and structure, as they were when it was prepared; `every` is explained in `_structure`."""

    def __init__(self, model: Module, every: bool = False) -> None:
        self._every = every
        self._model, self._time, self._number = model, changes.clock, changes.structure
        self._tensors = [tensor for _, tensor in model.named_tensors()]
        self._arrays = [tensor.data for tensor in self._tensors]
        self._structure = _structure(model, every)

    def changed(self) -> bool:
        """Return whether the model has other layers, settings, or tensors, or tensors that were changed in place."""
        if changes.structure != self._number:
            number, found = changes.structure, _structure(self._model, self._every)
            if len(found) != len(self._structure) or any(map(is_not, found, self._structure)):
                return True
            self._number = number  # another model was changed
        try:
            same = [tensor.data for tensor in self._tensors] == self._arrays  # compares identities first
        except ValueError:  # two arrays
            same = False
        if not same or changes.clock == self._time:
            return not same
        if any(changes.changed_since(array, self._time) for array in self._arrays):
            return True
        self._time = changes.clock  # something else was changed
        return False


def _structure(model: Module, every: bool) -> list[Any]:
    """Return the modules, tensors, hooks, and settings of a model, to be compared by identity.

    Of classes outside of tinytorch, only the modules and tensors count, unless `every` is set: such a layer may note
    something at each call.
    """
    found: list[Any] = []
    for module in model.modules():
        found += (module, module._hooks, "forward" in vars(module), *(tensor for _, tensor in module._own_tensors()))
        if every or type(module).__module__.startswith("tinytorch."):
            found += [value for name, value in vars(module).items() if name[0] != "_" and name != "training"]
    return found


def checked_array(what: str, x: Any) -> np.ndarray:
    """Return x as an array without a subclass.

    Raises:
        InputTypeError: x is something else.
    """
    if isinstance(x, np.ndarray):
        return x.view(np.ndarray)
    tensor = "; write x.data" if isinstance(x, Tensor) else ""
    raise InputTypeError(f"{what}: x is {described(x)}: expected a NumPy array{tensor}")


class Prepared(Generic[Model]):
    """A model in inference mode that was prepared once. `_prepare` reads it, at first and when it has changed.

    Threads take turns by `_lock`. A copy in another process (a fork, or by pickle) prepares the model again.
    """

    def __init__(self, model: Model) -> None:
        self.model: Model = model.eval()
        self._lock = threading.Lock()
        self._prepare()
        _all.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.model,)

    def _prepare(self) -> None:
        self._watch = Watch(self.model)


def _after_fork() -> None:
    """Replace the locks in a forked child: another thread of the parent may have held one."""
    for one in list(_all):
        one._lock = threading.Lock()


if sys.platform != "win32":  # which has no fork
    os.register_at_fork(after_in_child=_after_fork)
