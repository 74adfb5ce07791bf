"""The competition in the terminal: ranked tables, refused entries with their codes, and what is not ranked and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from tito.compete.ranking import Board, Row, Standing, Unranked
from tito.compete.receipt import Anchor, ProblemText, QualityMetric, Receipt
from tito.errors import printable
from tito.report import standings, units
from tito.report.entry import ratio_text
from tito.terminal.tables import indented, lines, plain, table

WIDE = 112  # columns that the whole table needs


def show_standing(standing: Standing, titles: Mapping[str, str], track: str | None = None) -> RenderableType:
    """Show each track and division as a table, then what was refused, the ground, and the self-tests.

    Args:
        titles: how tracks are shown, by name, in their order.
        track: the only one to show; all if None.
    """
    order = {name: i for i, name in enumerate(titles)}
    boards = sorted(standing.boards, key=lambda board: order.get(board.track, len(order)))
    boards = [board for board in boards if track in (None, board.track)]
    parts: list[RenderableType] = []
    for board in boards:
        parts += [Text(), _Ranked(board, f"{titles.get(board.track, board.track)}, {board.division}")]
    if not boards:
        parts += [Text(), Text("no entry is verified yet; tito verify measures what is in the folder")]
    refused = [receipt for receipt in standing.refused if track in (None, receipt.track)]
    if refused:
        parts += [Text(), Text("refused", style="bold"), lines([line for one in refused for line in _refused(one)])]
    parts += [Text(), lines(_facts(standing, titles))]
    notes = [standings.PUBLIC] * any(board.division == "open" for board in boards) + [standings.TRADEMARK]
    return Group(*parts, Text(), Text("\n".join(notes), style="dim"))


def show_pending(standing: Standing) -> RenderableType:
    """Show the entries without a valid receipt of the ground, each with the reason."""
    if not standing.stale and not standing.pending:
        return Text("every entry has a valid receipt")
    parts: list[RenderableType] = []
    for name, entries in (("stale", standing.stale), ("pending", standing.pending)):
        if entries:
            parts += [Text(name, style="bold"), lines([(one.entry, _why(one)) for one in entries])]
    return Group(*parts)


class Figures(Protocol):
    """What was measured of one model in one round."""

    @property
    def quality(self) -> float: ...
    @property
    def p50_us(self) -> float: ...
    @property
    def batch_us(self) -> float: ...
    @property
    def file_bytes(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...


class Compared(Protocol):
    """A model and its track's reference, measured together."""

    @property
    def own(self) -> Figures: ...
    @property
    def reference(self) -> Figures: ...
    @property
    def lost(self) -> float: ...
    @property
    def gate_met(self) -> bool: ...


def show_preview(entry: str, metric: QualityMetric, preview: Compared) -> RenderableType:
    """Show one round of a model next to the reference, before it is submitted. It ranks nothing."""
    own, other = preview.own, preview.reference
    made = table(printable(entry), "entry", "reference", "", right=["entry", "reference", ""])
    for row in (
        standings.quality_line(metric, own.quality, other.quality, preview.lost),
        standings.time_line("p50", own.p50_us, other.p50_us),
        standings.time_line(standings.BATCH, own.batch_us, other.batch_us),
        standings.bytes_line(standings.FILES, own.file_bytes, other.file_bytes),
        standings.bytes_line(standings.MEMORY, own.memory_bytes, other.memory_bytes),
    ):
        made.add_row(*map(plain, row))
    gate = Text("quality gate met", style="green")
    if not preview.gate_met:
        gate = Text("quality gate missed: it would be ranked by quality only", style="red")
    return Group(indented(made), indented(gate), indented(Text("one round; it ranks nothing", style="dim")))


