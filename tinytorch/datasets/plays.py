"""Shakespeare's plays: the rules that convert them from Markdown to plain text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_SPEAKER = re.compile(r"\*\*(.+)\*\*")
_SUPPLIED = re.compile(r"(?<=\S) _+\\?\[(.*?)\s*\]_")


# The source splits these names over two lines and marks only the second line as a name.
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


_STRAY_LINES = {"OF EPHESUS", "SPOKEN BY PROSPERO"}  # the rest of a name, and an unmarked stage direction


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
    """Convert plays from Markdown to plain text: the speaker in capitals with a colon, then the lines of the speech.

        HAMLET:
        To be, or not to be: that is the question:

    The rules, whose result is pinned by the text's SHA-256:

    - A line `**Name**` or a line EPILOGUE starts a speech. A blank line separates speeches; nothing else separates
      scenes and plays.
    - Titles and headings (`#`) are dropped, and so is the text between a heading and the next speaker.
    - Stage directions are dropped: from a line that starts with `_`, `*`, `[`, or a digit to the next line that ends
      in `_` or `*`, or to the next blank line. Speech after it belongs to the same speaker.
    - Words that an editor supplied within a line, `_\\[so]_`, are kept without their marks.
    - Verse and prose keep the source's line breaks. Dashes become `--`, double quotes become single quotes, `& c.`
      becomes `&c.`, and HTML entities become their characters.
    - A speech without lines is dropped.
    """
    speeches = [speech for play in plays for speech in _speeches(play)]
    return "\n".join(f"{speaker}:\n{lines}\n" for speaker, lines in speeches)


def _speeches(play: str) -> Iterator[tuple[str, str]]:
    """Yield (speaker, lines) for each speech of a play in Markdown."""
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
