"""Errors that the command line prints in one line, without a traceback.

TitoError
├── SuiteError     a suite.yaml or workload.py that breaks its contract
├── RunError       a run that failed, hung, crashed, or returned no number
├── RecordError    a record that is incomplete, foreign, or newer than this program
├── ReportError    a page that cannot be written
└── RequestError   a request that cannot be met, such as a name that does not exist
    └── CourseError    a module, a workspace, or a learner's file that a command cannot work with
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any


class TitoError(Exception):
    """Base class of all errors of the harness."""


class SuiteError(TitoError):
    """A suite that cannot be run as written."""


class RunError(TitoError):
    """A run without a result. `code` is a stable name for the reason, if there is one, e.g. "memory" or "time"."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class RecordError(TitoError):
    """A record that cannot be read, stored, or compared."""


class ReportError(TitoError):
    """A report that cannot be written."""


class RequestError(TitoError):
    """A request that cannot be met, such as a name that does not exist; the command line exits with 2."""


class CourseError(RequestError):
    """A request of a learner or a teacher that cannot be met."""


class UnknownSuiteError(SuiteError, RequestError):
    """A suite, case, or gate that does not exist."""


class UnknownRecordError(RecordError, RequestError):
    """A record that does not exist."""


class IncomparableError(RecordError, RequestError):
    """Two records that cannot be compared."""


def did_you_mean(text: str, names: Iterable[str], also: Iterable[str] = ()) -> str:
    """Return which name was probably meant, to be appended to a message; nothing if none is close.

    >>> did_you_mean("mnits", ["xor", "mnist"])
    ' (did you mean mnist?)'

    Args:
        text: what was given.
        names: what exists.
        also: names that are meant whatever the spelling.
    """
    import difflib  # here: most commands need it never, and it would slow their start

    close = list(also) or difflib.get_close_matches(text.lower(), list(names), n=1)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def printable(text: str, keep: str = "") -> str:
    """Return the text with control characters and surrogates escaped, so that it is safe to print and to store.

    >>> printable("caf\\udce9 \\x1b[2J")
    'caf\\\\udce9 \\\\x1b[2J'
    """
    return "".join(
        sign if sign.isprintable() or unicodedata.category(sign) == "Zs" or sign in keep else _escaped(sign)
        for sign in text
    )


def all_printable(value: Any, keep: str = "") -> Any:
    """Return a value of lists, dicts, and texts, with every text made printable."""
    if isinstance(value, str):
        return value if value.isprintable() else printable(value, keep)
    if isinstance(value, list):
        return [all_printable(item, keep) for item in value]
    if isinstance(value, dict):
        return {all_printable(key, keep): all_printable(item, keep) for key, item in value.items()}
    return value


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
