"""Changes of arrays in place, which a later backward pass must notice: PyTorch's version counters, kept per memory.

All views of an array share its memory, so a change is noted for the array that owns it. `count` is the number of
changes so far. A recorded operation stores it (10 ns); only if it has increased until the backward pass, the arrays
that the derivative reads are looked up. To note a change takes 0.4 µs.
"""

from __future__ import annotations

import threading
import weakref

import numpy as np

count = 0
_lock = threading.Lock()
_changed: dict[int, tuple[int, weakref.ref[np.ndarray]]] = {}  # id of the owner -> its last change; removed with it


def owner(array: np.ndarray) -> np.ndarray:
    """Return the array whose memory this one uses: itself, or the array that it is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def note_change(array: np.ndarray) -> None:
    """Note that the values of the array have been, or are about to be, changed in place."""
    global count
    array = owner(array)
    key = id(array)
    entry = _changed.get(key)
    reference = entry[1] if entry else weakref.ref(array, lambda _: _changed.pop(key, None))
    with _lock:
        count += 1
        _changed[key] = count, reference


def changed_since(array: np.ndarray, then: int) -> bool:
    """Return whether the array has been changed in place since `count` was `then`."""
    entry = _changed.get(id(owner(array)))
    return entry is not None and entry[0] > then
