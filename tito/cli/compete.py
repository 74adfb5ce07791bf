"""`tito submit | check | verify | leaderboard`: the competition."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tito.cli import complete
from tito.cli.console import console, group, project, say, show, write
from tito.cli.starting import look_around
from tito.errors import RequestError, did_you_mean
from tito.files import read_plain, user_path

if TYPE_CHECKING:
    from tito.compete.folder import SharedFolder
    from tito.compete.problems import Problem
    from tito.compete.ranking import Standing
    from tito.compete.rules import Rules
    from tito.compete.verify import Summary
    from tito.project import Project

competition = group("Submit optimized models, verify them, and rank them.")
MOST_LINES = 10  # of problems that are not the answer to a command

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        envvar="TITO_SUBMISSIONS",
        metavar="DIR",
        help="The shared folder; default: submissions/ of the checkout.",
    ),
]


@competition.command("submit")
def submit(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that save_model wrote.")],
    track: Annotated[
        str, typer.Option(metavar="mnist|cifar10|tinygpt", help="What the model does.", autocompletion=complete.tracks)
    ],
    division: Annotated[str, typer.Option(metavar="closed|open", help="closed: the reference's values, rounded.")],
    name: Annotated[str, typer.Option("--as", metavar="SUBMITTER/ENTRY", help="e.g. alice/int8; never used twice.")],
    title: Annotated[str, typer.Option(metavar="TEXT", help="One line; default: the name.")] = "",
    author: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="May be repeated; default: the submitter.")
    ] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="The license of the model.")] = "not stated",
    technique: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What the files do not show, e.g. pruned; may be repeated.")
    ] = None,
    recipe: Annotated[str, typer.Option(metavar="TEXT", help="How the model was made, as text.")] = "",
    parent: Annotated[
        str | None, typer.Option(metavar="SHA256", help="The model that an open entry began with.")
    ] = None,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Publish without measuring one round first.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Submit a saved model to the competition.

    It is checked, measured in one round next to the reference, and published in the shared folder.
    """
    from tito.compete.folder import SharedFolder
    from tito.compete.problems import RefusedError
    from tito.compete.rules import load_rules
    from tito.compete.submit import Fields
    from tito.compete.submit import submit as publish

    here = project()
    rules = load_rules(here)
    _one_of("--track", track, rules.tracks)
    _one_of("--division", division, ("closed", "open"))
    fields = Fields(name, track, division, title, author or [], licence, technique or [], recipe, parent)
    preview = None if no_measure else lambda staged: _preview(rules, name, track, staged)
    try:
        path = publish(SharedFolder(_folder(here, folder)), model, fields, rules, preview)
    except RefusedError as error:
        for problem in error.problems:
            say(str(problem))
        raise typer.Exit(1) from None
    write(f"{name} is published: {path}")


@competition.command("check")
def check(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Entries; default: all of the shared folder.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of submission.json.")] = False,
    folder: Folder = None,
) -> None:
    """Check entries against the rules.

    Every problem is printed; no model is run. Exit code 1 if there is a problem.
    """
    from tito.compete.check import check_entry
    from tito.compete.folder import SharedFolder
    from tito.compete.ledger import holders_of, sealed_receipts
    from tito.compete.manifest import manifest_schema
    from tito.compete.rules import load_rules
    from tito.compete.seal import organizer_key

    if schema:
        write(json.dumps(manifest_schema(), indent=2))
        return
    here = project()
    rules, shared = load_rules(here), SharedFolder(_folder(here, folder))
    chosen, problems = _chosen(shared, paths)
    receipts, _ = sealed_receipts(shared, organizer_key(shared.path, make=False)) if chosen else ([], [])
    others = holders_of(shared, receipts) if chosen else {}
    for problem in problems:
        write(problem)
    refused = len(problems)
    for path, id in chosen:
        found = check_entry(path, id, rules, others)
        refused += bool(found)
        for problem in found:
            write(f"{id or path.name}: {problem}")
    count = len(chosen) + len(problems)
    write(f"checked {count}, with problems {refused}" if count else f"{shared.path}: no entries")
    if refused:
        raise typer.Exit(1)


