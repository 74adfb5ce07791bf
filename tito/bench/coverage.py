"""What a run can cover on this machine: cases and metrics whose packages are installed, and why others are left out."""

from __future__ import annotations

from tito.bench import selection
from tito.bench.record import Omission
from tito.bench.suite import Case, LoadedSuite
from tito.versus import contest


def covered(loaded: LoadedSuite, quick: bool, pinned: dict[str, str]) -> tuple[LoadedSuite, list[Case], list[Omission]]:
    """Return the suite with the metrics that can be measured here, the cases to run, and what is left out."""
    loaded, unmeasured = selection.measurable(loaded, lambda packages: contest.missing(pinned, packages))
    left_out = selection.left_out(loaded.suite, quick, no_rival=lambda: contest.missing(pinned))
    titled = [(loaded.suite.case(name).title, why) for name, why in left_out.items()]
    omitted = [Omission(what=what, why=why) for what, why in (*titled, *unmeasured.items())]
    return loaded, selection.part_of(loaded.suite, left_out), omitted
