"""The leaderboard: a page with a section for each track and division, and a page for each entry with a receipt.

It shows what `tito.compete.ranking` says and decides nothing. Texts of strangers, such as titles, authors, and recipes,
are escaped.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tito.compete.ranking import CRITERIA, Board, Row, Standing, Unranked
from tito.compete.receipt import Receipt, SelfTest
from tito.report import charts, standings, units
from tito.report.attachments import Attachment
from tito.report.charts import Chart, Line, Mark, percent
from tito.report.entry import entry_page, ground_facts, ratio_text
from tito.report.pieces import cut
from tito.report.rendering import LEADERBOARD, environment, render, replace_documents, write_assets, write_documents
from tito.report.standings import Cell

RANKING = "leaderboard.json"
PAGES = "leaderboard"  # the folder of the entries' pages, beside leaderboard.html
ENTRY = re.compile(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*")
SYMBOLS = 4  # quality groups with a symbol of their own; later ones share the last


@dataclass(frozen=True)
class Bar:
    """An interval drawn in a cell: where it begins, how long it is, and where the value is, in percent."""

    left: str
    width: str
    at: str


@dataclass(frozen=True)
class Shown:
    """One row of a table."""

    receipt: Receipt
    href: str
    authors: str
    rank: Cell
    ratio: Cell
    bar: Bar | None
    quality: Cell
    lost: str
    size: Cell
    front: bool
    order: str  # position by latency, size, and quality; empty for one without a rank
    ranks: str  # "rank/group" by the same
    values: str  # ratio, bytes, and quality, to sort by

    @property
    def techniques(self) -> list[tuple[str, bool]]:
        """The techniques, and whether the files show them."""
        return [(name, name in self.receipt.techniques_checked) for name in self.receipt.techniques]


@dataclass(frozen=True)
class Section:
    """One track and division."""

    track: str
    title: str
    division: str
    rows: Sequence[Shown]
    chart: Chart | None
    one: Bar | None  # where the reference is in the intervals' cells
    higher_is_better: bool


def write_leaderboard(standing: Standing, folder: Path, titles: Mapping[str, str] | None = None) -> Path:
    """Write leaderboard.html and the entries' pages, and remove pages of entries without a receipt.

    Args:
        titles: how tracks are shown, by name, in their order.

    Raises:
        ReportError: the folder cannot be written.
    """
    jinja, titles = environment(), titles or {}
    rows = {row.receipt.entry: (row, board) for board in standing.boards for row in board.rows}
    stale = {one.entry: one.reason for one in standing.stale}
    pages = {}
    for entry in standing.history:
        row, board = rows.get(entry, (None, None))
        receipt = Attachment("Receipt as JSON", f"{PAGES}/{Path(file_name(entry)).stem}.json")
        shown = row.receipt if row else standing.history[entry][0]
        pages[receipt.name] = shown.model_dump_json(indent=1)
        pages[file_name(entry)] = entry_page(entry, row, board, standing, stale.get(entry), titles, jinja, [receipt])
    order = {track: i for i, track in enumerate(titles)}
    boards = sorted(standing.boards, key=lambda board: order.get(board.track, len(order)))
    tests = sorted(standing.self_tests.items(), key=lambda pair: order.get(pair[0], len(order)))
    sections = [_section(board, titles) for board in boards]
    page = render(
        jinja,
        "leaderboard.html.j2",
        scripts=["charts.js", "leaderboard.js"],
        styles=["leaderboard.css"],
        standing=standing,
        files=[Attachment("Ranking as JSON", RANKING)],
        sections=sections,
        counts=standings.counts(standing),
        tracks=list(dict.fromkeys((one.track, one.title) for one in sections)),
        divisions=list(dict.fromkeys(one.division for one in sections)),
        techniques=_techniques(standing),
        ground=ground_facts(standing.ground, _newest(standing)) if standing.ground else [],
        self_tests=[_self_test(titles.get(track, track), test) for track, test in tests],
        refused=[_refused(receipt, titles) for receipt in standing.refused],
        unranked=[("Stale", _listed(standing.stale, titles)), ("Pending", _listed(standing.pending, titles))],
        public=standings.PUBLIC,
        trademark=standings.TRADEMARK,
    )
    write_assets(jinja, folder)
    replace_documents(pages, folder / PAGES)
    ranking = json.dumps(standings.as_document(standing), indent=1)
    return write_documents({LEADERBOARD: page, RANKING: ranking}, folder)[0]


def file_name(entry: str) -> str:
    """Return the name of an entry's page: alice.int8.html."""
    if ENTRY.fullmatch(entry):
        return entry.replace("/", ".") + ".html"
    return hashlib.sha256(entry.encode()).hexdigest()[:16] + ".html"


def href(entry: str) -> str:
    """Return the address of an entry's page, from leaderboard.html."""
    return f"{PAGES}/{file_name(entry)}"


def _section(board: Board, titles: Mapping[str, str]) -> Section:
    limits = [(row.ratio_interval.low, row.ratio_interval.high) for row in board.rows if row.ratio_interval]
    scale = charts.axis([1.0, *(value for both in limits for value in both)], 0.02) if limits else None
    positions = {(criterion, row.receipt.id): i for criterion in CRITERIA for i, row in enumerate(board.by(criterion))}
    metrics = {row.receipt.quality.metric for row in board.rows if row.receipt.quality}
    return Section(
        board.track,
        titles.get(board.track, board.track),
        board.division,
        [_shown(row, positions, scale) for row in board.rows],
        _chart(board),
        _bar(1.0, 1.0, 1.0, scale) if scale else None,
        metrics != {"loss"},
    )


