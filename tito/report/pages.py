"""From records to HTML files: one offline page for each suite, and an index of them all.

A page loads nothing: it contains its styles, scripts, Plotly, and pictures. Its content security policy allows only
the scripts that this file has added (by their hash), so text in a record cannot run as a script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jinja2 import Environment

from tito.bench.record import Record
from tito.report import figures, units
from tito.report.curves import learning_curves
from tito.report.exhibits import exhibits
from tito.report.figures import title_of
from tito.report.flame import flame_graph
from tito.report.headline import card, headline, profiled
from tito.report.history import history, spark
from tito.report.overview import pieces as overview
from tito.report.owntime import by_function
from tito.report.pieces import Images, Piece, Plot, Tiles
from tito.report.rendering import JOURNEY, LEADERBOARD, environment, render, text_of, write_documents
from tito.report.verdicts import rows_of

# Errors that a record's own values can cause when they are drawn; one failed page must not prevent the others
UNSHOWABLE = (ValueError, TypeError, LookupError, ArithmeticError)
WORD = {"passed": "Gate met", "gate missed": "Gate missed", "failed": "Failed"}


@dataclass(frozen=True)
class Card:
    """A suite's card on the index page."""

    record: Record
    word: str
    reason: str | None
    groups: list[Tiles]
    spark: str | None


