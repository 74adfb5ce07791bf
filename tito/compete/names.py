"""The names of submitters and entries: `alice/int8`.

A name becomes a folder on every file system and a part of a page's address. Names consist of lower-case ASCII letters,
digits, and hyphens only, so two names that look alike, or that differ only in case, cannot both exist.
"""

from __future__ import annotations

import re

from tito.compete.problems import Problem, shown

NAME = "[a-z0-9][a-z0-9-]{0,38}"
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}  # on Windows
RESERVED = frozenset({"reference", "receipts", *DEVICES})


def name_problem(name: str, field: str, file: str = "") -> Problem | None:
    """Return what is wrong with the name of a submitter or an entry, or None."""
    if not re.fullmatch(NAME, name):
        return Problem("name", file, field, shown(name), NAME)
    if name in RESERVED:
        return Problem("name", file, field, shown(name), "a name that is not reserved")
    return None


def id_problem(id: str, file: str = "", field: str = "id") -> Problem | None:
    """Return what is wrong with an entry's id, `submitter/entry`, or None."""
    parts = id.split("/")
    if len(parts) != 2:
        return Problem("name", file, field, shown(id), "submitter/entry")
    wrong = [name_problem(part, field, file) for part in parts]
    return next((problem for problem in wrong if problem), None)
