"""The index of a suite's records: their entries, so that a list need not read 5,000 files. Only a cache.

    reports/records/xor/*.json  ->  reports/records/xor.index.json

It may be deleted at any time. An entry counts only as long as its file has the same inode, size, and times; every other
file is read again. As git does, a file that changed just before the index was written is not believed either: a later
change could have the same time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from tinytorch.base.files import atomic_write
from tito.bench.entry import Entry
from tito.files import read_plain
from tito.process.documents import Frozen

SUFFIX = ".index.json"
MOST_BYTES = 200_000_000
RACY_NS = 2_000_000_000  # the coarsest time stamps of file systems in use (FAT)

Stamp = tuple[int, int, int, int]  # inode, size, time of content, time of any change, both in ns
Read = Callable[[Path], Entry | str]  # the entry of a record's file, or why it has none


class Row(Frozen):
    """A file as it was read: its entry, or why it is skipped."""

    file: str
    stamp: Stamp
    entry: Entry | None
    problem: str = ""


class Index(Frozen):
    """What is kept for one suite."""

    code: str  # hash of the code that makes entries: another version makes others
    rows: list[Row]


def rows_of(folder: Path, read: Read, begin: Callable[[int], None] | None = None) -> list[Row]:
    """Return a row for each record of a suite's folder, by file name; only new and changed files are read.

    Args:
        read: reads one file.
        begin: called with the number of files to read, if there are any.

    Raises:
        OSError: the folder cannot be listed.
    """
    known, written = _load(index_path(folder))
    stamps = _stamps(folder)
    good = {name: row for name, row in known.items() if _trusted(row, stamps.get(name), written)}
    missing = [name for name in stamps if name not in good]
    if missing and begin:
        begin(len(missing))
    fresh = {name: _row(folder / name, stamps[name], read) for name in missing}
    rows = [good.get(name) or fresh[name] for name in sorted(stamps)]
    if missing or len(known) != len(rows):
        _save(index_path(folder), rows)
    return rows


def index_path(folder: Path) -> Path:
    """Return where the index of a suite's folder is: next to it."""
    return folder.with_name(folder.name + SUFFIX)


def _row(path: Path, stamp: Stamp, read: Read) -> Row:
    found = read(path)
    if isinstance(found, str):
        return Row(file=path.name, stamp=stamp, entry=None, problem=found)
    return Row(file=path.name, stamp=stamp, entry=found)


def _stamps(folder: Path) -> dict[str, Stamp]:
    """Return the stamp of each file that may be a record; of a link, its target's."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                try:
                    status = entry.stat()
                except OSError:  # a link to nothing, which is read to say so
                    found[entry.name] = (0, 0, 0, 0)
                    continue
                found[entry.name] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def _trusted(row: Row, stamp: Stamp | None, written: int) -> bool:
    return row.stamp == stamp and row.stamp[3] + RACY_NS < written and row.stamp[0] != 0


def _load(path: Path) -> tuple[dict[str, Row], int]:
    """Return the rows by file name and when they were written, in ns; nothing if the index is of no use."""
    try:
        written = path.stat().st_mtime_ns
        index = Index.model_validate_json(read_plain(path, MOST_BYTES))
    except (OSError, ValidationError):
        return {}, 0
    return ({row.file: row for row in index.rows}, written) if index.code == _code() else ({}, 0)


def _save(path: Path, rows: list[Row]) -> None:
    """Write the index; without space or permission, there is none."""
    with suppress(OSError):
        atomic_write(path, Index(code=_code(), rows=rows).model_dump_json().encode())


@cache
def _code() -> str:
    """Return a hash of the code that an entry depends on."""
    files = [Path(__file__).with_name(name) for name in ("entry.py", "quantities.py", "record.py", "index.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
