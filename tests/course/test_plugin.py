"""tito.course.plugin: a copy of the process that a learner's code forked cannot write results."""

from __future__ import annotations

import os
from pathlib import Path

from tito.course.inside import read_journal
from tito.course.plugin import Journal


def test_fork_that_writes_to_the_journal_exits_instead(tmp_path: Path) -> None:
    path = tmp_path / "0.jsonl"
    journal = Journal(path)
    journal.write(event="test", test="a")
    child = os.fork()
    if child == 0:
        journal.write(event="test", test="forged")
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read_journal(path) == [{"event": "test", "test": "a"}]
