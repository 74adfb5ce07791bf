"""Runs of a module's graded tests in a limited child process, and what they found.

    run(project, module, [Run({"tensor": path}, hide_after=2)]) -> [Outcome]

The child is `tito.course.inside`. It may compute for 60 seconds and allocate 2 GB; it is killed with everything it
started when it exceeds this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tito import overlay
from tito.course.failures import last_own_frame
from tito.course.inside import read_journal
from tito.errors import CourseError, RunError
from tito.files import scratch
from tito.process.child import Child
from tito.process.documents import Frozen, Limits
from tito.project import Project

SECONDS = 60.0
MEMORY_MB = 2048
# One thread: the tests' arrays are small, and a class is graded on all cores at once.
ENVIRONMENT = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"),
    "PYTHONUTF8": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_ADDOPTS": "",
    "PYTHONWARNINGS": "default",
    "HYPOTHESIS_STORAGE_DIRECTORY": "",
}


@dataclass(frozen=True)
class Failure:
    """Why a test failed.

    Attributes:
        test: the test, "test_tensor.py::test_add[1]"; "" if no test could run.
        expected: what the test expected, or None.
        got: what the learner's code returned or raised, or None.
        why: the assertion or the error, in one line.
        file: the learner's file that the error passed through, or None.
        line: the line in it.
    """

    test: str
    expected: str | None
    got: str | None
    why: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Run:
    """One run of the tests.

    Attributes:
        modules: the files that stand in for the reference's, by module.
        hide_after: the highest module that may be imported.
        tests: the tests to run, in order; None for all.
        stop: whether to stop at the first failure.
        beyond: whether to run the tests that don't grade as well.
    """

    modules: Mapping[str, Path]
    hide_after: int | None
    tests: tuple[str, ...] | None = None
    stop: bool = False
    beyond: bool = False


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        passed: the tests that passed or were skipped.
        failures: the tests that failed, each with its reason.
        problem: why the run could not be completed, if so.
        broken: the learner's module that cannot be imported, if one.
    """

    passed: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    problem: Failure | None = None
    broken: str | None = None
    collected: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every test that was run passed, and at least one was."""
        return self.problem is None and not self.failures and bool(self.passed)


class NoResult(Frozen):
    """The result event of the child: everything is in the journals."""


def run(
    project: Project, files: Sequence[Path], runs: Sequence[Run], seconds: float = SECONDS, fork: bool = False
) -> list[Outcome]:
    """Run test files with each choice of modules, and return what each run found.

    Args:
        project: the checkout, whose tinytorch is the reference.
        files: the test files.
        runs: what to run.
        seconds: the time limit of one run.
        fork: whether each run gets a fork of the child; several runs always do.
    """
    require_tools()
    fork = fork or len(runs) > 1
    with scratch("course") as place:
        folder = place.resolve()
        job = {
            "workload": "",
            "folder": str(folder),
            "reference": str(project.root),
            "files": [str(file) for file in files],
            "seconds": seconds,
            "fork": fork,
            "runs": [_described(one, folder / f"{index}.jsonl") for index, one in enumerate(runs)],
        }
        # A forking child keeps the time of each run itself
        limits = Limits(seconds=seconds * len(runs) + 30 if fork else seconds, memory_mb=2 * MEMORY_MB,
                        data_mb=MEMORY_MB)  # fmt: skip
        ended = _wait(job, limits)
        return [_outcome(one, folder / f"{index}.jsonl", ended, seconds) for index, one in enumerate(runs)]


def require_tools() -> None:
    """Check that pytest and hypothesis are installed.

    Raises:
        CourseError: one is missing; the message says how to install it.
    """
    missing = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    if missing:
        raise CourseError(
            f"{' and '.join(missing)}: not installed, and grading needs it: "
            "python -m pip install -e '.[course]' in the checkout, or nox -s learner"
        )


def _described(one: Run, journal: Path) -> dict[str, Any]:
    return {
        "modules": {name: str(file) for name, file in one.modules.items()},
        "hide_after": one.hide_after,
        "tests": None if one.tests is None else list(one.tests),
        "stop": one.stop,
        "beyond": one.beyond,
        "journal": str(journal),
    }


def _wait(job: dict[str, Any], limits: Limits) -> RunError | None:
    """Run the child, and return how it failed, if so."""
    try:
        with Child("tito.course.inside", job, NoResult, ENVIRONMENT, limits) as child:
            for event in child.events(tick=0.05):
                if event is not None and event["event"] == "ready":
                    child.go()
                if event is not None and event["event"] == "result":
                    break  # a thread that the learner's code left would keep the process alive
    except RunError as error:
        return error
    return None


def _outcome(one: Run, journal: Path, ended: RunError | None, seconds: float) -> Outcome:
    """Read one run's journal."""
    found, doing, complete = Outcome(), "", False
    for entry in read_journal(journal):
        match entry["event"]:
            case "import":
                doing = f"importing {entry['module']}"
                module = entry["module"]
            case "broken":
                found.broken = entry["module"]
                found.problem = Failure(test="", **entry["failure"])
                complete = True
            case "collected":
                found.collected = tuple(entry["tests"])
            case "test":
                doing = entry["test"]
            case "outcome":
                _note(found, entry)
            case "over" if not complete:
                ended = RunError(entry["why"] or "exited by itself", "time" if entry["why"] == "time" else "died")
            case "end":
                complete = True
                if entry["problem"]:
                    found.problem = Failure("", None, None, entry["problem"])
    if complete:
        return found
    why = _why_incomplete(ended, seconds)
    place = last_own_frame(_text(journal.with_suffix(".stack")), {str(file) for file in one.modules.values()})
    file, line = place or (None, None)
    if doing.startswith("importing "):
        found.broken = module
        file = file or str(one.modules[module])
        found.problem = Failure("", None, None, f"{why} while the file was imported", file, line)
    elif doing:
        found.failures[doing] = Failure(doing, "a result", None, why, file, line)
        found.passed.discard(doing)
        found.problem = found.failures[doing]
    else:
        found.problem = Failure("", None, None, why)
    return found


def _note(found: Outcome, entry: dict[str, Any]) -> None:
    test = entry["test"]
    if entry["outcome"] == "failed":
        found.failures.setdefault(test, Failure(test=test, **(entry["failure"] or {"expected": None, "got": None,
                                                                                   "why": "failed"})))  # fmt: skip
        found.passed.discard(test)
    elif test not in found.failures:
        found.passed.add(test)


def _why_incomplete(ended: RunError | None, seconds: float) -> str:
    if ended is not None and ended.code == "time":
        return f"still running after {seconds:g} s: an endless loop?"
    if ended is not None and ended.code == "memory":
        return f"more than {MEMORY_MB} MB of memory in use"
    return f"the process ended: {ended}" if ended is not None else "the process ended by itself"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def described(plan_modules: Mapping[str, Path], reference: Path) -> str:
    """Return the first line of a run: which modules are the learner's."""
    return overlay.describe(overlay.Plan({name: str(file) for name, file in plan_modules.items()}, str(reference)))
