"""What the pages are made of: the recorded runs, and the suites, whether or not they have run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tito.cli.console import say

if TYPE_CHECKING:
    from tito.bench.store import Store
    from tito.bench.suite import Suite
    from tito.project import Project
    from tito.report.library import Library


def library(store: Store) -> Library:
    """Return the runs of a store, and name on stderr the files that are none."""
    from tito.report.library import Library
    from tito.terminal.again import again

    entries, warnings = store.entries()
    for warning in warnings:
        say(warning)
    return Library(entries, lambda entry: store.load(entry.id), again)


def known_suites(here: Project) -> list[Suite]:
    """Return the project's suites that can be run. Others are left out, because `tito suite list` names them."""
    from tito.bench.suites import usable_suites

    return [loaded.suite for loaded in usable_suites(here.suites)[0]]
