"""The store of records: reports/records/<suite>/<id>.json, each written once and never changed."""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tinytorch.base.files import atomic_write
from tito.bench.record import SCHEMA_VERSION, Record
from tito.errors import RecordError, UnknownRecordError, all_printable
from tito.files import read_plain
from tito.process.documents import expectation, place

MOST_BYTES = 200_000_000  # of a record; one with 100 seeds and pictures has 5 MB


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
        paths = list(self.folder.glob(f"*/{id}.json")) if re.fullmatch(r"[\w-]+", id) else []
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

    def all(self) -> tuple[list[Record], list[str]]:
        """Return every record, oldest first, and one line for each file that was skipped because it is not one."""
        records, warnings = [], []
        for path in sorted(self.folder.glob("*/*.json")):
            try:
                records.append(read_record(path))
            except RecordError as error:
                warnings.append(f"skipped {error}")
        return sorted(records, key=lambda record: record.created), warnings


def read_record(path: Path) -> Record:
    """Read one record from its file.

    Raises:
        RecordError: one line that names the file and says whether it is incomplete, foreign, or too new.
    """
    try:
        text = read_plain(path, MOST_BYTES)
        document = json.loads(text)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from None
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
        return Record.model_validate_json(text if cleaned == document else json.dumps(cleaned))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, place(first)))
        raise RecordError(f"{path}: not a record of tito: {where}: {expectation(first)}") from None


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of a record."""
    return Record.model_json_schema()
