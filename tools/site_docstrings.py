"""A griffe extension that prepares docstrings for the documentation site, by converting plain text to Markdown.

The docstrings of this project are written to be read in a terminal. Most of their text is already Markdown: an indented
block is a formula or a table and becomes a code block, and backticks are code. Three things need a conversion:

- an example (`>>>`) would become a quotation: it gets a fence;
- `Source:`, `Shapes:`, and the like at the beginning of a line would not stand out: the label becomes bold;
- `**` and `__` in formulas and names would become bold: they are escaped.

The extension also leaves out names that begin with an underscore, and attributes without a docstring, unless they are
constants or types of a module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

LABEL = re.compile(r"^(Sources?|Shapes?|Buffers|Parameters|Formula|Example|Note): (?=\S)")
CODE_SPAN = re.compile(r"(`+[^`]*`+)")
SECTIONS = ("Args:", "Arguments:", "Returns:", "Raises:", "Yields:", "Attributes:", "Buffers:", "Shapes:")


def prepared(text: str) -> str:
    """Return a docstring as Markdown in which examples, labels, and formulas look as intended."""
    return "\n".join(_lines(text.split("\n")))


def _lines(lines: list[str]) -> Iterator[str]:
    example: str | None = None  # the indentation of the example that a line is in
    section = False  # in "Args:" and the like, indented lines are text; elsewhere they are code
    for before, line in zip(["", *lines], lines, strict=False):
        bare = line.strip()
        indent = line[: len(line) - len(line.lstrip())]
        if bare and not indent:
            section = line in SECTIONS
        if example is not None and not bare:
            yield f"{example}```"
            example = None
        if example is None and bare.startswith(">>>") and (section or not indent):
            example = indent
            if before.strip():
                yield ""
            yield f"{example}```pycon"
        is_text = example is None and (section or not indent)
        yield LABEL.sub(r"**\1:** ", _escaped(line)) if is_text else line
    if example is not None:
        yield f"{example}```"


def _escaped(line: str) -> str:
    """Escape what Markdown would show as bold, outside code spans."""
    parts = CODE_SPAN.split(line)  # text, code, text, ...
    parts[::2] = [text.replace("**", r"\*\*").replace("__", r"\_\_") for text in parts[::2]]
    return "".join(parts)


def shown(name: str, documented: bool, of_a_class: bool, attribute: bool) -> bool:
    """Return whether the reference shows a name."""
    if name.startswith("_"):
        return False
    return documented or not attribute or (not of_a_class and name[0].isupper())


class PlainText(griffe.Extension):
    """Prepare each docstring once it is loaded, before its sections are parsed, and choose what is shown."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = prepared(obj.docstring.value)
        of_a_class = obj.parent is not None and obj.parent.is_class
        attribute = obj.is_attribute and "property" not in obj.labels
        obj.public = shown(obj.name, bool(obj.docstring), of_a_class, attribute)
