"""The pytest plugin of a grading run: it chooses the tests, and writes each outcome into the journal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tito.course.failures import Comparison, explain
from tito.course.matching import matches

Run = dict[str, Any]


class Journal:
    """A file of JSON lines. A copy of the process that the learner's code forked writes nothing, and exits."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._process = os.getpid()

    def write(self, **entry: Any) -> None:
        """Write one entry."""
        if os.getpid() != self._process:
            os._exit(0)
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")


def short_name(item: pytest.Item) -> str:
    """Return a test's name as exercises spell it, with its file: "test_tensor.py::test_add[1]"."""
    return f"{item.path.name}::{item.nodeid.partition('::')[2]}"


class Plugin:
    """Chooses, observes, and reports the tests of one run.

    A run's `tests` are the wanted ones, in order, with "*" for all others; None for all that grade. With `stop`, the
    first failure ends it. With `beyond`, tests with this mark run as well.
    """

    def __init__(self, journal: Journal, run: Run) -> None:
        self._journal, self._run = journal, run
        self._comparison: Comparison | None = None
        self.broken = False

    def pytest_configure(self, config: pytest.Config) -> None:
        if self._run.get("stop"):
            config.option.maxfail = 1

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        graded = [item for item in items if self._run.get("beyond") or item.get_closest_marker("beyond") is None]
        wanted: list[str] | None = self._run["tests"]
        if wanted is not None:
            placed = [(_place(short_name(item), wanted), item) for item in graded]
            chosen = [(place, item) for place, item in placed if place is not None]
            graded = [item for _, item in sorted(chosen, key=lambda pair: pair[0])]
        items[:] = graded
        self._journal.write(event="collected", tests=[short_name(item) for item in items])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a test file that cannot be imported, with the learner's line if it comes from there."""
        if report.failed:
            self.broken = True

    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any]) -> None:
        if isinstance(node, pytest.Collector) and call.excinfo is not None:
            error = call.excinfo.value
            if isinstance(error, pytest.Collector.CollectError):  # pytest's own text about an error of the test file
                error = error.__cause__ or error
            failure = explain(error, self._run["modules"])
            self._journal.write(event="broken", module=None, failure=failure)

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        self._comparison = Comparison.of(op, left, right)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._journal.write(event="test", test=short_name(item))
        sys.setrecursionlimit(1000)
        self._comparison = None
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report: Any = yield
        failed = call.excinfo is not None and report.failed
        if failed or (call.when == "call") or (call.when == "setup" and report.skipped):
            failure = None
            if failed and call.excinfo is not None:
                failure = explain(call.excinfo.value, self._run["modules"], self._comparison)
            test = short_name(item)
            self._journal.write(event="outcome", test=test, outcome=report.outcome, failure=failure)
        return report


def _place(test: str, wanted: list[str]) -> int | None:
    """Return a test's position among the wanted ones, or None; "*" is every other test."""
    found = [index for index, name in enumerate(wanted) if name != "*" and matches(test, name)]
    return found[0] if found else wanted.index("*") if "*" in wanted else None
