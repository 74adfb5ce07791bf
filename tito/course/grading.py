"""Grading one module of a workspace: the contract, the tests, and, if tests fail, which earlier file is to blame.

    result = grade(project, workspace, module)
    result.complete, result.steps[0].failed

Nothing of the learner's is imported here: it runs in the child process of `running`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tito.course.contract import ContractProblem, check_contract
from tito.course.exercise import Exercise, Step, load_exercise
from tito.course.matching import matches
from tito.course.modules import MODULES, Module
from tito.course.progress import count_steps
from tito.course.running import SECONDS, Failure, Outcome, Run, described, run
from tito.course.source import Source
from tito.course.state import State, hashes, is_stale, load_state, save_state
from tito.course.workspace import Workspace, read_source
from tito.errors import CourseError
from tito.project import Project


@dataclass(frozen=True)
class StepResult:
    """One step: how many of its tests passed, and the first failure.

    Attributes:
        index: its place among the steps, from 0.
        step: the step.
        passed: whether all its tests passed.
        tests: the number of its tests that were run.
        green: the number of them that passed.
        failed: the first test that failed, or None.
        run: whether its tests were run: not if another step was chosen, or if an earlier test did not end.
    """

    index: int
    step: Step
    passed: bool
    tests: int = 0
    green: int = 0
    failed: Failure | None = None
    run: bool = True


@dataclass(frozen=True)
class Result:
    """What grading found.

    Attributes:
        module: the module.
        steps: all its steps.
        first_line: which modules were the learner's, to be printed first.
        failures: every test that failed, in the order of the steps.
        problem: why the tests could not be completed, or None.
        contract: what the file lacks; nothing was run if there is any.
        blamed: earlier files of the learner that cause the first failure: with the reference's in place, it passes.
        beyond: failures of tests that do not grade; only if they were asked for.
        seconds: how long it took.
    """

    module: Module
    steps: tuple[StepResult, ...]
    first_line: str
    failures: tuple[Failure, ...] = ()
    problem: Failure | None = None
    contract: tuple[ContractProblem, ...] = ()
    blamed: tuple[Module, ...] = ()
    beyond: tuple[Failure, ...] = ()
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every step passed."""
        return self.problem is None and not self.contract and all(step.passed for step in self.steps)

    @property
    def passed(self) -> int:
        """The number of steps that passed."""
        return sum(step.passed for step in self.steps)

    @property
    def first(self) -> StepResult | None:
        """The first step that was run and did not pass."""
        return next((step for step in self.steps if not step.passed and step.run), None)


def grade(
    project: Project,
    workspace: Workspace,
    module: Module,
    *,
    step: int | None = None,
    all: bool = False,
    save: bool = True,
    seconds: float = SECONDS,
) -> Result:
    """Test a learner's module on their own files, and save its state.

    Args:
        project: the checkout with the reference and the tests.
        workspace: the learner's files.
        module: the module to grade; modules that come after it are hidden.
        step: run the tests of this step only, counted from 0.
        all: run the tests that do not grade as well, and report them apart.
        save: whether to write the state; a teacher does not.
        seconds: the time limit.

    Raises:
        CourseError: the module is not started, or its file is missing.
        OSError: the state cannot be written.
    """
    started = time.monotonic()
    exercise = load_exercise(project, module)
    workspace.require(module)
    before = hashes(project, workspace, module)
    files = workspace.files(module)
    result = _grade(project, workspace, exercise, files, step, all, seconds)
    result = replace(result, seconds=time.monotonic() - started, first_line=described(files, project.root))
    if save:
        _save(workspace, result, before, step)
    return result


def _grade(
    project: Project,
    workspace: Workspace,
    exercise: Exercise,
    files: dict[str, Path],
    step: int | None,
    beyond: bool,
    seconds: float,
) -> Result:
    problems = _contract(project, workspace, exercise, files)
    if problems:
        nothing = tuple(StepResult(i, one, False, run=False) for i, one in enumerate(exercise.steps))
        return Result(exercise.module, nothing, "", contract=tuple(problems))
    chosen = exercise.steps if step is None else exercise.steps[step : step + 1]
    wanted = tuple(dict.fromkeys(test for one in chosen for test in one.tests))
    tests = (*wanted, "*") if step is None else wanted
    # The tests that do not grade run separately: one that hangs must not cost the others their result
    runs = [Run(files, exercise.module.number, tests)]
    found = run(project, exercise.test_files, runs, seconds)[0]
    steps, failures = _by_step(exercise, found, files, step)
    result = Result(exercise.module, steps, "", failures, found.problem)
    if failures or found.problem:
        result = replace(result, blamed=tuple(_blame(project, exercise, files, failures, seconds)))
    if beyond and found.problem is None:
        more = run(project, exercise.test_files, [Run(files, exercise.module.number, None, beyond=True)], seconds)[0]
        known = {failure.test for failure in failures}
        result = replace(result, beyond=tuple(f for f in more.failures.values() if f.test not in known))
    return result


