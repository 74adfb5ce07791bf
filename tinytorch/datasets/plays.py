"""Shakespeare's plays: the one pinned rule that turns Markdown into plain text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_SPEAKER = re.compile(r"\*\*(.+)\*\*")


_SUPPLIED = re.compile(r"(?<=\S) _+\\?\[(.*?)\s*\]_")


# The source breaks these names over two lines and marks only the second one as a name.
_BROKEN_NAMES = {
    "BISHOP",
    "CARDINAL",
    "COUNTESS",
    "RICHARD",
    "LADY",
    "DON ADRIANO DE",
    "Varro's",
    "Ghost",
    "Ghosts",
}


_STRAY_LINES = {"OF EPHESUS", "SPOKEN BY PROSPERO"}  # the rest of a name, and a direction without its marks


_PLAIN = {
    "\\--": "--",
    "\N{EM DASH}": "--",
    '"': "'",
    "& & C": "&c",
    "& c": "&c",
    "sha$l": "shall",
    "Senators, & C ": "",
}


def plain_text(plays: list[str]) -> str:
    """Plays in Markdown as plain text: the speaker in capitals and a colon, then the lines of the speech.

        HAMLET:
        To be, or not to be: that is the question:

    The rule, which is pinned by the text's SHA-256:

    - A line `**Name**` begins a speech, and so does a line EPILOGUE; a blank line parts speeches, and
      nothing else parts scenes and plays.
    - Titles and headings (`#`) are dropped, and so is what follows one before the first speaker.
    - Stage directions are dropped: from a line that begins with `_`, `*`, `[` or a number to the next one
      that ends in `_` or `*`, or to the next blank line. Speech after it belongs to the same speaker.
    - Words which an editor supplied within a line, `_\\[so]_`, stay without their marks.
    - Verse and prose keep the source's line breaks. Dashes become `--`, double quotes single ones,
      `& c.` becomes `&c.`, HTML entities their characters.
    - A speech without lines is dropped.
    """
    speeches = [speech for play in plays for speech in _speeches(play)]
    return "\n".join(f"{speaker}:\n{lines}\n" for speaker, lines in speeches)


def _speeches(play: str) -> Iterator[tuple[str, str]]:
    """(speaker, lines) of each speech of a play in Markdown."""
    speaker, lines, in_direction = "", list[str](), False
    for raw in play.splitlines():
        line = raw.strip()
        name = _SPEAKER.fullmatch(line)
        if name or line == "EPILOGUE" or line.startswith("#"):
            first = lines.pop() + " " if name and lines and lines[-1] in _BROKEN_NAMES else ""
            if speaker and lines:
                yield speaker, "\n".join(lines)
            said = name[1] if name else "" if line.startswith("#") else line
            speaker, lines, in_direction = _plain(first + said.replace(":", "")).upper(), [], False
        elif not line:
            in_direction = False
        elif in_direction or line[0] in "_*[0123456789":
            in_direction = line[-1] not in "_*"
        elif line not in _STRAY_LINES:
            lines.append(_plain(line))
    if speaker and lines:
        yield speaker, "\n".join(lines)


def _plain(line: str) -> str:
    line = html.unescape(_SUPPLIED.sub(r" \1", line)).rstrip()
    for mark, plain in _PLAIN.items():
        line = line.replace(mark, plain)
    return line
