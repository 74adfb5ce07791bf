"""From templates to HTML files that contain everything and load nothing.

A content security policy in each page allows only the scripts that are passed in here, by their hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tinytorch.base.files import ABANDONED_SECONDS, atomic_write
from tito.errors import ReportError

LEADERBOARD, JOURNEY = "leaderboard.html", "journey.html"  # in the folder of the reports
TEMPLATES = Path(__file__).parent / "templates"
# Characters that could end the surrounding script element or a line of JavaScript.
UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def environment() -> Environment:
    """Return an environment that escapes every value and refuses an undefined name."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["embed"] = embed
    made.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    return made


def render(
    environment: Environment, name: str, scripts: Sequence[str], styles: Sequence[str] = (), **content: Any
) -> str:
    """Return a page with the project's style sheet and further ones by file name; `scripts` are texts.

    `made` is the time that the page states; None for a page that does not state one.
    """
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    content.setdefault("made", datetime.now(UTC))
    return environment.get_template(name).render(
        style=Markup("\n".join(map(text_of, ("style.css", *styles)))),
        scripts=[Markup(script) for script in scripts],
        allowed=" ".join(f"'sha256-{one}'" for one in hashes) or "'none'",
        **content,
    )


def write_documents(documents: Mapping[str, str], folder: Path) -> list[Path]:
    """Write pages by file name, each one whole or not at all.

    Raises:
        ReportError: the folder cannot be written.
    """
    try:
        return [atomic_write(folder / name, page.encode("utf-8")) for name, page in documents.items()]
    except OSError as error:
        raise _unwritable(folder, error) from None


def replace_documents(documents: Mapping[str, str], folder: Path) -> None:
    """Make a folder hold these pages and no others; pages that are already there as they should be stay untouched.

    Each page is renamed into place, so that a reader sees a whole one. They are not synced one by one, because a
    thousand syncs take longer than all the rest and the pages can be made again.

    Raises:
        ReportError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, page in documents.items():
            content = page.encode("utf-8")
            if (folder / name).is_file() and (folder / name).read_bytes() == content:
                continue
            part = folder / f".{name}.{os.getpid()}.part"
            try:
                part.write_bytes(content)
                part.replace(folder / name)
            finally:
                part.unlink(missing_ok=True)
        for path in folder.iterdir():
            gone = path.suffix == ".html" and path.name not in documents
            if gone or (path.suffix == ".part" and time.time() - path.stat().st_mtime > ABANDONED_SECONDS):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> ReportError:
    return ReportError(
        f"{folder}: cannot write the report there ({error.strerror or error}); make the folder writable, "
        "free some space, or name another folder"
    )


@cache
def text_of(name: str) -> str:
    """Return the text of a style sheet or script beside the templates."""
    return (TEMPLATES / name).read_text("utf-8")


def embed(value: Any) -> Markup:
    """Return JSON that is safe inside <script type="application/json"> for any text."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(UNSAFE))
