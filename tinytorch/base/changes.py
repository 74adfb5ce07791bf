"""What was changed in place, and when: the version counter behind "weights changed between forward and backward".

A clock counts all changes in place. An operation that is recorded for differentiation stores the clock's time, one
integer, and each change stores the clock's time for the memory that was changed. In the backward pass, an input whose
memory was changed after the operation was recorded would yield a wrong gradient, so it is an error. If nothing at all
was changed since then, this costs one comparison of integers per operation.

Memory is identified by the array that owns it, so a change through a view counts for all other views.
"""

from __future__ import annotations

import threading
import weakref
from functools import partial
from itertools import count
from typing import Any

import numpy as np

Array = np.ndarray

clock = 0
structure = 0  # changes whenever a module gets another attribute: a layer, a parameter, a hook, a setting
_structures = count(1)
_lock = threading.Lock()
_changed: dict[int, int] = {}  # id of the owner -> time of its last change
_watched: dict[int, weakref.ref[Array]] = {}  # id of the owner -> the reference that forgets it


def owner(array: Array) -> Array:
    """Return the array whose memory this one uses: itself, or the array that it is a view of."""
    while isinstance(array.base, Array):
        array = array.base
    return array


def note(array: Array) -> None:
    """Record that the array's memory is being changed in place."""
    note_all([array])


def note_all(arrays: list[Array]) -> None:
    """Record that the memory of these arrays is being changed in place. The clock moves on once."""
    global clock
    with _lock:  # two threads must not turn the clock back
        clock += 1
        for array in arrays:
            if array.base is not None:
                array = owner(array)
            key = id(array)
            if key not in _changed:
                _watched[key] = weakref.ref(array, partial(_forget, key))
            _changed[key] = clock


def restructured() -> None:
    """Record that a module gets another attribute. The number is new, whichever threads do this at the same time."""
    global structure
    structure = next(_structures)


def _forget(key: int, _: weakref.ref[Array]) -> None:
    """Forget an array that no longer exists: another one may get its id."""
    _changed.pop(key, None)
    _watched.pop(key, None)


def changed_since(array: Array, time: int) -> bool:
    """Return whether the array's memory was changed in place after `time`."""
    return _changed.get(id(owner(array)), 0) > time


# Tensors that took another place in the graph ----------------------------------------------------------
#
# `x += y`, recorded, makes the Tensor x the result of an addition. Operations that used x before must still lead to
# what x was then: the stand-in that took over its old value.

moved: dict[int, list[tuple[int, Any]]] = {}  # id of a tensor -> (time, the stand-in for uses before that time)


def move(tensor: Any, stand_in: Any) -> None:
    """Record that `tensor` becomes a new result, and `stand_in` keeps its old place in the graph."""
    global clock
    key = id(tensor)
    with _lock:
        clock += 1
    if key not in moved:
        moved[key] = []
        weakref.finalize(tensor, moved.pop, key, None).atexit = False
    moved[key].append((clock, stand_in))


def at(tensor: Any, time: int) -> Any:
    """Return the tensor that was in this place of the graph at `time`."""
    for when, stand_in in moved.get(id(tensor), ()):
        if time < when:
            return stand_in
    return tensor
