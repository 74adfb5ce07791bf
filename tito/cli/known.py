"""The suites that pages and lists show, whether or not they have run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tito.bench.suite import Suite
    from tito.project import Project


def known_suites(here: Project) -> list[Suite]:
    """Return the project's suites that can be run. Others are left out, because `tito suite list` names them."""
    from tito.bench.suites import usable_suites

    return [loaded.suite for loaded in usable_suites(here.suites)[0]]