def _shown(row: Row, positions: Mapping[tuple, int], scale: charts.Axis | None) -> Shown:
    receipt = row.receipt
    places = [row.places.get(criterion) for criterion in CRITERIA]
    order = [positions.get((criterion, receipt.id), "") for criterion in CRITERIA]
    bar = None
    if row.ratio and row.ratio_interval and scale:
        bar = _bar(row.ratio_interval.low, row.ratio, row.ratio_interval.high, scale)
    return Shown(
        receipt,
        href(receipt.entry),
        cut(", ".join(receipt.authors), 60),
        standings.place(row, "latency"),
        standings.ratio(row),
        bar,
        standings.quality(row),
        standings.lost(receipt.quality.metric, receipt.quality.lost) if receipt.quality else "",
        standings.size(receipt),
        row.front,
        ",".join(map(str, order)),
        ",".join(f"{place.rank}/{place.group}" if place else "" for place in places),
        ",".join("" if value is None else f"{value:.6g}" for value in (row.ratio, row.size, row.quality)),
    )


def _bar(low: float, value: float, high: float, scale: charts.Axis) -> Bar:
    left, right = scale.at(low), scale.at(high)
    return Bar(percent(left), percent(right - left), percent(scale.at(value)))


def _chart(board: Board) -> Chart | None:
    """Draw size against speedup; None if no entry has both."""
    rows = [row for row in board.rows if row.ratio and row.ratio_interval and row.size and row.receipt.reference_bytes]
    if not rows:
        return None
    reference = rows[0].receipt.reference_bytes or 1
    across = charts.axis([reference, *(row.size or 1 for row in rows)], 0.06)
    ends = [
        end
        for row in rows
        if row.front and row.ratio_interval
        for end in (row.ratio_interval.low, row.ratio_interval.high)
    ]
    up = charts.axis([0.95, 1.05, *ends, *(row.ratio or 1 for row in rows)], 0.06)
    lines = [Line("one", charts.polyline([(0, up.at(1)), (1, up.at(1))]))]
    lines += [
        Line(
            "whisker",
            charts.polyline(
                [(across.at(row.size or 1), up.at(end)) for end in (row.ratio_interval.low, row.ratio_interval.high)]
            ),
        )
        for row in rows
        if row.front and row.ratio_interval
    ]
    front = _stairs([(across.at(row.size or 1), up.at(row.ratio or 1)) for row in rows if row.front])
    lines += [Line("stairs", charts.polyline(front))] if len(front) > 1 else []
    place = Mark(
        "reference",
        "r",
        percent(across.at(reference)),
        percent(1 - up.at(1)),
        "",
        f"Reference, {units.size(reference)}",
    )
    ordered = sorted(rows, key=lambda row: row.front)  # the front is drawn over the others
    return Chart(
        "Size of the model files",
        "Speedup",
        charts.x_ticks(across, "bytes"),
        charts.y_ticks(up, "times"),
        lines,
        [place, *(_mark(row, across, up) for row in ordered)],
    )


def _mark(row: Row, across: charts.Axis, up: charts.Axis) -> Mark:
    receipt, place = row.receipt, row.places.get("quality")
    group = min(place.group, SYMBOLS) if place else SYMBOLS
    symbol = str(group) if receipt.quality_gate_met else "x"
    ratio, size, quality = standings.ratio(row), standings.size(receipt), standings.quality(row)
    says = [f"{receipt.title} ({receipt.entry})", f"{ratio.value} ({ratio.detail})", size.value, quality.value]
    return Mark(
        f"q{symbol}{' front' if row.front else ''}",
        symbol,
        percent(across.at(row.size or 1)),
        percent(1 - up.at(row.ratio or 1)),
        href(receipt.entry),
        "\n".join(says),
        " ".join(receipt.techniques),
    )


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the steps that the best points make, from small to large: (x, y) with more y only for more x."""
    steps: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not steps or y > steps[-1][1]:
            steps += [(x, steps[-1][1])] if steps else []
            steps.append((x, y))
    return steps


def _techniques(standing: Standing) -> list[str]:
    return sorted({name for board in standing.boards for row in board.rows for name in row.receipt.techniques})


def _newest(standing: Standing) -> Receipt:
    """Return the newest receipt of the ground: its machine is described by it."""
    own = [one for every in standing.history.values() for one in every if one.ground == standing.ground]
    return max(own, key=lambda receipt: receipt.created)


def _self_test(track: str, test: SelfTest) -> tuple[str, str, str, str, bool]:
    when = f"{test.created:%Y-%m-%d %H:%M}"
    return track, ratio_text(test.same), ratio_text(test.slowed), f"{test.children} processes, {when} UTC", test.passed


def _refused(receipt: Receipt, titles: Mapping[str, str]) -> tuple[Receipt, str, str]:
    return receipt, href(receipt.entry), _where(receipt.track, receipt.division, titles)


def _listed(entries: Sequence[Unranked], titles: Mapping[str, str]) -> list[tuple[Unranked, str, str]]:
    """Return entries without a rank, each with the address of its page (none without a receipt) and its track."""
    return [(one, href(one.entry) if one.receipt else "", _where(one.track, one.division, titles)) for one in entries]


def _where(track: str | None, division: str | None, titles: Mapping[str, str]) -> str:
    return ", ".join(filter(None, [titles.get(track, track) if track else "", division or ""])) or standings.NONE
