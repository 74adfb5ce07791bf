"""Trained weights to keep, and a file that states their origin.

FOLDER/model.safetensors    the weights of the profiled case's first seed
FOLDER/model.json           the model's description, for tinytorch.saved.load_model, if it consists of known layers
FOLDER/reference.json       suite, case, seed, command, metrics, SHA-256
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from tinytorch.base.files import atomic_write
from tito.bench.record import Record
from tito.errors import RecordError


def check_folder(option: str, folder: Path) -> None:
    """Check before a long run that what it is asked to keep can be kept.

    Args:
        option: the option that names the folder, for the message.
        folder: the folder, which need not exist yet.

    Raises:
        RecordError: the folder, or where it would be created, cannot be written.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        if not there.is_dir():
            raise RecordError(f"{option} {folder}: cannot be written: {there} is not a folder")
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise RecordError(f"{option} {folder}: cannot be written: {error.strerror or error}") from None


def keep_reference(folder: Path, weights: Path, record: Record) -> None:
    """Copy the weights of a passed run, with a document that states their origin.

    Raises:
        RecordError: the folder cannot be written; the message names it.
    """
    assert record.profile is not None
    case = next(case for case in record.cases if case.name == record.profile.case)
    content, description = weights.read_bytes(), weights.with_name("model.json")
    origin = {
        "suite": record.suite,
        "case": case.name,
        "parameters": case.parameters,
        "seed": case.runs[0].seed,
        "metrics": {
            name: case.runs[0].metrics[name] for name in record.metrics
        },  # without times, which depend on the machine
        "command": record.provenance.command,
        "commit": record.provenance.commit,
        "suite_sha256": record.provenance.suite_sha256,
        "record": record.id,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    try:
        atomic_write(folder / "model.safetensors", content)
        if description.is_file():
            atomic_write(folder / "model.json", description.read_bytes())
        atomic_write(folder / "reference.json", (json.dumps(origin, indent=2) + "\n").encode())
    except OSError as error:
        raise RecordError(f"{folder}: the weights cannot be written there ({error.strerror})") from None
