"""A lesson as a page: reports/lessons/02_tensor.html."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from tito.course.modules import Module
from tito.report.rendering import environment, render, write_assets, write_documents

FOLDER = "lessons"
SCROLL = '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>\n'


def write_lesson(module: Module, text: str, reports: Path, drawings: Path) -> Path:
    """Write a module's lesson as a page below the folder of the reports, and return its path.

    Links to files of the checkout keep their text only, because they lead nowhere from the page. The drawings are SVG
    files in the folder `drawings` and are embedded in the page.

    Raises:
        ReportError: the folder cannot be written.
    """
    jinja = environment()
    page = render(
        jinja,
        "lesson.html.j2",
        styles=["lesson.css"],
        place="../",
        module=module,
        title=title_of(text) or module.title,
        body=Markup(to_html(text, drawings)),
    )
    write_assets(jinja, reports)
    return write_documents({f"{module.key}_{module.name}.html": page}, reports / FOLDER)[0]


def title_of(text: str) -> str | None:
    """Return the first heading of a Markdown text.

    >>> title_of("# 02 Tensor: `data`\\n\\nText")
    '02 Tensor: data'
    """
    found = re.search(r"^# +(.+)$", text, re.MULTILINE)
    return found[1].replace("`", "").strip() if found else None


def to_html(text: str, drawings: Path) -> str:
    """Return Markdown as HTML. HTML inside it is shown as text, and only links to the web stay links.

    An image is one of the drawings; in place of any other, its description is shown.
    """
    converter = MarkdownIt("commonmark", {"html": False}).enable("table")
    converter.add_render_rule("table_open", lambda *_: SCROLL)
    converter.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = converter.parse(text)
    for token in tokens:
        children, inside = token.children or [], False
        for child in children:
            if child.type == "image":
                _embed(child, drawings)
            if child.type == "link_open":
                inside = not str(child.attrGet("href") or "").startswith(("https://", "http://"))
            if inside and child.type in ("link_open", "link_close"):
                inside = child.type == "link_open"
                child.type, child.tag, child.content, child.nesting = "text", "", "", 0
    return str(converter.renderer.render(tokens, converter.options, {}))


def _embed(image: Token, drawings: Path) -> None:
    """Put a drawing into the page: an SVG in an `img` runs no script and loads nothing."""
    name = str(image.attrGet("src") or "")
    file = drawings / name
    if Path(name).name == name and name.endswith(".svg") and file.is_file():
        image.attrSet("src", f"data:image/svg+xml;base64,{base64.b64encode(file.read_bytes()).decode('ascii')}")
    else:
        image.type, image.tag = "text", ""
