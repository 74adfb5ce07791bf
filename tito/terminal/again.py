"""A command as it works where this one was typed: in a session of nox, as `python -m tito`, or as `tito`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The nox session that runs a suite, and what it needs after `--`. Sessions with native kernels come first.
SESSIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "perceptron": (("milestone-perceptron",), ""),
    "xor": (("milestone-xor",), ""),
    "mnist": (("milestone-mnist",), ""),
    "cifar10": (("milestone-cifar10",), ""),
    "cifar10_resnet8": (("milestone-cifar10",), "--reference"),
    "cifar10_record": (("milestone-cifar10",), "--record"),
    "tinygpt": (("milestone-tinygpt",), ""),
    "tinymlperf": (("milestone-tinymlperf", "milestone-tinymlperf-numpy"), ""),
    "tinymlperf_recipes": (("tinymlperf-recipes",), ""),
    "acceleration": (("acceleration",), ""),
}
ANY = "learner"  # the session that runs every command of tito


def again(command: str) -> str:
    """Return a command `tito ...` as it is typed here.

    >>> again("tito suite run mnist --quick")  # in a session of nox: python -m nox -s milestone-mnist -- --quick
    'tito suite run mnist --quick'
    """
    program, _, rest = command.partition(" ")
    if program != "tito":
        return command
    session = os.environ.get("NOX_CURRENT_SESSION")
    if session:
        return _with_nox(session, rest)
    return f"python -m tito {rest}" if Path(sys.argv[0]).name == "__main__.py" else command


def _with_nox(session: str, rest: str) -> str:
    """Return the session that does it, preferably the current one, and what follows after `--`."""
    words = rest.split(" ")
    sessions: Sequence[str] = (ANY,)
    if words[:2] == ["suite", "run"] and words[2:3] and words[2] in SESSIONS:
        sessions, extra = SESSIONS[words[2]]
        words = [*([extra] if extra else []), *words[3:]]
    name = session if session in sessions else sessions[0]
    return " ".join(["python -m nox -s", name, *(["--", *words] if words else [])])
