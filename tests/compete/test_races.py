"""Many processes write at once, and some are killed: every entry is complete, and none is lost.

`nox -s compete-kills` kills 200 processes.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.compete import writers
from tests.compete.competition import make_entry, make_project, small_model, write_manifest
from tinytorch.saved import save_model
from tito.compete.check import check_entry
from tito.compete.folder import SharedFolder
from tito.compete.plain import PART
from tito.compete.rules import Rules

KILLS = int(os.environ.get("TITO_KILLS", "8"))
WRITERS = 16


def race(shared: SharedFolder, entries: list[tuple[Path, str]]) -> list[str]:
    """Publish in one process for each entry, all at the same moment."""
    barrier, answers = writers.CONTEXT.Barrier(len(entries)), writers.CONTEXT.Queue()
    running = [writers.started(writers.publish, shared.path, *entry, barrier, answers) for entry in entries]
    found = [answers.get(timeout=120) for _ in running]
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    return sorted(found)


def hidden(shared: SharedFolder) -> list[Path]:
    return [path for path in shared.path.rglob(".*") if path.name.endswith(PART)]


@pytest.mark.parametrize("submitters", [1, WRITERS])
def test_sixteen_processes_submit_sixteen_entries(tmp_path: Path, rules: Rules, submitters: int) -> None:
    shared = SharedFolder(tmp_path / "shared")
    entries = []
    for i in range(WRITERS):
        id = f"user{i % submitters}/entry{i}"
        entries.append((make_entry(tmp_path / "staged" / str(i), small_model(seed=i), id), id))
    assert race(shared, entries) == sorted(str(shared.entry_path(id)) for _, id in entries)
    assert {entry.id for entry in shared.entries()} == {id for _, id in entries}
    for entry in shared.entries():
        assert check_entry(entry.path, entry.id, rules, {}) == []
    assert hidden(shared) == []


def test_sixteen_processes_submit_under_one_name(tmp_path: Path, rules: Rules) -> None:
    shared, id = SharedFolder(tmp_path / "shared"), "alice/small"
    entries = [(make_entry(tmp_path / "staged" / str(i), small_model(seed=i), id), id) for i in range(WRITERS)]
    assert race(shared, entries) == sorted([str(shared.entry_path(id)), *["taken"] * (WRITERS - 1)])
    assert check_entry(shared.entry_path(id), id, rules, {}) == []
    assert hidden(shared) == []


def check_all(shared: SharedFolder, rules: Rules) -> set[str]:
    """Every entry that is listed is complete; return their ids."""
    entries, problems = shared.scan()
    assert problems == []
    for entry in entries:
        assert check_entry(entry.path, entry.id, rules, {}) == []
    return {entry.id for entry in entries}


@pytest.mark.parametrize("what", ["publish", "submit"])
def test_a_killed_process_leaves_a_whole_entry_or_none(tmp_path: Path, rules: Rules, what: str) -> None:
    shared, rng, outcomes = SharedFolder(tmp_path / "shared"), random.Random(what), Counter[str]()
    model = save_model(small_model(), tmp_path / "model")
    staged = make_entry(tmp_path / "staged", small_model(), "alice/first")
    shared.publish(staged, "alice/first")
    if what == "submit":
        make_project(tmp_path)
        (tmp_path / "temporary").mkdir()
    there, longest = {"alice/first"}, 0.0
    for i in range(KILLS // 2 + 1):
        ready, id = writers.CONTEXT.Event(), f"alice/number-{i}"
        if what == "publish":
            process = writers.started(writers.publish_when_told, ready, shared.path, write_manifest(staged, id), id)
        else:
            save_model(small_model(seed=i + 2), model)
            process = writers.started(writers.submit_when_told, ready, shared.path, model, id, tmp_path)
        assert ready.wait(120)
        begin = time.monotonic()
        if i == 0:  # one to its end, to know how long it takes
            process.join(120)
            longest = time.monotonic() - begin
        else:
            time.sleep(2 * rng.random() * longest)
            process.kill()
            process.join(60)
        now = check_all(shared, rules)
        assert there <= now <= there | {id}
        outcomes["published" if id in now else "not published"] += 1
        there = now
    outcomes["left unfinished"] = len(hidden(shared))
    print(what, dict(outcomes))  # noqa: T201 (shown by `nox -s compete-kills`)
    assert outcomes["published"] >= 1  # the first one, at least
    for part in hidden(shared):
        os.utime(part, (0, 0))
    shared.publish(write_manifest(staged, "alice/last"), "alice/last")
    assert hidden(shared) == []
    assert check_all(shared, rules) == there | {"alice/last"}
