"""The course proves itself: `python -m tito.course.proof [MODULE ...]`, or `nox -s course`.

For each module: the reference passes its graded tests; the blank file can be imported and fails; each name that is
blanked alone is caught; filled in order, each step turns its tests green; a second, plain answer passes; each mutation
is caught. All runs hide the later modules, so nothing needs one.
"""

from __future__ import annotations

import argparse
import ast
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from pydantic import Field, ValidationError

from tito.course.blank import answers_in, blank, fill, prepared, reference_answers
from tito.course.contract import check_text
from tito.course.exercise import Exercise, load_exercise
from tito.course.matching import matches
from tito.course.modules import MODULES, find_module
from tito.course.running import Outcome, Run, run
from tito.course.source import Function, Source
from tito.errors import CourseError
from tito.files import scratch
from tito.process.documents import Frozen
from tito.project import Project, find_project

WORKERS = 2
SECONDS = 60.0


class Mutation(Frozen):
    """A wrong answer that the module's tests must catch."""

    name: str
    find: str = Field(min_length=1)
    replace: str
    why: str


class Mutations(Frozen):
    """The content of a mutations.toml."""

    mutation: tuple[Mutation, ...] = ()


@dataclass
class Proof:
    """What was tried for one module, and what does not hold."""

    exercise: Exercise
    tests: int = 0
    caught: int = 0
    green: int = 0
    plain: bool = False
    mutations: int = 0
    all_mutations: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return the counts in one line."""
        names, steps = len(self.exercise.names), len(self.exercise.steps)
        return (
            f"{self.exercise.module.label}: {self.tests} tests, {self.caught} of {names} names caught, "
            f"{self.green} of {steps} steps, plain answer {'passes' if self.plain else 'FAILS'}, "
            f"{self.mutations} of {self.all_mutations} mutations caught, {self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class Trial:
    """A variant of the module's file, the tests to run on it, and what they must show."""

    kind: str
    subject: str
    source: str
    tests: tuple[str, ...] | None = None
    stop: bool = False