@competition.command("verify")
def verify(
    entries: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Entries; default: all of the shared folder.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes that time an entry; fewer than 11 give no rank by latency."),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only part I of N, e.g. 1/3 on the first of three hosts.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also entries that have a receipt of this ground.")] = False,
    self_test: Annotated[bool, typer.Option("--self-test", help="Only test the measurement itself.")] = False,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Spread the entries over the workers of this Dask scheduler.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Measure entries and write receipts.

    Each entry without a receipt of this ground is measured, between two self-tests of the measurement. If a self-test
    fails, there is no receipt, and the exit code is 1: run the command again when nothing else uses the machine.
    """
    from tito.compete.verify import self_tests_alone
    from tito.compete.verify import verify as run
    from tito.terminal.verifying import VerifyProgress

    here = project()
    place, part = _folder(here, folder), _shard(shard)
    ids = [_id(place, entry) for entry in entries] if entries else None
    if scheduler is not None:
        if self_test:
            raise typer.BadParameter("--self-test with --scheduler: run it on each host")
        _verify_on_cluster(scheduler, place, ids, part, _options(rounds, again))
        return
    _fetch_data(here)
    look_around(console(stderr=True))
    with VerifyProgress(console(stderr=True)) as progress:
        if self_test:
            summary = self_tests_alone(here, rounds=rounds, report=progress.report)
        else:
            summary = run(here, place, ids, rounds=rounds, again=again, shard=part, report=progress.report)
    _show_summary(summary, self_test)
    if not summary.passed:
        raise typer.Exit(1)


def _show_summary(summary: Summary, self_test: bool) -> None:
    """Print what came out: why entries are refused, or how the self-tests ended, and the counts."""
    from tito.compete.selftest import describe
    from tito.terminal.ranking import anchor_line

    _say_some(summary.problems)
    if self_test:
        for name, test in summary.self_tests.items():
            write(f"{name}: {describe(test)}")
    else:
        _show_refused(summary.receipts)
        for anchor in summary.anchors:
            write(anchor_line(anchor))
    write(summary)


def _options(rounds: int | None, again: bool) -> list[str]:
    """Return the options of `tito verify` that its processes on other hosts get as well."""
    return [*(["--rounds", str(rounds)] if rounds else []), *(["--again"] if again else [])]


def _verify_on_cluster(
    scheduler: str, place: Path, ids: list[str] | None, shard: tuple[int, int] | None, options: list[str]
) -> None:
    from tito.compete.cluster import verify_on_cluster
    from tito.compete.folder import SharedFolder
    from tito.compete.verify import choose
    from tito.terminal.verifying import VerifyProgress

    chosen, problems = choose(SharedFolder(place), ids, shard)
    with VerifyProgress(console(stderr=True)) as progress:
        outcomes = verify_on_cluster(scheduler, place, chosen, options, progress.report)
    _say_some(problems)
    for id, reason in outcomes.failed.items():
        say(f"{id}: {reason}")
    for done in outcomes.done:
        if done.code:
            said = done.said[-1] if done.said else "nothing"
            say(f"{', '.join(done.task.ids)}: exit code {done.code} on {done.worker}; it said: {said}")
    _show_refused(outcomes.receipts)
    write(outcomes)
    if not outcomes.passed:
        raise typer.Exit(1)


@competition.command("leaderboard")
def leaderboard(
    track: Annotated[
        str | None, typer.Argument(metavar="TRACK", help="e.g. mnist; default: all.", autocompletion=complete.tracks)
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="Also write reports/leaderboard.html.")] = False,
    pending: Annotated[
        bool, typer.Option("--pending", help="Only say which entries are stale or pending, and why.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ranking as JSON.")] = False,
    plan: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only reckon what N entries a day need, from the receipts.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Rank what was verified.

    Only receipts that this organizer sealed count.
    """
    from tito.compete.rules import load_rules
    from tito.report.standings import as_document
    from tito.terminal.ranking import show_pending, show_standing

    here = project()
    rules = load_rules(here)
    if track is not None:
        _one_of("TRACK", track, rules.tracks)
    titles = {name: facts.title for name, facts in rules.tracks.items()}
    standing = _standing(_folder(here, folder))
    page = _write_pages(here, standing, titles) if html else None
    if plan is not None:
        _show_plan(standing, plan)
    elif as_json:
        write(json.dumps(as_document(standing, track), indent=2))
    elif pending:
        show(show_pending(standing))
    else:
        show(show_standing(standing, titles, track))
    if page:
        write(f"\n  leaderboard: {page}\n")


def _one_of(what: str, value: str, expected: Collection[str]) -> None:
    if value not in expected:
        hint = did_you_mean(value, expected)
        raise typer.BadParameter(f"{what} {value!r}: expected one of {', '.join(expected)}{hint}")


