"""The journey of a learner as a page: reports/journey.html."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tito.course.journey import FIRST_YEAR, LAST_YEAR, CheckpointState, Journey, Stop
from tito.course.modules import Checkpoint
from tito.course.progress import ModuleProgress
from tito.report.attachments import Attachment
from tito.report.rendering import JOURNEY, environment, render, write_assets, write_documents

PROGRESS = "journey.json"  # beside the page
CLOSE = 8  # years: nearer labels would touch on a narrow page
STATE = {"complete": "complete", "started": "started", "open": "not started", "locked": "later"}
ANSWER: Mapping[CheckpointState, str] = {
    "passed": "Yes",
    "failed": "Not yet",
    "changed": "Test again",
    "ready": "Ready to test",
    "locked": "Later",
}


@dataclass(frozen=True)
class Dot:
    """A milestone on the axis."""

    year: int
    left: str  # percent
    unlocked: bool
    close: bool  # whether a narrow page has no place for its label


@dataclass(frozen=True)
class Part:
    """One module, with the width of its bar in percent."""

    progress: ModuleProgress
    says: str
    width: int
    here: bool


@dataclass(frozen=True)
class Section:
    """One era."""

    stop: Stop
    parts: list[Part]
    title: str  # of the milestone's suite
    page: str | None  # of the milestone's suite, if there is one


def write_journey(journey: Journey, folder: Path, titles: Mapping[str, str] | None = None) -> Path:
    """Write journey.html into the folder of the reports, and return its path.

    Args:
        journey: what to show.
        folder: the folder of the reports; a milestone is linked to its suite's page in it.
        titles: the titles of the suites, by name.

    Raises:
        ReportError: the folder cannot be written.
    """
    jinja = environment()
    page = render(
        jinja,
        "journey.html.j2",
        styles=["journey.css"],
        journey=journey,
        files=[Attachment("Progress as JSON", PROGRESS)],
        total=sum(len(stop.modules) for stop in journey.stops),
        dots=_dots(journey),
        here=percent(journey.year),
        sections=[_section(stop, journey, titles or {}, folder) for stop in journey.stops],
        checkpoints=[_answered(one, state) for one, state in journey.checkpoints],
        passed=sum(state == "passed" for _, state in journey.checkpoints),
    )
    write_assets(jinja, folder)
    progress = json.dumps(as_document(journey), indent=1)
    return write_documents({JOURNEY: page, PROGRESS: progress}, folder)[0]


def as_document(journey: Journey) -> dict[str, Any]:
    """Return a journey as plain data: each module with its steps, and each checkpoint."""
    return {
        "complete": journey.complete,
        "next": journey.command,
        "modules": [
            {
                "module": one.module.key,
                "title": one.module.title,
                "era": stop.era.year,
                "state": one.state,
                "passed": one.passed,
                "total": one.total,
            }
            for stop in journey.stops
            for one in stop.modules
        ],
        "checkpoints": [
            {"checkpoint": one.key, "name": one.name, "state": state} for one, state in journey.checkpoints
        ],
    }


def percent(year: float) -> str:
    """Return the place of a year on the axis, in percent.

    >>> percent(1987.5)
    '50.00'
    """
    return f"{100 * (year - FIRST_YEAR) / (LAST_YEAR - FIRST_YEAR):.2f}"


def _dots(journey: Journey) -> list[Dot]:
    dots: list[Dot] = []
    for stop in journey.stops:
        year, shown = stop.era.year, [dot.year for dot in dots if not dot.close]
        close = bool(shown) and year - shown[-1] < CLOSE
        dots.append(Dot(year, percent(year), stop.unlocked, close))
    return dots


def _section(stop: Stop, journey: Journey, titles: Mapping[str, str], folder: Path) -> Section:
    page = f"{stop.milestone.suite}.html"
    return Section(
        stop,
        [_part(one, one is journey.here) for one in stop.modules],
        titles.get(stop.milestone.suite, stop.milestone.suite),
        page if (folder / page).is_file() else None,
    )


def _part(one: ModuleProgress, here: bool) -> Part:
    says = STATE[one.state]
    if one.state == "started":
        says = one.remark or f"{one.passed} of {one.total} steps"
    share = 100 if one.state == "complete" else round(100 * one.passed / one.total) if one.total else 0
    return Part(one, says, share, here)


def _answered(checkpoint: Checkpoint, state: CheckpointState) -> tuple[Checkpoint, str, str]:
    return checkpoint, state, ANSWER[state]
