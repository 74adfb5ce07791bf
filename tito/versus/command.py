"""The command `python -m tito.versus`: its arguments, what it leaves out, and its exit code."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tinytorch.base.errors import TinyTorchError
from tito.errors import RequestError, RunError, TitoError
from tito.files import scratch
from tito.process.backend import choose_backend, pinned_backend
from tito.process.blas import choose_kernel
from tito.process.environment import pinned_environment
from tito.versus import contest
from tito.versus.bounds import peaks
from tito.versus.driver import Outcome, load, names, rivals_of, run_work
from tito.versus.rivals import TITLES, lacks_compiler, packages
from tito.versus.tables import Screen, footer, say, table

COMPILED = "TORCHINDUCTOR_CACHE_DIR"  # of torch.compile: the rounds of a run share what the first one compiled
FEWEST = 5  # rounds
EXIT_CODES = """exit codes: 0 if all works were compared with the libraries that are installed here (one that is not
installed is left out with a line); 1 if a library is installed and does not load, if a side failed or did other work,
or if no library is installed; 2 for wrong arguments; 130 after Ctrl-C"""


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message}; `{self.prog} --help` shows what can be given")


def main(given: Sequence[str]) -> int:
    """Compare the works that were asked for, print the ratios, and return the exit code.

    A library that is not installed is left out with a line, and the code is 0. What was measured before an error or
    Ctrl-C is printed.

    Returns:
        0, 1, or 2, as in EXIT_CODES.
    """
    try:
        arguments = _parser().parse_args(given)
        chosen, others = choose(arguments.works, arguments.against)
        compare_all(chosen, others, arguments.rounds)
    except (TitoError, TinyTorchError) as error:
        say(str(error))
        return 2 if isinstance(error, RequestError) else 1
    except OSError as error:
        say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m tito.versus",
        description="Speed compared with ONNX Runtime and PyTorch.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"any of {', '.join(names())}; default: all")
    help_text = f"fresh processes for each side, at least {FEWEST} (default: 7)"
    parser.add_argument("--rounds", type=_rounds, default=7, metavar="N", help=help_text)
    parser.add_argument(
        "--against", action="append", metavar="RIVAL", choices=TITLES, help=f"only this one of {', '.join(TITLES)}"
    )
    return parser


def _rounds(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < FEWEST:
        raise argparse.ArgumentTypeError(f"'{text}': expected a whole number of at least {FEWEST}")
    return number


def choose(works: Sequence[str], against: Sequence[str] | None) -> tuple[dict[str, list[str]], list[str]]:
    """Return the works to run with their rivals, and a line for each work that was named and has none of the rivals.

    Args:
        works: the names of works; empty: all.
        against: the only rivals that are wanted; empty or None: all.

    Raises:
        RequestError: a work does not exist, or no work has a rival that is wanted.
    """
    every = {name: rivals_of(load(name)) for name in works or names()}
    chosen = {name: [r for r in rivals if r in (against or TITLES)] for name, rivals in every.items()}
    chosen = {name: rivals for name, rivals in chosen.items() if rivals}
    lacking = [f"{name} has {', '.join(rivals)}" for name, rivals in every.items() if name not in chosen]
    wanted = ", ".join(dict.fromkeys(against or ()))
    if not chosen:
        raise RequestError(f"--against {wanted}: expected a rival that a chosen work has: {'; '.join(lacking)}")
    return chosen, [f"Left out: {line}, not {wanted}." for line in lacking] if works else []


def compare_all(chosen: dict[str, list[str]], others: Iterable[str], rounds: int) -> None:
    """Compare the works with their rivals, and print the ratios.

    Args:
        others: lines about what is not compared.

    Raises:
        RunError: as in `reasons`, `runnable`, and `run_work`.
    """
    screen = Screen()
    outcomes: list[Outcome] = []
    limits: dict[str, list[str]] = {}
    kernel = choose_kernel()
    try:
        with scratch("versus") as folder:
            pinned = pinned_environment(kernel.environment | pinned_backend(choose_backend())) | {COMPILED: str(folder)}
            left_out = reasons({rival for rivals in chosen.values() for rival in rivals}, pinned)
            for line in (*others, *(f"Left out: {TITLES[rival]} ({why})." for rival, why in left_out.items())):
                screen.tell(line)
            plan = runnable(chosen, left_out)
            limits = bounds(plan, pinned)
            run_all(plan, rounds, pinned, outcomes.extend)
    finally:
        for title in dict.fromkeys(outcome.title for outcome in outcomes):
            screen.print(table(title, [outcome for outcome in outcomes if outcome.title == title]))
            for line in limits.get(title, []):
                screen.tell(line, style="dim")
        if outcomes:
            screen.tell(footer(outcomes, rounds, kernel.record.used))


def reasons(rivals: set[str], pinned: dict[str, str]) -> dict[str, str]:
    """Return the rivals whose library is not installed here, or who lack a compiler, with the reason.

    Raises:
        RunError: a library is installed and does not load.
    """
    found: dict[str, str] = {}
    loads = {group: contest.trouble(pinned, group) for group in {packages(rival) for rival in rivals}}
    for rival in (rival for rival in TITLES if rival in rivals):
        trouble = loads[packages(rival)]
        if trouble and trouble.installed:
            raise RunError(f"{trouble.why}; reinstall it, or choose other rivals with --against")
        why = trouble.why if trouble else lacks_compiler(rival)
        if why:
            found[rival] = why
    return found


def runnable(chosen: dict[str, list[str]], left_out: dict[str, str]) -> dict[str, list[str]]:
    """Return the works that have a rival here, with these rivals.

    Raises:
        RunError: no work has one.
    """
    plan = {name: [rival for rival in rivals if rival not in left_out] for name, rivals in chosen.items()}
    plan = {name: rivals for name, rivals in plan.items() if rivals}
    if not plan:
        why = "; ".join(dict.fromkeys(left_out.values()))
        only_compiler = all(lacks_compiler(rival) == reason for rival, reason in left_out.items())
        advice = (
            "install it, or name one in CXX" if only_compiler else "`python -m nox -s versus` installs the libraries"
        )
        raise RunError(f"nothing to compare with: {why}; {advice}")
    return plan


def bounds(chosen: Iterable[str], pinned: dict[str, str]) -> dict[str, list[str]]:
    """Return what bounds the measurements of each work, as lines by the work's title."""
    costs = {load(name).TITLE: getattr(load(name), "COSTS", {}) for name in chosen}
    machine = peaks([cost for found in costs.values() for cost in found.values()], pinned)
    return {
        title: [f"  {name}: {machine.bound(cost)}" for name, cost in found.items()] for title, found in costs.items()
    }


def run_all(
    plan: dict[str, list[str]], rounds: int, pinned: dict[str, str], keep: Callable[[list[Outcome]], None]
) -> None:
    """Run works against their rivals, with a progress bar.

    Raises:
        RunError: as in `run_work`.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=Screen(stderr=True)) as progress:
        bar = progress.add_task("", total=sum(rounds * (1 + len(rivals)) for rivals in plan.values()))
        for name, rivals in plan.items():

            def report(contender: str, name: str = name) -> None:
                progress.update(bar, advance=1, description=f"{name}: {TITLES.get(contender, 'TinyTorch')}")

            keep(run_work(name, rivals, rounds, pinned, report))
