"""Seals: which receipts this organizer wrote.

A seal is the HMAC-SHA256 of a receipt's canonical JSON under a key that only the organizer has. The key is never in the
shared folder: `TITO_KEY` names its file; by default it is in the user's configuration folder, made on first use.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

import platformdirs
from pydantic import ValidationError

from tito.compete.receipt import SCHEMA_VERSION, Receipt
from tito.errors import RecordError, TitoError, printable
from tito.files import read_plain, user_path
from tito.process.documents import expectation

VARIABLE = "TITO_KEY"
KEY_BYTES = 32


def seal(receipt: Receipt, key: bytes) -> Receipt:
    """Return the receipt with the seal of this key."""
    return receipt.model_copy(update={"seal": _digest(receipt, key)})


def is_sealed_by(receipt: Receipt, key: bytes) -> bool:
    """Return whether the seal is that of this key over exactly this receipt."""
    return hmac.compare_digest(receipt.seal.encode(), _digest(receipt, key).encode())


def receipt_text(receipt: Receipt) -> str:
    """Return the content of a receipt's file."""
    return receipt.model_dump_json() + "\n"


def parse_receipt(content: bytes, name: str) -> Receipt:
    """Parse the content of a receipt's file, which anybody may have written; its seal is not checked.

    Raises:
        RecordError: one line that names the file and says what is wrong.
    """
    try:
        document = json.loads(content)
        version = document.get("schema_version") if isinstance(document, dict) else None
    except (ValueError, RecursionError):
        raise RecordError(f"{name}: not complete JSON: truncated or damaged") from None
    if type(version) is not int:
        raise RecordError(f"{name}: not a receipt of tito")
    if version > SCHEMA_VERSION:
        raise RecordError(f"{name}: written by a newer tito (schema {version}; this one reads {SCHEMA_VERSION})")
    try:
        return Receipt.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordError(printable(f"{name}: not a receipt of tito: {where}: {expectation(first)}")[:300]) from None


def organizer_key(apart_from: Path, make: bool = True) -> bytes | None:
    """Return the organizer's key, made on first use.

    Args:
        apart_from: the shared folder, which must not contain the key.
        make: whether to make a key if there is none; otherwise return None, and no receipt counts.

    Raises:
        TitoError: the key cannot be read or written, others can read it, it is too short, or it is in the shared
            folder.
    """
    path = key_file()
    if path.resolve().is_relative_to(apart_from.resolve()):
        elsewhere = f"keep it elsewhere, and name its file in {VARIABLE}"
        raise TitoError(f"{path}: the organizer's key is in the shared folder; {elsewhere}")
    try:
        if not path.exists():
            if not make:
                return None
            _make(path)
        if path.stat().st_mode & 0o077:
            raise TitoError(f"{path}: others can read the organizer's key; expected mode 600")
        key = read_plain(path)
    except OSError as error:
        raise TitoError(f"{path}: the organizer's key: {error.strerror or error}") from None
    if len(key) < KEY_BYTES:
        raise TitoError(f"{path}: a key of {len(key)} bytes; expected at least {KEY_BYTES}")
    return key


def key_file() -> Path:
    """Return where the organizer's key is, or will be."""
    named = os.environ.get(VARIABLE)
    return user_path(named) if named else platformdirs.user_config_path("tinytorch") / "organizer.key"


def _make(path: Path) -> None:
    """Write a new key, complete or not at all; if another process was faster, its key stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(part)
    finally:
        part.unlink()


def _digest(receipt: Receipt, key: bytes) -> str:
    # Without defaults, so that a field that a later tito adds does not break older seals
    document = receipt.model_dump(mode="json", exclude={"seal"}, exclude_defaults=True)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
