"""From templates to HTML files.

A content security policy in each page allows no scripts but the shared files beside it. Pages load nothing from the
network.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from tinytorch.base.files import ABANDONED_SECONDS, atomic_write
from tito.report import assets
from tito.report.assets import TEMPLATES, unwritable
from tito.report.drawing import data_table, figure_of

LEADERBOARD, JOURNEY = "leaderboard.html", "journey.html"  # in the folder of the reports
SCRIPTS = ("page.js", "tables.js", "images.js")  # of every page
# Characters that could end the surrounding script element or a line of JavaScript.
UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def environment(typed: Callable[[str], str] = str) -> Environment:
    """Return an environment that escapes every value and refuses an undefined name.

    Args:
        typed: returns a command of tito as it is typed here.
    """
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(used=set())
    made.filters.update(embed=embed, drawn=figure_of, as_table=data_table, coded=coded, typed=typed)
    made.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    return made


def render(
    environment: Environment,
    name: str,
    *,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    place: str = "",
    **content: Any,
) -> str:
    """Return a page.

    Args:
        environment: from `environment`; it notes which shared files its pages use.
        name: the template.
        scripts, styles: file names beside the templates, in addition to those of every page.
        place: the way from the page's folder to the folder of the reports: "" or "../".
        content: what the template shows. `made` is the time that the page states; None for one that states none.
    """
    content.setdefault("made", datetime.now(UTC))
    styles, scripts = ["style.css", *styles], [*SCRIPTS, *scripts]
    plotly = assets.PLOTLY if assets.FIGURES in scripts else ""
    environment.globals["used"].update(filter(None, [*styles, *scripts, plotly]))  # type: ignore[attr-defined]
    return environment.get_template(name).render(
        policy=Markup(assets.linked_policy()),
        scripted=Markup(assets.SCRIPTED),
        styles=[assets.address(style, place) for style in styles],
        scripts=[assets.address(script, place) for script in scripts],
        plotly=assets.address(plotly, place) if plotly else "",
        place=place,
        **content,
    )


def write_assets(environment: Environment, reports: Path) -> None:
    """Write the shared files that the pages rendered with this environment use.

    Raises:
        ReportError: the folder cannot be written.
    """
    assets.write_assets(sorted(environment.globals["used"]), reports)  # type: ignore[call-overload]


def write_documents(documents: Mapping[str, str], folder: Path) -> list[Path]:
    """Write pages by file name, each one whole or not at all.

    Raises:
        ReportError: the folder cannot be written.
    """
    try:
        return [atomic_write(folder / name, page.encode("utf-8")) for name, page in documents.items()]
    except OSError as error:
        raise unwritable(folder, error) from None


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
            gone = path.suffix in (".html", ".json") and path.name not in documents
            if gone or (path.suffix == ".part" and time.time() - path.stat().st_mtime > ABANDONED_SECONDS):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from None


def coded(text: str) -> Markup:
    """Return text as HTML in which what is between backticks is code.

    >>> coded("not installed: `pip install 'a<b'`")
    Markup('not installed: <code>pip install &#39;a&lt;b&#39;</code>')
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick without its partner stays as it is written
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def embed(value: Any) -> Markup:
    """Return JSON that is safe inside <script type="application/json"> for any text."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(UNSAFE))
