"""What runs in the child process that grades: pytest on the learner's files. A job of `tito.process`.

A job has runs, each with its own choice of files. One run uses the process itself; several run in forks of it, one
after the other, so that NumPy, pytest, and hypothesis are imported only once. Everything that is found out goes into
the run's journal, one JSON line each, as it happens: a run that hangs or dies has told how far it came.

    {"event": "import", "module"}                 this module of the learner's is being imported
    {"event": "broken", "module", "failure"}      ... and could not be; nothing follows
    {"event": "test", "test"}                     this test is being run
    {"event": "outcome", "test", "outcome", "failure"}
    {"event": "end", "problem"}                   the run is complete
    {"event": "over", "why"}                      a fork has ended: "" by itself, "time", or how it died
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tito import overlay

LARGEST_FILE = 2**28  # bytes
RECURSION = 1000  # Python's own limit: a learner's file may have raised it
CONFIGURATION = """[pytest]
filterwarnings =
    error::RuntimeWarning
markers =
    beyond: does not grade (memory, threads, layout, platform, a fast path)
    browser: needs a browser
"""

Job = dict[str, Any]


def prepare(job: Job) -> Callable[[Any], dict[str, Any]]:
    """Import what every run needs, and return the function that does the job (see `tito.process.inside`)."""
    import hypothesis.extra.numpy
    import pytest  # noqa: F401

    from tito.course import plugin  # noqa: F401

    same: dict[str, Any] = {"derandomize": True, "deadline": None, "database": None, "report_multiple_bugs": False}
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("course", hypothesis.settings(**same))
    # with `stop`, only whether a test fails matters, so nothing is shrunk
    hypothesis.settings.register_profile("course-stop", hypothesis.settings(phases=phases, **same))
    return lambda reporter: run_all(job)


def run_all(job: Job) -> dict[str, Any]:
    """Do every run of the job; the journals contain the results."""
    place = Path(tempfile.mkdtemp(prefix="tito-run-", dir=job["folder"]))
    os.chdir(place)  # a relative path that a learner's file writes to is in a folder that is thrown away
    if len(job["runs"]) == 1 and not job.get("fork"):
        run_one(job, job["runs"][0])
        return {}
    for run in job["runs"]:
        _forked(job, run)
    shutil.rmtree(place, ignore_errors=True)
    return {}


def _forked(job: Job, run: Job) -> None:
    """Do one run in a fork of this process, and kill it at the time limit."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.setpgid(0, 0)
            run_one(job, run)
            code = 0
        os._exit(code)
    deadline = time.monotonic() + job["seconds"]
    why, status = "", 0
    while not why:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() > deadline:
            why = "time"
        time.sleep(0.005)
    _kill_group(child)  # and what it started and left behind
    if why:
        os.waitpid(child, 0)
    elif status:
        why = f"exited with code {code}" if (code := os.waitstatus_to_exitcode(status)) > 0 else f"signal {-code}"
    with open(run["journal"], "a", encoding="utf-8") as journal:  # noqa: PTH123
        journal.write(json.dumps({"event": "over", "why": why}) + "\n")


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def run_one(job: Job, run: Job) -> None:
    """Do one run in this process."""
    from tito.course.plugin import Journal

    journal = Journal(Path(run["journal"]))
    plan = overlay.Plan(run["modules"], job["reference"], run["hide_after"])
    os.environ.update(overlay.environment(plan, Path(job["folder"], "stand-in")))
    overlay.install(plan)
    _limit()
    with open(Path(run["journal"]).with_suffix(".stack"), "w") as stack:  # noqa: PTH123 (kept open for faulthandler)
        faulthandler.dump_traceback_later(job["seconds"] * 0.9, file=stack)
        if _import_all(plan, journal):
            journal.write(event="end", problem=_test(job, run, journal) or _misplaced(plan))
        faulthandler.cancel_dump_traceback_later()


def _limit() -> None:
    """Limit what a learner's file could leave behind: large files and core dumps. Its memory is limited already."""
    sys.setrecursionlimit(RECURSION)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _import_all(plan: overlay.Plan, journal: Any) -> bool:
    """Import the learner's modules in order, and return whether all could be imported."""
    from tito.course.failures import explain

    for name in sorted(plan.modules, key=overlay.NUMBERS.__getitem__):
        journal.write(event="import", module=name)
        try:
            importlib.import_module(f"tinytorch.{name}")
        except BaseException as error:  # SystemExit and KeyboardInterrupt as well: a learner's file can raise anything
            failure = explain(error, plan.modules)
            journal.write(event="broken", module=name, failure=failure)
            return False
    return True


def _test(job: Job, run: Job, journal: Any) -> str | None:
    """Run the tests, and return what went wrong besides them."""
    import hypothesis
    import pytest

    from tito.course.plugin import Plugin

    configuration = Path(job["folder"], f"pytest-{os.getpid()}.ini")
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    arguments = [
        *("-c", str(configuration), "--rootdir", job["reference"], "--confcutdir", job["reference"]),
        *("--import-mode=importlib", "-p", "no:cacheprovider", "-q", "--no-header", "--tb=no"),
        *job["files"],
    ]
    hypothesis.settings.load_profile("course-stop" if run["stop"] else "course")
    plugin = Plugin(journal, run)
    code = pytest.main(arguments, plugins=[plugin])
    if code not in (0, 1, 5) and not plugin.broken:
        return f"pytest ended with code {int(code)}"
    return None


def _misplaced(plan: overlay.Plan) -> str | None:
    wrong = overlay.misplaced(plan)
    return f"the tests used {', '.join(wrong)} instead of the learner's file" if wrong else None


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a journal; a process that was killed may have left half a line."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and isinstance(entry.get("event"), str):
                found.append(entry)
    return found
