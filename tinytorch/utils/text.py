"""The text of a data loader."""

from __future__ import annotations

from typing import Any


def text(self: Any) -> str:
    """Return the loader's settings, and how many samples and batches it has."""
    names = ("batch_size", "shuffle", "drop_last", "num_workers", "seed")
    settings = ", ".join(f"{name}={getattr(self, name)}" for name in names if hasattr(self, name))
    try:
        counted = f"  # {len(self.dataset):,} samples, {len(self):,} batches"
    except TypeError:  # an iterable data set has no length
        counted = ""
    return f"{type(self).__name__}({type(self.dataset).__name__}, {settings}){counted}"


METHODS: dict[str, Any] = {"__repr__": text}