def _folder(here: Project, chosen: Path | None) -> Path:
    """Return the shared folder: the option or TITO_SUBMISSIONS, else the checkout's."""
    return user_path(chosen or here.submissions).resolve()


def _id(place: Path, entry: str) -> str:
    """Return the id of an entry of the shared folder, which is given as an id or as a path."""
    path = user_path(entry).absolute()
    return path.relative_to(place).as_posix() if path.is_relative_to(place) else entry


def _chosen(shared: SharedFolder, paths: list[str] | None) -> tuple[list[tuple[Path, str | None]], Sequence[Problem]]:
    """Return the entries to check with their ids, and what is at the place of an entry and is none.

    An entry outside the shared folder has no id: it is a folder that is about to be submitted.
    """
    if not paths:
        found, problems = shared.scan()
        return [(entry.path, entry.id) for entry in found], problems
    chosen: list[tuple[Path, str | None]] = []
    for text in paths:
        path, id = user_path(text), _id(shared.path, text)
        if id != text or not path.exists():
            if not path.exists() and not (shared.path / id).exists():
                hint = did_you_mean(id, [entry.id for entry in shared.scan()[0]])
                raise RequestError(f"{text}: neither a folder nor an entry of {shared.path}{hint}")
            chosen.append((shared.entry_path(id), id))
        else:
            chosen.append((path, None))
    return chosen, []


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, slash, parts = text.partition("/")
    if not (slash and number.isascii() and number.isdigit() and parts.isascii() and parts.isdigit()):
        raise typer.BadParameter(f"--shard {text!r}: expected I/N, e.g. 1/3")
    if not 1 <= int(number) <= int(parts):
        raise typer.BadParameter(f"--shard {text}: expected I from 1 to N")
    return int(number), int(parts)


def _preview(rules: Rules, name: str, track: str, staged: Path) -> None:
    """Measure one round and show it next to the reference."""
    from tito.compete.preview import preview
    from tito.terminal.ranking import show_preview
    from tito.terminal.verifying import VerifyProgress

    _fetch(rules.loaded.suite.data)
    with VerifyProgress(console(stderr=True)) as progress:
        measured = preview(rules, staged, track, progress.report)
    show(show_preview(name, rules.tracks[track].quality, measured))


def _fetch_data(here: Project) -> None:
    from tito.compete.rules import load_rules

    _fetch(load_rules(here).loaded.suite.data)


def _fetch(names: Iterable[str]) -> None:
    """Fetch the data sets here, where progress is shown, and outside of any child's time limit."""
    from tito.data import fetch

    progress = console(stderr=True)
    for name in names:
        fetch(name, lambda line: progress.print(f"  {line}", soft_wrap=True))


def _standing(place: Path) -> Standing:
    """Rank what is in the shared folder, and name on stderr what counts for nothing."""
    from tito.compete.folder import SharedFolder
    from tito.compete.ledger import entries_of, sealed_receipts
    from tito.compete.ranking import standing
    from tito.compete.seal import organizer_key

    shared = SharedFolder(place)
    receipts, problems = sealed_receipts(shared, organizer_key(place, make=False))
    _say_some(problems)
    return standing(receipts, entries_of(shared))


def _say_some(problems: Sequence[Problem]) -> None:
    for problem in problems[:MOST_LINES]:
        say(str(problem))
    if len(problems) > MOST_LINES:
        say(f"{len(problems) - MOST_LINES} more like these")


def _show_refused(receipts: Sequence[Path]) -> None:
    """Print the problems of the entries that were just refused."""
    from tito.compete.seal import parse_receipt
    from tito.terminal.ranking import problem_line

    for path in receipts:
        receipt = parse_receipt(read_plain(path), path.name)
        for problem in receipt.problems:
            write(f"{receipt.entry}: {problem_line(problem)}")


def _show_plan(standing: Standing, entries: int) -> None:
    from tito.compete.plan import plan
    from tito.terminal.ranking import show_plan

    ranked = [row.receipt for board in standing.boards for row in board.rows]
    show(show_plan(plan(ranked, entries)))


def _write_pages(here: Project, standing: Standing, titles: dict[str, str]) -> Path:
    """Write the leaderboard and its link from the index."""
    from tito.bench.store import Store
    from tito.cli.known import known_suites, library
    from tito.report.leaderboard import write_leaderboard
    from tito.report.pages import write_index

    page = write_leaderboard(standing, here.reports, titles)
    write_index(library(Store(here.reports)), here.reports, known_suites(here))
    return page
