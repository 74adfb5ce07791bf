"""tito.terminal.again: the command that works where one stands."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tito.terminal.again import ANY, SESSIONS, again

HOME = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("session", "command", "typed"),
    [
        (None, "tito suite run mnist --quick", "tito suite run mnist --quick"),
        ("milestone-mnist", "tito suite run mnist", "python -m nox -s milestone-mnist"),
        ("milestone-mnist", "tito suite run mnist --seeds 1", "python -m nox -s milestone-mnist -- --seeds 1"),
        ("milestone-cifar10", "tito suite run cifar10_record --quick",
         "python -m nox -s milestone-cifar10 -- --record --quick"),
        ("milestone-tinymlperf-numpy", "tito suite run tinymlperf", "python -m nox -s milestone-tinymlperf-numpy"),
        ("report", "tito suite run tinymlperf", "python -m nox -s milestone-tinymlperf"),
        ("learner", "tito suite run own --quick", "python -m nox -s learner -- suite run own --quick"),
        ("learner", "tito record list", "python -m nox -s learner -- record list"),
    ],
)  # fmt: skip
def test_it_is_typed_as_this_command_was(
    monkeypatch: pytest.MonkeyPatch, session: str | None, command: str, typed: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tito"])
    monkeypatch.delenv("NOX_CURRENT_SESSION", raising=False)
    if session:
        monkeypatch.setenv("NOX_CURRENT_SESSION", session)
    assert again(command) == typed


def test_as_a_module_it_is_run_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOX_CURRENT_SESSION", raising=False)
    monkeypatch.setattr(sys, "argv", [str(HOME / "tito" / "__main__.py")])
    assert again("tito record list") == "python -m tito record list"
    assert again("python tools/x.py") == "python tools/x.py"


def test_every_session_is_one_of_the_noxfile() -> None:
    names = set()
    for node in ast.parse((HOME / "noxfile.py").read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            named = [
                ast.literal_eval(keyword.value)
                for decorator in node.decorator_list
                if isinstance(decorator, ast.Call)
                for keyword in decorator.keywords
                if keyword.arg == "name"
            ]
            names.add(named[0] if named else node.name)
    assert {ANY} | {session for sessions, _ in SESSIONS.values() for session in sessions} <= names
    assert SESSIONS.keys() <= {folder.name.partition("_")[2] for folder in (HOME / "suites").iterdir()}