class Cost(Protocol):
    """What verifying entries of one track takes, on average."""

    @property
    def track(self) -> str: ...
    @property
    def receipts(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def model_bytes(self) -> float: ...
    @property
    def receipt_bytes(self) -> float: ...


class Needs(Protocol):
    """What a number of entries a day needs."""

    @property
    def entries(self) -> int: ...
    @property
    def tracks(self) -> Sequence[Cost]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def batch_seconds(self) -> float: ...
    @property
    def self_test_seconds(self) -> float: ...
    @property
    def hosts(self) -> int: ...
    @property
    def hours(self) -> float: ...
    @property
    def bytes(self) -> float: ...


def show_plan(plan: Needs) -> RenderableType:
    """Show what a number of entries a day needs, and what it is reckoned from."""
    made = table("track", "receipts", "one entry", "model files", "receipt", right=["receipts"])
    for cost in plan.tracks:
        sizes = [plain(units.size(count)) for count in (cost.model_bytes, cost.receipt_bytes)]
        made.add_row(cost.track, str(cost.receipts), plain(units.seconds(cost.seconds)), *sizes)
    needs = [
        ("entries a day", units.integer(plan.entries)),
        ("one entry", f"{units.seconds(plan.seconds)} on average, in the receipts' proportions of tracks"),
        ("self-tests", f"{units.seconds(plan.batch_seconds)} for each entry, estimated from their rounds"),
        ("", f"{units.seconds(plan.self_test_seconds)} more for each run on a host"),
        ("measuring", f"{units.significant(plan.hours)} hours"),
        ("hosts", f"{plan.hosts}, each like the one that was measured, with one run a day"),
        ("storage", f"{units.size(plan.bytes)} a day"),
    ]
    return Group(indented(made), Text(), lines(needs))


class _Ranked:
    """A board as a table; below WIDE columns gate and techniques move below other figures."""

    def __init__(self, board: Board, title: str) -> None:
        self._board, self._title = board, title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        heads = ["rank", "group", "entry", "speedup", "quality", "size", *(["gate", "techniques"] if wide else [])]
        made = table(*heads, right=["rank", "group"])
        made.padding = (0, 2, 0, 0)
        for column in made.columns:
            column.no_wrap = column.header in ("speedup", "quality", "size", "gate")
        for row in self._board.rows:
            place = standings.place(row, "latency")
            made.add_row(place.value, place.detail, *(_wide(row) if wide else _narrow(row)))
        yield Text(self._title, style="bold")
        yield indented(made)


def _wide(row: Row) -> list[RenderableType]:
    gate = _cell("met" if row.receipt.quality_gate_met else "missed", _lost(row), style=_gate_style(row))
    figures = [standings.ratio(row), standings.quality(row), standings.size(row.receipt)]
    return [
        _cell(_name(row), row.receipt.title, style="bold"),
        *(_cell(figure.value, figure.detail) for figure in figures),
        gate,
        Text(_techniques(row)),
    ]


def _narrow(row: Row) -> list[RenderableType]:
    ratio, quality, size = standings.ratio(row), standings.quality(row), standings.size(row.receipt)
    gate = "" if row.receipt.quality_gate_met else ", gate missed"
    return [
        _cell(_name(row), row.receipt.title, _techniques(row), style="bold"),
        _cell(ratio.value, ratio.detail),
        _cell(quality.value, quality.detail, f"{_lost(row)}{gate}"),
        _cell(size.value, size.detail.partition(" of ")[0]),
    ]


def _name(row: Row) -> str:
    return f"{row.receipt.entry}{' *' if row.front else ''}"


def _lost(row: Row) -> str:
    quality = row.receipt.quality
    return standings.lost(quality.metric, quality.lost) if quality else ""


def _gate_style(row: Row) -> str:
    return "green" if row.receipt.quality_gate_met else "red"


def _techniques(row: Row) -> str:
    receipt = row.receipt
    shown = [name if name in receipt.techniques_checked else f"({name})" for name in receipt.techniques]
    return printable(" ".join(shown))


def _cell(value: str, *details: str, style: str = "") -> Text:
    """A figure, and below it smaller facts in a dimmer style."""
    text = Text(printable(plain(value)), style=style)
    for detail in filter(None, details):
        text.append(f"\n{printable(plain(detail))}", style="not bold dim")
    return text


def _refused(receipt: Receipt) -> list[tuple[str, str]]:
    entry = printable(receipt.entry)
    return [(entry if i == 0 else "", problem_line(problem)) for i, problem in enumerate(receipt.problems)]


def problem_line(problem: ProblemText) -> str:
    """Return a problem as `tito check` prints it: code file: field: found X, expected Y."""
    where = f"{problem.file}: {problem.field}" if problem.field else problem.file
    return printable(f"{problem.code} {where}: found {problem.found}, expected {problem.expected}")


def anchor_line(anchor: Anchor) -> str:
    """Return what measuring another host's entry here showed."""
    verdict = "ties, so both hosts share a ground" if anchor.ties else "differs, so this host has a ground of its own"
    return printable(f"anchor {anchor.entry}: {anchor.theirs:.3f}x there, {anchor.here:.3f}x here: {verdict}")


def _why(one: Unranked) -> str:
    return printable(f"{one.reason}{f' ({one.title})' if one.title else ''}")


def _facts(standing: Standing, titles: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    counted = ", ".join(f"{name} {count}" for name, count in standings.counts(standing))
    pairs = [("entries", counted)]
    unranked = len(standing.stale) + len(standing.pending)
    if unranked:
        pairs.append(("", "tito leaderboard --pending says why entries are stale or pending"))
    ground = standing.ground
    if ground:
        pairs.append(("ground", f"{ground.id}: {ground.backend}, BLAS kernel {ground.kernel}, NumPy {ground.numpy}"))
    for track, test in standing.self_tests.items():
        found = f"reference against itself {ratio_text(test.same)}; slowed by 10% {ratio_text(test.slowed)}"
        pairs.append((f"self-test {titles.get(track, track)}", f"{'passed' if test.passed else 'failed'}: {found}"))
    if any(row.front or row.receipt.techniques for board in standing.boards for row in board.rows):
        pairs.append(("marks", "* on the front of size, latency, and quality; (technique) declared by the author"))
    return pairs
