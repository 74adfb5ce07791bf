"""A lesson's code, run as a learner runs it: with the modules up to the lesson's own, and none of the later ones.

    python tests/lessons.py modules/02_tensor/lesson.md [--write]

runs the Python blocks of a lesson in order, in one namespace, as a notebook does. The later files of the course, and
the packages that build on them, cannot be imported meanwhile. A block of text directly after a block of Python is what
the code prints; the program compares the two, or puts what was printed into the lesson with `--write`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tito import overlay

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code, the line of the lesson on which it begins, and its output according to the lesson, if stated."""

    line: int
    code: str
    printed: str | None


def blocks(text: str) -> list[Block]:
    """Return the blocks of Python of a lesson."""
    return [Block(text[: found.start()].count("\n") + 2, found[1], found[2]) for found in BLOCK.finditer(text)]


def run(lesson: Path) -> list[str]:
    """Return what each block of a lesson prints. The current folder is an empty one meanwhile."""
    overlay.install(overlay.Plan({}, str(ROOT), hide_after=int(lesson.parent.name[:2])))
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for block in blocks(lesson.read_text("utf-8")):
            # leading newlines, so that a traceback has the lesson's line numbers
            code = compile("\n" * (block.line - 1) + block.code, str(lesson), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                exec(code, namespace)
            printed.append("\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n")
    return printed


def differences(lesson: Path) -> list[str]:
    """Return one message for each block that prints something other than what the lesson says."""
    pairs = zip(blocks(lesson.read_text("utf-8")), run(lesson), strict=True)
    return [
        f"{lesson}:{block.line}: the lesson says\n{block.printed}and the code prints\n{printed}"
        for block, printed in pairs
        if block.printed not in (None, printed)
    ]


def write(lesson: Path) -> None:
    """Put what the blocks print into the lesson, where it has a block of text for it."""
    printed = iter(run(lesson))

    def replaced(found: re.Match[str]) -> str:
        new = next(printed)
        return found[0] if found[2] is None else f"```python\n{found[1]}```\n\n```text\n{new}```\n"

    lesson.write_text(BLOCK.sub(replaced, lesson.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    path = Path(sys.argv[1]).resolve()
    if "--write" in sys.argv:
        write(path)
    elif found := differences(path):
        sys.exit("\n".join(found))
