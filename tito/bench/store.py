"""The store of records: reports/records/<suite>/<id>.json, each written once and never changed.

Store(reports).entries()    every record in short, by an index: 5,000 of them in a fraction of a second
Store(reports).load(id)     one whole record
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tinytorch.base.files import atomic_write
from tito.bench.entry import Entry, entry_of, in_order
from tito.bench.index import rows_of
from tito.bench.record import SCHEMA_VERSION, Record
from tito.errors import RecordError, UnknownRecordError, all_printable
from tito.files import read_plain
from tito.process.documents import expectation, place

MOST_BYTES = 200_000_000  # of a record; one with 100 seeds has 5 MB
_ESCAPED = re.compile(r"\\[^nt\"\\/]")  # escapes that may stand for a control character; \n and \t are kept


class Store:
    """The records in one reports folder."""

    def __init__(self, reports_folder: Path) -> None:
        self.folder = reports_folder / "records"

    def check_writable(self) -> None:
        """Check before a long run that its record can be saved.

        Raises:
            RecordError: the folder cannot be created or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise RecordError(f"cannot write records into {self.folder}: {error.strerror or error}") from None

    def save(self, record: Record) -> Path:
        """Write a new record, completely or not at all.

        Raises:
            RecordError: the folder cannot be written, or a record of that id exists.
        """
        path = self.folder / record.suite / f"{record.id}.json"
        if path.exists():
            raise RecordError(f"{path}: a record is never overwritten")
        try:
            return atomic_write(path, record.model_dump_json().encode() + b"\n")
        except OSError as error:
            reason = error.strerror or str(error)
            raise RecordError(f"cannot write the record into {path.parent}: {reason}") from None

    def load(self, id: str) -> Record:
        """Return the record of that id.

        Raises:
            UnknownRecordError: there is none.
        RecordError: it cannot be read.
        """
        named = [folder / f"{id}.json" for folder in self._folders() if re.fullmatch(r"[\w-]+", id)]
        paths = [path for path in named if path.exists()]
        if not paths:
            raise UnknownRecordError(f"no record {id!r} in {self.folder}; `tito record list` lists the records")
        return read_record(paths[0])

    def newest(self, suite: str) -> Record | None:
        """Return the newest record of a suite without reading the others; one from the future, by its name, is not."""
        tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y%m%dT%H%M%SZ}"
        for path in sorted((self.folder / suite).glob("*.json"), reverse=True):
            with suppress(RecordError):
                if path.name < tomorrow:
                    return read_record(path)
        return None

    def entries(self, suite: str = "", begin: Callable[[int], None] | None = None) -> tuple[list[Entry], list[str]]:
        """Return every record in short, oldest first, and one line for each file that is skipped because it is not one.

        A run dated in the future counts as the oldest, so that a wrong clock never hides later runs.

        Args:
            suite: only the records of this suite.
            begin: called before each suite whose index lacks files, with the number of files to read.
        """
        entries, warnings = [], []
        for folder in self._folders(suite):
            try:
                rows = rows_of(folder, _read_entry, begin)
            except OSError as error:
                warnings.append(f"skipped {folder}: cannot be listed: {error.strerror or error}")
                continue
            entries += [row.entry for row in rows if row.entry]
            warnings += [f"skipped {folder / row.file}: {row.problem}" for row in rows if not row.entry]
        return in_order(entries), warnings

    def all(self) -> tuple[list[Record], list[str]]:
        """Return every record, in the order of `entries`, and one line for each file that is skipped.

        This reads every file. A list, a history, and a comparison need less.
        """
        records, warnings = [], []
        for folder in self._folders():
            for path in sorted(path for path in folder.glob("*.json") if not path.name.startswith(".")):
                try:
                    records.append(read_record(path))
                except RecordError as error:
                    warnings.append(f"skipped {error}")
        return in_order(records), warnings

    def _folders(self, suite: str = "") -> Iterator[Path]:
        """Return the folders of suites that exist."""
        if self.folder.is_dir():
            yield from sorted(path for path in self.folder.iterdir() if path.is_dir() and suite in ("", path.name))


def _read_entry(path: Path) -> Entry | str:
    try:
        return entry_of(read_record(path))
    except RecordError as error:
        return str(error).removeprefix(f"{path}: ")


def read_record(path: Path) -> Record:
    """Read one record from its file.

    Raises:
        RecordError: one line that names the file and says whether it is incomplete, foreign, or too new.
    """
    try:
        content = read_plain(path, MOST_BYTES)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from None
    if _all_printable(content):
        try:
            record = Record.model_validate_json(content)
            if 1 <= record.schema_version <= SCHEMA_VERSION:
                return record
        except ValidationError:
            pass  # what is wrong is said below
    return _read_carefully(path, content)


def _all_printable(content: bytes) -> bool:
    """Whether no text in a JSON document can contain a character that is not safe to print: no need to look at each."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return False
    return text.replace("\n", "").isprintable() and not _ESCAPED.search(text)


def _read_carefully(path: Path, content: bytes) -> Record:
    """Read a record text by text, and say what is wrong with it."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError, OverflowError):
        raise RecordError(f"{path}: not complete JSON: cut short or damaged") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if type(version) is not int or version < 1:  # True would pass for 1
        raise RecordError(f"{path}: not a record of tito (it has no schema_version)")
    if version > SCHEMA_VERSION:
        newer = f"schema {version}; this tito reads {SCHEMA_VERSION}"
        raise RecordError(f"{path}: written by a newer tito ({newer}): update tito")
    try:
        cleaned = all_printable(document, keep="\n\t")  # whoever wrote it, its texts are shown in a terminal
        return Record.model_validate_json(content if cleaned == document else json.dumps(cleaned))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, place(first)))
        raise RecordError(f"{path}: not a record of tito: {where}: {expectation(first)}") from None


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of a record."""
    return Record.model_json_schema()
