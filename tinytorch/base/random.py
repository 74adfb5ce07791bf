"""Module 02: randomness. One generator for everything, so that one seed repeats a whole run."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError

_generator: np.random.Generator | None = None  # made when first asked for: NumPy imports its own generators late, too


def manual_seed(seed: int) -> None:
    """Start the default generator anew. The same seed repeats a run bit for bit on one machine."""
    global _generator
    if seed < 0:
        raise SettingError(f"manual_seed: seed {seed}: expected a number of at least 0")
    _generator = np.random.Generator(np.random.PCG64(seed))


def default_generator() -> np.random.Generator:
    """The generator that initialisation, dropout and `randn` draw from; it begins with seed 0."""
    if _generator is None:
        manual_seed(0)
    assert _generator is not None
    return _generator


def get_rng_state() -> dict[str, Any]:
    """The default generator's state, as plain data."""
    return dict(default_generator().bit_generator.state)


def set_rng_state(state: dict[str, Any]) -> None:
    """Put the default generator back to a state that `get_rng_state` gave."""
    default_generator().bit_generator.state = state