def read_mutations(exercise: Exercise) -> tuple[Mutation, ...]:
    """Read a module's mutations.toml; a module without one has none.

    Raises:
        CourseError: the file is invalid.
    """
    path = exercise.path.with_name("mutations.toml")
    try:
        return Mutations.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).mutation
    except FileNotFoundError:
        return ()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CourseError(f"{path}: not a TOML file in UTF-8: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise CourseError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def mutated(source: str, mutation: Mutation, file: str) -> str:
    """Return the source with a mutation.

    Raises:
        CourseError: the text to find does not occur exactly once within the name.
    """
    text = Source(source, file)
    node = text.find(mutation.name)
    if isinstance(node, Function):
        first, last = node.lineno, text.body(node)[1]
        part = text.region(first, last)
        start, end, _ = text.lines_edit(first, last, "")
    else:
        part = text.segment(node)
        start, end, _ = text.span_edit(node, "")
    if (count := part.count(mutation.find)) != 1:
        raise CourseError(f"{file}: mutation of {mutation.name}: {mutation.find!r} occurs {count} times: expected once")
    return text.edited([(start, end, part.replace(mutation.find, mutation.replace))])


def prove(project: Project, exercise: Exercise) -> Proof:
    """Try everything for one module."""
    started = time.monotonic()
    proof = Proof(exercise)
    with scratch("proof") as folder:
        filled = fill(blank(exercise.source(), exercise), reference_answers(exercise))
        first = _run(project, exercise, folder, [Trial("reference", "", filled)])[0]
        proof.tests = len(first.collected)
        if not first.clean:
            proof.problems.append(f"the reference fails: {_reason(first)}")
        else:
            trials = list(_trials(exercise, first.collected, proof))
            for trial, outcome in zip(trials, _shared(project, exercise, folder, trials), strict=True):
                _judge(proof, trial, outcome)
    proof.seconds = time.monotonic() - started
    return proof


def _trials(exercise: Exercise, collected: tuple[str, ...], proof: Proof) -> Iterator[Trial]:
    """Yield everything that is tried after the reference has passed."""
    source, file = exercise.source(), str(exercise.reference)
    empty, whole = blank(source, exercise), prepared(source, exercise)
    answers = reference_answers(exercise)
    proof.problems += [problem.text() for problem in check_text(empty, exercise, Path(exercise.module.file))]
    yield Trial("blank", "", empty)
    for name in exercise.names:
        rest = {one: text for one, text in answers.items() if one != name}
        yield Trial("name", name, fill(empty, rest), _step_first(exercise, name, collected), stop=True)
    partly = empty
    for step in exercise.steps:
        wanted = tuple(test for test in collected if any(matches(test, one) for one in step.tests))
        yield Trial("before", step.title, partly, wanted, stop=True)
        partly = fill(partly, {name: answers[name] for name in step.names})
        yield Trial("after", step.title, partly, wanted)
    try:
        answer = plain_answer(exercise)
    except CourseError as error:
        proof.problems.append(str(error))
    else:
        found = check_text(answer, exercise, exercise.path.with_name("plain.py"))
        proof.problems += [problem.text() for problem in found]
        yield Trial("plain", "", answer)
    for mutation in read_mutations(exercise):
        proof.all_mutations += 1
        try:
            wrong = mutated(whole, mutation, file)
        except CourseError as error:
            proof.problems.append(str(error))
            continue
        subject = f"{mutation.name}: {mutation.why}"
        order = _step_first(exercise, mutation.name, collected) if mutation.name in exercise.names else collected
        yield Trial("mutation", subject, wrong, order, stop=True)


def plain_answer(exercise: Exercise) -> str:
    """Return the learner's file with the answers of the exercise's plain.py.

    Raises:
        CourseError: the file is missing, or lacks an answer.
    """
    plain = exercise.path.with_name("plain.py")
    if not plain.is_file():
        raise CourseError(f"{plain} is missing")
    text = plain.read_text(encoding="utf-8")
    answer = fill(blank(exercise.source(), exercise), answers_in(text, exercise, str(plain)))
    return _with_imports(answer, text, exercise.module.name)


def _with_imports(source: str, plain: str, name: str) -> str:
    """Return the file with the imports that the plain answer adds; what it imports from the module itself is there."""
    text, other = Source(source), Source(plain)
    extra = ""
    for node in other.tree.body:
        own = isinstance(node, ast.ImportFrom) and node.module in ("__future__", f"tinytorch.{name}")
        if isinstance(node, ast.Import | ast.ImportFrom) and not own:
            line = other.region(node.lineno, node.end_lineno or node.lineno)
            extra += line if line not in source else ""
    place = text.after_imports()
    return text.edited([text.lines_edit(place + 1, place, extra)])


def _step_first(exercise: Exercise, name: str, collected: tuple[str, ...]) -> tuple[str, ...]:
    """Return all tests, those of the step that contains a name first."""
    wanted = exercise.steps[exercise.step_of(name)].tests
    own = [test for test in collected if any(matches(test, one) for one in wanted)]
    return (*own, *(test for test in collected if test not in own))


def _shared(project: Project, exercise: Exercise, folder: Path, trials: Sequence[Trial]) -> list[Outcome]:
    """Run trials in several processes, each with every WORKERS-th trial, and return their outcomes in order.

    Not in threads: a `Child` takes care of all orphans of its process.
    """
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        parts = [
            pool.submit(_run, project, exercise, folder / str(index), trials[index::WORKERS])
            for index in range(WORKERS)
        ]
        done = [part.result() for part in parts]
    return [done[index % WORKERS][index // WORKERS] for index in range(len(trials))]


def _run(project: Project, exercise: Exercise, folder: Path, trials: Sequence[Trial]) -> list[Outcome]:
    runs = []
    for index, trial in enumerate(trials):
        place = folder / f"trial-{index}" / exercise.module.file
        place.parent.mkdir(parents=True)
        place.write_text(trial.source, encoding="utf-8")
        runs.append(Run({exercise.module.name: place}, exercise.module.number, trial.tests, trial.stop))
    return run(project, exercise.test_files, runs, SECONDS, fork=True) if runs else []


def _judge(proof: Proof, trial: Trial, outcome: Outcome) -> None:
    """Count one trial, or note what does not hold."""
    failed = bool(outcome.failures)
    match trial.kind:
        case "blank":
            if outcome.problem is not None or not failed:
                proof.problems.append(f"the blank file must be imported and fail: {_reason(outcome)}")
        case "name" if failed:
            proof.caught += 1
        case "name":
            proof.problems.append(
                f"blanked alone, {trial.subject} is not caught by the tests {_reason(outcome)}".strip()
            )
        case "before" if failed:
            proof.green += 1
        case "before":
            proof.problems.append(f"step {trial.subject!r} turns no test green: {_reason(outcome)}")
        case "after" if not outcome.clean:
            proof.green -= 1
            proof.problems.append(f"filled up to step {trial.subject!r}, its tests fail: {_reason(outcome)}")
        case "plain":
            proof.plain = outcome.clean
            if not outcome.clean:
                proof.problems.append(f"the plain answer fails: {_reason(outcome)}")
        case "mutation" if failed or outcome.problem is not None:
            proof.mutations += 1
        case "mutation":
            proof.problems.append(f"mutation not caught: {trial.subject}")


def _reason(outcome: Outcome) -> str:
    """Return the first failure of a run in one line."""
    failure = outcome.problem or next(iter(outcome.failures.values()), None)
    if failure is None:
        return "all tests pass" if outcome.passed else "no test was run"
    place = f" ({Path(failure.file).name}:{failure.line})" if failure.file else ""
    return f"{failure.test} {failure.why}{place}; expected {failure.expected}, got {failure.got}".strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove the named modules, or all, and print the counts; return 1 if anything does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tito.course.proof", description="Prove the course's exercises.")
    parser.add_argument("modules", nargs="*", help="modules to prove, e.g. 02 autograd; default: all")
    wanted = parser.parse_args(arguments).modules
    project = find_project()
    chosen = [find_module(text) for text in wanted] if wanted else MODULES
    proofs = []
    failed = 0
    for module in chosen:
        try:
            proof = prove(project, load_exercise(project, module))
        except CourseError as error:
            _say(f"{module.label}: {error}")
            failed += 1
            continue
        proofs.append(proof)
        _say(proof.line())
        for problem in proof.problems:
            _say(f"    {problem}")
        failed += bool(proof.problems)
    _say(_total(proofs))
    return 1 if failed else 0


def _total(proofs: Sequence[Proof]) -> str:
    def total(count: Callable[[Proof], int]) -> int:
        return sum(map(count, proofs))

    seconds = sum(proof.seconds for proof in proofs)
    return (
        f"{len(proofs)} modules, {total(lambda p: p.tests)} tests, "
        f"{total(lambda p: p.caught)} of {total(lambda p: len(p.exercise.names))} names caught, "
        f"{total(lambda p: p.green)} of {total(lambda p: len(p.exercise.steps))} steps, "
        f"{total(lambda p: p.mutations)} of {total(lambda p: p.all_mutations)} mutations caught, {seconds:.0f} s"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
