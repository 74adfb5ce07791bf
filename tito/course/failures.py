"""Why a test failed, for the learner: what was expected, what it got, and the line in their own file.

Runs in the child process, on the exception itself.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

LONGEST = 400  # characters of an expected or actual value
FOREIGN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Comparison(NamedTuple):
    """The two sides of the last `assert left op right` that failed. In this project's tests, the result is left."""

    op: str
    got: str
    expected: str

    @staticmethod
    def of(op: str, left: object, right: object) -> Comparison:
        """Return the comparison with both sides as text."""
        return Comparison(op, shown(left), shown(right))


def shown(value: object) -> str:
    """Return a value's repr, shortened; a learner's `__repr__` may fail."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return shortened(text)


def shortened(text: str) -> str:
    """Return the text without control characters and not too long."""
    text = FOREIGN.sub("?", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 4] + " ..."


def explain(error: BaseException, modules: Mapping[str, str], comparison: Comparison | None = None) -> dict[str, Any]:
    """Return a failure's fields: expected, got, why, and the file and line in the learner's files, or None.

    Args:
        error: what was raised.
        modules: the learner's files, by module.
        comparison: the comparison that failed, for an AssertionError.
    """
    expected, got = _sides(error, comparison)
    file, line = _own_line(error, set(modules.values()))
    return {"expected": expected, "got": got, "why": _why(error), "file": file, "line": line}


def _sides(error: BaseException, comparison: Comparison | None) -> tuple[str | None, str | None]:
    text = str(error)
    # numpy.testing: "ACTUAL: ...\n DESIRED: ...", with older names x and y
    match = re.search(r"^ *(?:ACTUAL|x): (.*?)\n *(?:DESIRED|y): (.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    if match:
        return shortened(" ".join(match[2].split())), shortened(" ".join(match[1].split()))
    if re.match(r"DID NOT RAISE", text):
        return shortened(text.removeprefix("DID NOT RAISE ")), "no error"
    match = re.search(r"Expected regex: (.*)\n\s*Actual message: (.*)", text)
    if match:
        return shortened(f"an error that matches {match[1]}"), shortened(match[2])
    if isinstance(error, AssertionError) and comparison is not None:
        prefix = "" if comparison.op == "==" else f"{comparison.op} "
        return prefix + comparison.expected, comparison.got
    if not isinstance(error, AssertionError):
        return None, shortened(f"{type(error).__name__}: {_first_line(error)}".removesuffix(": "))
    return None, None


def _first_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return next((line.strip() for line in str(text).splitlines() if line.strip()), "")


def _why(error: BaseException) -> str:
    """Return the error in one line: its message, or the assertion that failed."""
    found = _example(error)
    if isinstance(error, AssertionError) and (not str(error) or str(error).startswith("assert ")):
        frames = traceback.extract_tb(error.__traceback__)
        message = frames[-1].line if frames and frames[-1].line else str(error)
    elif isinstance(error, AssertionError):
        message = _first_line(error)
    else:
        message = f"{type(error).__name__}: {_first_line(error)}".removesuffix(": ")
    return shortened(f"{message or type(error).__name__}{found}")


def _example(error: BaseException) -> str:
    """Return the arguments with which hypothesis made a test fail, " (for number=-1)", or nothing."""
    for note in getattr(error, "__notes__", ()):
        match = re.match(r"(?:Falsifying example|Failing test case): \w+\((.*)\)", str(note), re.DOTALL)
        if match:
            return f" (for {' '.join(match[1].split()).rstrip(',')})"
    return ""


def _own_line(error: BaseException, files: set[str]) -> tuple[str | None, int | None]:
    """Return the last line of a learner's file on the way to the error."""
    if isinstance(error, SyntaxError) and error.filename in files:
        return error.filename, error.lineno
    places = []
    frame = error.__traceback__
    while frame is not None:  # not extract_tb: an endless recursion has a thousand frames with their source
        places.append((frame.tb_frame.f_code.co_filename, frame.tb_lineno))
        frame = frame.tb_next
    own = [place for place in places if place[0] in files]
    if own:
        return own[-1]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return _own_line(cause, files) if cause is not None and cause is not error else (None, None)


def last_own_frame(dump: str, files: set[str]) -> tuple[str, int] | None:
    """Return the innermost line of a learner's file in a traceback that faulthandler wrote, in ASCII with escapes."""
    written = {file.encode("ascii", "backslashreplace").decode(): file for file in files}
    for file, line in re.findall(r'^  File "(.*)", line (\d+) in', dump, re.MULTILINE):
        if file in written:
            return written[file], int(line)
    return None


def is_inside(file: str | None, folder: Path) -> bool:
    """Return whether a file is directly in a folder."""
    return file is not None and Path(file).parent == folder
