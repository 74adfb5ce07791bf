"""Which pages are as they should be, so that `tito report` writes only the others.

A record never changes, so its page changes only with the code that makes it and with the earlier runs that it shows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
NAME = "tito-stamp"  # of the meta element
STAMP = re.compile(rf'<meta name="{NAME}" content="(\w+)">')
HEAD = 4096  # bytes of a page in which its stamp is


def stamp(parts: Iterable[str]) -> str:
    """Return a stamp for a page that the present code makes from these parts."""
    text = "\0".join([_code(), *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_current(page: Path, expected: str) -> bool:
    """Return whether a page is there with this stamp."""
    try:
        with page.open("rb") as file:
            found = STAMP.search(file.read(HEAD).decode("utf-8", "replace"))
    except OSError:
        return False
    return found is not None and found[1] == expected


@cache
def _code() -> str:
    """Return a hash of the code and the templates of all pages."""
    files = sorted(path for path in FOLDER.rglob("*") if path.suffix in (".py", ".j2", ".css", ".js"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