def _contract(
    project: Project, workspace: Workspace, exercise: Exercise, files: Iterable[str]
) -> list[ContractProblem]:
    """Return what the module's file lacks; if nothing, what the learner's earlier files lack."""
    problems = check_contract(workspace, exercise)
    for module in MODULES:
        if problems:
            break
        if module.name in files and module != exercise.module:
            problems = check_contract(workspace, load_exercise(project, module))
    return problems


# Steps --------------------------------------------------------------------------------------------------


def _by_step(
    exercise: Exercise, found: Outcome, files: dict[str, Path], chosen: int | None
) -> tuple[tuple[StepResult, ...], tuple[Failure, ...]]:
    """Return the result of each step; a test that belongs to no step counts for the last one."""
    last = len(exercise.steps) - 1
    places = {test: _step_of(exercise.steps, test, last) for test in (*found.collected, *found.failures)}
    results, failures = [], []
    for index, step in enumerate(exercise.steps):
        tests = [test for test in places if places[test] == index]
        mine = [found.failures[test] for test in _ordered(tests, step) if test in found.failures]
        mine = [_located(failure, exercise, step, files) for failure in mine]
        green = sum(test in found.passed for test in tests)
        run = bool(mine) or (green == len(tests) and green > 0)
        passed = run and not mine
        if chosen is not None and index != chosen:
            passed, run = False, False
        results.append(StepResult(index, step, passed, len(tests), green, mine[0] if mine else None, run))
        failures += mine
    return tuple(results), tuple(failures)


def _step_of(steps: Sequence[Step], test: str, last: int) -> int:
    found = [index for index, step in enumerate(steps) if any(matches(test, one) for one in step.tests)]
    exact = [index for index in found if any("[" in one and matches(test, one) for one in steps[index].tests)]
    return (exact or found or [last])[0]


def _ordered(tests: list[str], step: Step) -> list[str]:
    """Return tests in the step's own order."""
    place = {test: next((i for i, one in enumerate(step.tests) if matches(test, one)), 10**6) for test in tests}
    return sorted(tests, key=lambda test: place[test])


def _located(failure: Failure, exercise: Exercise, step: Step, files: dict[str, Path]) -> Failure:
    """Return a failure with a line: a wrong result passed through no line, so the step's definition is named."""
    if failure.file is not None:
        return failure
    path = files[exercise.module.name]
    try:
        source = Source(read_source(path), str(path))
        lines = {name: source.find(name) for name in step.names}
    except CourseError:
        return replace(failure, file=str(path), line=None)
    text = f"{failure.test} {failure.why}".lower()
    mentioned = [name for name in lines if name.rpartition(".")[2].strip("_").lower() in text]
    node = lines[(mentioned or list(lines))[0]]
    return replace(failure, file=str(path), line=node.lineno)


# Blame --------------------------------------------------------------------------------------------------


def _blame(
    project: Project, exercise: Exercise, files: dict[str, Path], failures: Sequence[Failure], seconds: float
) -> list[Module]:
    """Return the learner's earlier modules without which the first failing test passes."""
    module = exercise.module
    earlier = [one for one in MODULES if one.name in files and one != module]
    if not earlier:
        return []
    tests = (failures[0].test,) if failures else None
    own = {module.name: files[module.name]}
    if not _passes(run(project, exercise.test_files, [Run(own, module.number, tests, stop=True)], seconds)[0]):
        return []
    if len(earlier) == 1:
        return earlier
    runs = [
        Run({name: file for name, file in files.items() if name != one.name}, module.number, tests, stop=True)
        for one in earlier
    ]
    without = run(project, exercise.test_files, runs, seconds)
    alone = [one for one, outcome in zip(earlier, without, strict=True) if _passes(outcome)]
    return alone or earlier


def _passes(outcome: Outcome) -> bool:
    return outcome.problem is None and not outcome.failures and bool(outcome.passed)


# State --------------------------------------------------------------------------------------------------


def _save(workspace: Workspace, result: Result, before: tuple[str, dict[str, str], str], step: int | None) -> None:
    """Write the state; after a single step, the others keep what is known for the same files."""
    titles = [one.step.title for one in result.steps]
    passed = {one.step.title for one in result.steps if one.passed}
    complete = result.complete
    if step is not None:
        known = load_state(workspace, result.module)
        same = known is not None and (known.file, known.earlier, known.tests) == before
        if known is not None and same:
            passed |= set(known.passed) - {titles[step]}
            complete = known.complete and result.steps[step].passed
    file, earlier, tests = before
    ordered = tuple(title for title in titles if title in passed)
    save_state(workspace, result.module, State(file, earlier, tests, ordered, len(titles), complete))


def stale_modules(project: Project, workspace: Workspace) -> list[Module]:
    """Return the started modules whose state is missing, corrupt, or older than their files or tests."""
    found = []
    for module in MODULES:
        folder = project.root / "modules" / module.folder
        if workspace.has(module) and count_steps(folder / "exercise.toml"):
            state = load_state(workspace, module)
            if state is None or is_stale(project, workspace, module, state):
                found.append(module)
    return found


def refresh(project: Project, workspace: Workspace) -> list[Result]:
    """Test every module again whose state is missing or stale, and return the results."""
    return [grade(project, workspace, module) for module in stale_modules(project, workspace)]
