"""Randomness for module 02 and all later ones: one default generator, so that one seed reproduces a whole run."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError

_seed = 0
_generator: np.random.Generator | None = None  # created on first use, because NumPy imports its generators lazily, too


def manual_seed(seed: int) -> None:
    """Seed the default generator. The same seed reproduces a run bit for bit on one machine."""
    global _generator, _seed
    if seed < 0:
        raise SettingError(f"manual_seed: seed {seed}: expected at least 0")
    _seed = int(seed)
    _generator = np.random.Generator(np.random.PCG64(seed))


def initial_seed() -> int:
    """Return the seed of the default generator."""
    return _seed


def seed() -> int:
    """Seed the default generator with a random number, and return it."""
    manual_seed(int.from_bytes(os.urandom(7), "big"))
    return _seed


def default_generator() -> np.random.Generator:
    """Return the generator that initialization, dropout, and `randn` draw from; its initial seed is 0."""
    if _generator is None:
        manual_seed(0)
    assert _generator is not None
    return _generator


def get_rng_state() -> dict[str, Any]:
    """Return the default generator's state as plain data."""
    return dict(default_generator().bit_generator.state)


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore the default generator to a state from `get_rng_state`."""
    default_generator().bit_generator.state = state
