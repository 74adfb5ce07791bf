"""One page of every kind, for tests in a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.bench.test_mine import made_run
from tests.compete.crowd import TRACKS, make_standing
from tests.course.progressing import made_progress
from tests.report.sample import make_case, make_record
from tito.course.journey import make_journey
from tito.course.lesson import read_lesson
from tito.course.modules import find_module
from tito.project import find_project
from tito.report.journey import write_journey
from tito.report.leaderboard import href, write_leaderboard
from tito.report.lesson import write_lesson
from tito.report.mine import write_mine
from tito.report.pages import write_pages

PROJECT = find_project(Path(__file__))


def write_every_kind(folder: Path) -> None:
    """Write the pages of a suite with several cases, of the competition, and of the course: one of each kind."""
    rng = np.random.default_rng(0)
    records = [make_record(number=n, cases=[make_case(rng), make_case(rng, name="wide")]) for n in range(2)]
    standing = make_standing(12)
    module = find_module("17")
    lesson = read_lesson(PROJECT, module)
    write_leaderboard(standing, folder, TRACKS)
    entries = {folder / href(name) for name in (standing.boards[0].rows[0].receipt.entry, "eve/cheat-0")}
    for page in (folder / "leaderboard").glob("*.html"):
        if page not in entries:
            page.unlink()  # they are all of one kind
    write_journey(make_journey(made_progress(6), {0: "passed", 1: "failed"}), folder)
    write_lesson(module, lesson, folder, PROJECT.root / "modules" / module.folder)
    write_mine([made_run()], folder)
    write_pages(records, folder)