def write_pages(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write <suite>.html for each suite's newest record, full runs before others, and index.html.

    A record that cannot be shown gets a page that says why, and does not affect other pages. Return the paths, the
    index last.

    Raises:
        ReportError: the folder cannot be written.
    """
    jinja = environment()
    shown = newest(records)
    documents = {f"{record.suite}.html": _page_or_why_not(record, records, jinja) for record in shown}
    documents["index.html"] = index_page(shown, records, jinja, _others(folder))
    return write_documents(documents, folder)


def write_index(records: Sequence[Record], folder: Path) -> Path:
    """Write index.html alone, e.g. after the leaderboard was written for the first time.

    Raises:
        ReportError: the folder cannot be written.
    """
    page = index_page(newest(records), records, environment(), _others(folder))
    return write_documents({"index.html": page}, folder)[0]


def _others(folder: Path) -> list[str]:
    """Return the pages besides those of suites that are in the folder."""
    return [name for name in (LEADERBOARD, JOURNEY) if (folder / name).is_file()]


def newest(records: Sequence[Record]) -> list[Record]:
    """Return each suite's newest full run, or its newest other run if there is none, in historical order.

    A run from a clock that was set to the future does not hide those after it.
    """
    now = datetime.now(UTC) + timedelta(days=1)
    best: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: (record.full, record.created < now, record.created)):
        best[record.suite] = record
    return sorted(best.values(), key=lambda record: (record.year, record.suite))


def _page_or_why_not(record: Record, records: Sequence[Record], environment: Environment) -> str:
    try:
        return suite_page(record, records, environment)
    except UNSHOWABLE as error:
        return render(environment, "unshowable.html.j2", [], record=record, why=_why(error))


def _why(error: Exception) -> str:
    return f"This record cannot be shown: {type(error).__name__}: {error}"


def suite_page(record: Record, records: Sequence[Record], environment: Environment) -> str:
    """Return the page of one record."""
    from plotly.offline import get_plotlyjs

    return render(
        environment,
        "suite.html.j2",
        [get_plotlyjs(), text_of("figures.js"), text_of("copy.js")],
        record=record,
        word=WORD[record.status],
        cases=[(title_of(record, case), case.note, rows_of(record, case)) for case in record.cases],
        headline=headline(record),
        sections=[(heading, fill_rows(pieces)) for heading, pieces in _sections(records, record)],
        provenance=provenance(record),
    )


def _sections(records: Sequence[Record], record: Record) -> list[tuple[str, Sequence[Piece]]]:
    """Return the page's sections; figures of the profiled case name it where there are several cases."""
    profile, several = record.profile, len(record.cases) > 1
    case = next((case for case in record.cases if profile and case.name == profile.case), None)
    name = title_of(record, case) if case else "one case"
    of = f": {name}" if case and several else ""
    pieces = [
        figures.latency(profile, of),
        figures.throughput(profile, of),
        figures.memory(profile.memory if profile else None, of),
    ]
    curves = learning_curves(record)
    measured: list[tuple[str, Sequence[Piece]]] = [("Measurements", [*curves, *pieces])]
    if record.overview:
        says = f"The profiled case of this suite: {name}."
        tiles = [replace(group, title="Speed and size", says=says) for group in profiled(record) if profile]
        drawn = [curve for curve in curves if isinstance(curve, Plot)]
        measured = [
            ("Side by side", overview(record)),
            *([("Training", drawn)] if drawn else []),
            (f"Profile of {name}", [*tiles, *pieces]),
        ]
    return [
        *measured,
        *exhibits(record),
        (
            _where_the_time_goes(record),
            [flame_graph(profile.stacks if profile else None, of), *by_function(profile, of)],
        ),
        ("History on this machine", history(records, record)),
    ]


def _where_the_time_goes(record: Record) -> str:
    """Return the section's title, with what was observed."""
    if record.profile is None or record.profile.stacks is None:
        return "Where the time goes"
    work = next((case.work for case in record.cases if case.name == record.profile.case), "")
    return f"Where the time goes: {'inference' if record.profile.stacks.of == 'inference' else work or 'training'}"


def fill_rows(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces of a section so that no row of two is half empty; three narrow ones share one row.

    A piece that would be alone in its row is widened. A square piece stays narrow, next to the pictures after it.
    """
    if len(pieces) == 3 and not any(piece.wide for piece in pieces):
        return list(pieces)
    filled: list[Piece] = []
    half = False  # whether the row being filled has one narrow piece
    lonely = False  # whether this piece is square and will be alone
    for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
        alone = not piece.wide and not half and (after is None or after.wide)
        half = not piece.wide and not half and not alone
        square = isinstance(piece, Plot) and piece.shape == "square"
        beside = isinstance(piece, Images) and lonely
        lonely = alone and square
        filled.append(replace(piece, wide=not beside) if beside or (alone and not square) else piece)
    return filled


def index_page(
    shown: Sequence[Record], records: Sequence[Record], environment: Environment, others: Sequence[str] = ()
) -> str:
    """Return the index: all suites as cards, in historical order, and links to the other pages by file name."""
    cards = [_card(record, records) for record in shown]
    leaderboard, journey = (page if page in others else None for page in (LEADERBOARD, JOURNEY))
    return render(environment, "index.html.j2", [], cards=cards, leaderboard=leaderboard, journey=journey)


def _card(record: Record, records: Sequence[Record]) -> Card:
    word = WORD[record.status]
    try:
        line = None if record.overview else spark(records, record)  # no single case represents an overview
        return Card(record, word, record.reason, card(record), line)
    except UNSHOWABLE as error:
        return Card(record, word, _why(error), [], None)


def provenance(record: Record) -> list[tuple[str, str]]:
    """Return the origin of a record, as names and values."""
    source, machine, blas = record.provenance, record.provenance.machine, record.provenance.blas
    state = {True: ", with uncommitted changes", False: "", None: ""}[source.dirty]
    ratio = f", speed ratio {units.significant(blas.speedup)}" if blas.speedup else ""
    seeds = [f"{case.name}: {units.ranges([run.seed for run in case.runs])}" for case in record.cases if case.runs]
    return [
        ("Commit", f"{source.commit}{state}" if source.commit else "not a git checkout"),
        ("Machine", f"{machine.cpu}, {machine.cores} cores, {units.size(machine.memory_bytes)}, {machine.system}"),
        ("CPU features", ", ".join(machine.features) or "none that matter"),
        ("Machine fingerprint", machine.fingerprint),
        ("BLAS kernel", f"{blas.used} (default: {blas.default}{ratio}). {blas.why}"),
        *([("Kernel backend", source.backend.line)] if source.backend else []),
        ("Seeds", "; ".join(seeds) or "none ran"),
        ("Versions", f"tinytorch {source.tinytorch}, Python {source.python}, NumPy {source.numpy}"),
        ("Suite SHA-256", source.suite_sha256),
        ("Created", f"{record.created:%Y-%m-%d %H:%M:%S %Z}".strip()),
        ("Took", units.seconds(record.seconds)),
        ("Record", record.id),
    ]
