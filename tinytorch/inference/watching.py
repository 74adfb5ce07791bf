"""What all prepared models share: they notice changed weights; threads, copies, and forks of them are safe."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Any, Generic, TypeVar

from tinytorch.base import changes
from tinytorch.layers import Module

Model = TypeVar("Model", bound=Module)
_all: weakref.WeakSet[Prepared[Any]] = weakref.WeakSet()


class Watch:
    """The arrays of a model's tensors, as they were when it was prepared."""

    def __init__(self, model: Module) -> None:
        self._time = changes.clock
        self._tensors = [tensor for _, tensor in model.named_tensors()]
        self._arrays = [tensor.data for tensor in self._tensors]

    def changed(self) -> bool:
        """Return whether the model's tensors have other arrays or were changed in place."""
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
