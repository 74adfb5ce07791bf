"""Whose code the time and the memory went into: shares and tables of functions, from a record's profile."""

from __future__ import annotations

import re

from tinytorch.base.errors import how_to_install
from tito.bench.owntime import MOST, functions, shares
from tito.bench.record import Allocations, Profile, Stacks
from tito.report import units
from tito.report.pieces import Absent, Grid, Piece, cut

NO_MEMRAY = f"Not measured: memray, an optional extra, is not installed: {how_to_install('memray')}."


def by_function(profile: Profile | None, of: str = "") -> list[Piece]:
    """Return the functions with the most time of their own, and those that held the most memory."""
    return (
        []
        if profile is None
        else [*own_time(profile.stacks, of), memory(profile.allocations, of, profile.stacks is not None)]
    )


def memory(allocations: Allocations | None, of: str = "", sampled: bool = True) -> Piece:
    """Return the functions that held the most memory at its peak.

    Args:
        allocations: the functions, if memray traced them.
        of: what follows the title.
        sampled: whether the run was profiled at all; one that misses its gates is not.
    """
    title = f"Where the memory goes{of}"
    if allocations is None:
        return Absent(title, NO_MEMRAY if sampled else "No memory was traced in this run.")
    rows = [
        [
            cut(held.function, 60),
            _file(held.file),
            units.size(held.bytes),
            _share(held.bytes, allocations.peak),
        ]
        for held in allocations.functions
    ]
    says = (
        f"The functions that held the most memory at the peak of {units.size(allocations.peak)} in {allocations.of}, "
    )
    says += f"as {allocations.tool} saw them: each array counts for the function that made it."
    return Grid(title, says, ["function", "file", "memory", "share"], rows, frozenset({2, 3}))


def _file(path: str) -> str:
    """Return a file's name in short.

    >>> _file("/lib/_umath.cpython-311-x86_64-linux-gnu.so"), _file("<frozen importlib._bootstrap>")
    ('_umath.so', 'importlib._bootstrap')
    """
    name = re.sub(r"\.cpython-[^.]+", "", path.rpartition("/")[2])
    return cut(name.removeprefix("<frozen ").removesuffix(">") if name.startswith("<frozen ") else name, 22)


def _share(part: int, whole: int) -> str:
    return units.quantity(part / whole if whole else 0.0, "%")


def own_time(stacks: Stacks | None, of: str = "") -> list[Piece]:
    """Return the functions with the most time of their own; nothing without stacks."""
    if stacks is None or not stacks.collapsed:
        return []
    rows = [
        [cut(own.function, 60), own.kind, _file(own.file), units.quantity(own.share, "%")] for own in functions(stacks)
    ]
    said = ", ".join(f"{kind} {units.quantity(share, '%')}" for kind, share in shares(stacks).items())
    says = f"By code: {said}. " if said else "Only Python's functions were sampled, so NumPy's time is its caller's. "
    says += f"The {min(MOST, len(rows))} functions with the most time of their own, without what they call."
    heads = ["function", "code", "file", "share"]
    return [Grid(f"Functions{of}", says, heads, rows, frozenset({3}))]
