"""Processes that write into a shared folder, for `test_races`."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from tito.compete.folder import SharedFolder
from tito.compete.problems import RefusedError
from tito.compete.rules import load_rules
from tito.compete.submit import Fields, submit
from tito.project import Project

CONTEXT = multiprocessing.get_context("forkserver")  # a process starts in milliseconds, so that many can race
CONTEXT.set_forkserver_preload(["tests.compete.writers"])


def publish(shared: Path, staged: Path, id: str, start: Barrier, answers: Any) -> None:
    """Publish as soon as all others are ready, and answer with the path or the code of the refusal."""
    start.wait(60)
    try:
        answers.put(str(SharedFolder(shared).publish(staged, id)))
    except RefusedError as error:
        answers.put(error.problems[0].code)


def publish_when_told(ready: Any, shared: Path, staged: Path, id: str) -> None:
    """Say that it begins, then publish."""
    ready.set()
    SharedFolder(shared).publish(staged, id)


def submit_when_told(ready: Any, shared: Path, model: Path, id: str, root: Path) -> None:
    """Say that it begins, then stage, check, and publish."""
    os.environ["TMPDIR"] = str(root / "temporary")
    rules = load_rules(Project(root, root / "suites", root / "reports", root / "submissions"))
    ready.set()
    submit(SharedFolder(shared), model, Fields(id, "mnist", "open"), rules)


def started(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process."""
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process
