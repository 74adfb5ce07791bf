"""`tito suite run NAME --mine`: a suite on the learner's own modules, and the page reports/mine.html."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from tito.cli.console import console, say, show, show_path, write
from tito.cli.starting import look_around

if TYPE_CHECKING:
    from tito.bench.mine import MineRun, StepTime
    from tito.bench.suite import LoadedSuite, Suite
    from tito.overlay import Plan
    from tito.project import Project


def run_mine(
    here: Project, loaded: LoadedSuite, quick: bool, borrow: Sequence[str], command: str, note: str = ""
) -> None:
    """Run a suite on the learner's complete modules, save and show what was measured; exit code 1 without a pass."""
    from tito.bench.mine import load_mine, save_mine
    from tito.bench.store import Store
    from tito.overlay import describe
    from tito.report.mine import write_mine
    from tito.terminal.again import again
    from tito.terminal.mine import show_mine

    plan, borrowed = own_modules(here, loaded.suite, borrow)
    write(describe(plan))
    if borrowed:
        write(f"borrowed from the reference: {', '.join(borrowed)}")
    Store(here.reports).check_writable()
    run = _measure(loaded, plan, quick, command)
    run = run.model_copy(update={"record": run.record.model_copy(update={"note": note})})
    save_mine(run, here.reports)
    found, warnings = load_mine(here.reports)
    page = write_mine(found, here.reports, again)
    for warning in warnings:
        say(warning)
    show(show_mine(run))
    show_path(page)
    if run.record.status != "passed":
        say(f"{run.record.suite}: {run.record.status}: {run.record.reason}")
        raise typer.Exit(1)


def own_modules(here: Project, suite: Suite, borrow: Sequence[str]) -> tuple[Plan, list[str]]:
    """Return the plan with the suite's modules that the learner has completed, and the labels of the others.

    Raises:
        CourseError: a module to borrow does not exist, or none of the suite's modules is complete.
    """
    from tito.cli.retest import retest
    from tito.course.modules import find_module, module_number
    from tito.course.progress import progress
    from tito.course.workspace import Workspace
    from tito.errors import CourseError
    from tito.overlay import Plan

    workspace = Workspace.find(here)
    lent = {find_module(text).number for text in borrow}
    needed = [module_number(number) for number in suite.modules]
    retest(here, workspace, {module.number for module in needed} - lent)
    complete = progress(here, workspace).complete
    mine = [module for module in needed if module.number in complete and module.number not in lent]
    if not needed:
        raise CourseError(f"{suite.name} runs none of the course's modules, so it cannot run on yours")
    if not mine:
        first = needed[0]
        raise CourseError(
            f"none of the modules that {suite.name} needs is complete in {workspace.path}: "
            f"tito module start {first.key} and tito module complete {first.key} begin; "
            f"without --mine the suite runs on the reference"
        )
    plan = Plan({module.name: str(workspace.file(module).absolute()) for module in mine}, str(here.root))
    return plan, [module.label for module in needed if module not in mine]


def _measure(loaded: LoadedSuite, plan: Plan, quick: bool, command: str) -> MineRun:
    from tito.bench.mine import MineRun, hot_lines, measure_reference, measure_steps, profiled_case
    from tito.bench.owncode import OwnCode
    from tito.bench.runner import run_suite
    from tito.data import fetch
    from tito.files import scratch
    from tito.process.backend import choose_backend, pinned_backend
    from tito.process.blas import choose_kernel
    from tito.process.environment import pinned_environment
    from tito.process.threads import Surroundings
    from tito.terminal.progress import RunProgress

    out = console(stderr=True)
    out.print(f"{loaded.suite.year} {loaded.suite.name}: {loaded.suite.title}, on your own code")
    for name in loaded.suite.data:
        fetch(name, lambda line: out.print(f"  {line}", soft_wrap=True))
    around = Surroundings(look_around(out).conditions)
    with out.status("  measuring BLAS kernels"):
        kernel, backend = choose_kernel(), choose_backend("numpy")
    pinned = pinned_environment(kernel.environment | pinned_backend(backend))
    case = profiled_case(loaded, quick)
    with scratch("mine") as folder:
        own = OwnCode.of(plan, loaded.suite, folder)
        with RunProgress(out, loaded.suite.metrics) as bar:
            record = run_suite(loaded, seeds=1, quick=quick, command=command, blas=kernel, backend=backend,
                               report=bar.report, own=own, around=around)  # fmt: skip
        with out.status("  the same on the reference"):
            reference, peak, problem = measure_reference(loaded, case, pinned)
        steps: list[StepTime] = []
        why = "the run failed"
        if record.status != "failed":
            with out.status("  timing steps") as status:
                steps, why = measure_steps(loaded, case, own, pinned, quick, lambda text: status.update(f"  {text}"))
        return MineRun(
            record=record,
            reference=reference,
            reference_peak=peak,
            reference_problem=problem,
            steps=steps,
            steps_problem=why,
            lines=hot_lines(record, plan),
        )
