"""The page of one entry: its figures beside the reference's, its layers, its processes, and all of its receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jinja2 import Environment

from tito.compete.ranking import CRITERIA, Board, Row, Standing, median_ratio
from tito.compete.receipt import LEVELS, Child, Ground, Ratio, Receipt, Times
from tito.report import charts, standings, units
from tito.report.attachments import Attachment
from tito.report.charts import Chart, Line
from tito.report.pieces import Absent, Grid, Piece, Tile
from tito.report.rendering import LEADERBOARD, render

MOST_LAYERS = 200
NONE = standings.NONE


def entry_page(
    entry: str,
    row: Row | None,
    board: Board | None,
    standing: Standing,
    stale: str | None,
    titles: Mapping[str, str],
    jinja: Environment,
    files: Sequence[Attachment],
) -> str:
    """Return the page of an entry with at least one receipt; `stale` says why none counts, if so."""
    receipts = standing.history[entry]
    receipt = row.receipt if row else receipts[0]
    state = "stale" if stale else receipt.status
    return render(
        jinja,
        "entry.html.j2",
        scripts=["charts.js"],
        styles=["leaderboard.css"],
        place="../",
        made=None,
        back=f"../{LEADERBOARD}",
        receipt=receipt,
        files=files,
        track=titles.get(receipt.track, receipt.track) if receipt.track else NONE,
        state=state,
        reason=stale or (standings.why_unranked(row) if row else ""),
        tiles=_tiles(receipt, row),
        ranks=_ranks(row, board) if row and board else [],
        distribution=_distribution(receipt.times),
        quantiles=_quantiles(receipt.times),
        tables=[_compared(receipt), _processes(receipt.times), _layers(receipt)] if receipt.times else [],
        problems=receipt.problems,
        facts=[*_facts(receipt), *ground_facts(receipt.ground, receipt)],
        receipts=_receipts(receipts, receipt, standing.ground),
        public=standings.PUBLIC if receipt.division == "open" else "",
        trademark=standings.TRADEMARK,
    )


def ratio_text(ratio: Ratio) -> str:
    """Return a comparison in words: tie, 1.002× (0.994–1.009×)."""
    return f"{ratio.verdict}, {ratio.ratio:.3f}× ({ratio.low:.3f}–{ratio.high:.3f}×)"


def ground_facts(ground: Ground, receipt: Receipt) -> list[tuple[str, str]]:
    """Return what must be the same for two figures to be compared; the receipt's machine is described in full."""
    machine = receipt.machine
    return [
        ("Ground", ground.id),
        ("Machine", f"{machine.cpu}, {machine.cores} cores, {units.size(machine.memory_bytes)}, {machine.system}"),
        ("Machine fingerprint", ground.machine),
        ("Kernel backend", ground.backend),
        ("BLAS kernel", ground.kernel),
        ("NumPy", ground.numpy),
        ("tinytorch SHA-256", ground.tinytorch_sha256),
        ("Rules SHA-256", ground.rules_sha256),
    ]


def _tiles(receipt: Receipt, row: Row | None) -> list[Tile]:
    tiles = []
    found = median_ratio(receipt)
    if found:
        detail = f"95% interval {standings.ratio(row).detail}" if row else "ratio of medians"
        tiles.append(Tile("Speedup over the reference", standings.times(found), detail))
    own = receipt.quality
    if own:
        detail = f"{standings.lost(own.metric, own.lost)}; reference {standings.level(own.metric, own.reference)}"
        name = "Test accuracy" if own.metric == "accuracy" else "Validation loss"
        tiles.append(Tile(name, standings.level(own.metric, own.value), detail))
    if receipt.file_bytes:
        cell = standings.size(receipt)
        tiles.append(Tile("Size of the model files", cell.value, cell.detail))
    if receipt.memory_bytes:
        other = receipt.reference_memory_bytes
        share = f"{standings.share_of(receipt.memory_bytes, other)} of reference" if other else ""
        tiles.append(Tile("Peak memory", units.size(receipt.memory_bytes), share))
    return tiles


def _ranks(row: Row, board: Board) -> list[tuple[str, str]]:
    """Return the entry's rank by each criterion, and with how many it is tied."""
    found = []
    for criterion in CRITERIA:
        place, groups = row.places.get(criterion), board.groups[criterion]
        if place is None:
            found.append((standings.NAMES[criterion], "no rank"))
            continue
        tied = groups[place.group] - 1
        with_others = f", tied with {tied} other{'s' * (tied != 1)}" if tied else ""
        found.append((standings.NAMES[criterion], f"rank {place.rank} of {groups.total()}{with_others}"))
    return found


def _distribution(times: Sequence[Child]) -> Chart | None:
    """Draw the share of queries that are answered within a time, a line for each process and model."""
    children = [child for child in times if child.own.quantiles_us and child.reference.quantiles_us]
    if not children:
        return None
    every = [value for child in children for one in (child.own, child.reference) for value in one.quantiles_us]
    across = charts.axis(every, 0.04)
    lines = [Line("reference", _cumulative(child.reference, across)) for child in children]
    lines += [Line("own", _cumulative(child.own, across)) for child in children]
    shares = [charts.Tick(charts.percent(1 - share / 100), f"{share}%") for share in (0, 25, 50, 75, 90)]
    return Chart("Latency of one query", "Share of queries", charts.x_ticks(across, "us"), shares, lines)


def _quantiles(times: Sequence[Child]) -> Grid:
    """Return the data of the distribution: the latency at each share of the queries, by process and model."""
    sides = [(f"{name} {child.round}", one) for child in times for name, one in _sides(child) if one.quantiles_us]
    rows = [
        [f"{level:g}{units.THIN}%", *(units.microseconds(one.quantiles_us[i]) for _, one in sides)]
        for i, level in enumerate(LEVELS)
    ]
    heads = ["share of queries", *(name for name, _ in sides)]
    return Grid("Latency by share of queries", "", heads, rows, numeric=frozenset(range(len(heads))))


def _sides(child: Child) -> list[tuple[str, Times]]:
    return [("entry", child.own), ("reference", child.reference)]


def _cumulative(times: Times, across: charts.Axis) -> str:
    points = zip(times.quantiles_us, LEVELS, strict=True)
    return charts.polyline([(across.at(value), level / 100) for value, level in points])


def _compared(receipt: Receipt) -> Grid:
    says = (
        "Times are medians over processes; each process times entry and reference in alternation. The last column is "
        "the speedup for times, and the share for bytes."
    )
    rows = [list(row) for row in standings.compared(receipt)]
    return Grid(
        "Compared with the reference",
        says,
        ["figure", "entry", "reference", "ratio or change"],
        rows,
        numeric=frozenset((1, 2, 3)),
    )


def _processes(times: Sequence[Child]) -> Grid:
    rows = [
        [
            str(child.round),
            units.microseconds(child.own.p50_us),
            units.microseconds(child.reference.p50_us),
            standings.times(child.reference.p50_us / child.own.p50_us),
            NONE if child.load_average is None else f"{child.load_average:.2f}",
            NONE if child.steal is None else f"{100 * child.steal:.1f}{units.THIN}%",
            NONE if child.context_switches is None else units.integer(child.context_switches),
            NONE if child.cpu_per_wall is None else f"{child.cpu_per_wall:.2f}",
        ]
        for child in times
    ]
    heads = ["round", "p50", "reference", "speedup", "load", "steal", "switches", "CPU/time"]
    says = (
        "Each row is a fresh process and one unit of statistics. Load: average over one minute when it began; steal: "
        "share of time that the hypervisor took; switches: involuntary context switches; CPU/time: CPU time divided by "
        "elapsed time."
    )
    return Grid("Processes", says, heads, rows, numeric=frozenset(range(1, len(heads))), wide=True)


def _layers(receipt: Receipt) -> Piece:
    if not receipt.layers:
        return Absent("Layers", "The receipt lists no layers.")
    rows = [
        [
            layer.name,
            layer.kind,
            ", ".join(layer.dtypes) or NONE,
            units.integer(layer.parameters),
            units.size(layer.bytes),
        ]
        for layer in receipt.layers[:MOST_LAYERS]
    ]
    left_out = len(receipt.layers) - len(rows)
    says = f"As the files show them{f'; {left_out} more are left out' if left_out else ''}."
    heads = ["name", "layer", "dtypes", "parameters", "bytes"]
    return Grid("Layers", says, heads, rows, numeric=frozenset((3, 4)), wide=True)


def _facts(receipt: Receipt) -> list[tuple[str, str]]:
    return [
        ("License", receipt.licence or NONE),
        ("Model SHA-256", receipt.model_sha256),
        ("Parent SHA-256", receipt.parent or "none stated"),
        ("Verified", f"{receipt.created:%Y-%m-%d %H:%M:%S} UTC, took {units.seconds(receipt.seconds)}"),
        ("Host", _host(receipt)),
        ("Self-test", _self_test(receipt)),
        ("Seal", receipt.seal or NONE),
    ]


def _host(receipt: Receipt) -> str:
    """Which machine of its kind, and the anchors by which its figures compare with those of others."""
    anchors = (
        f"anchor {one.entry} {'ties' if one.ties else 'differs'}: {one.theirs:.3f} on {one.host}, {one.here:.3f} here"
        for one in receipt.anchors
    )
    return "; ".join([receipt.host or NONE, *anchors])


def _self_test(receipt: Receipt) -> str:
    test = receipt.self_test
    if test is None:
        return NONE
    return f"reference against itself: {ratio_text(test.same)}; against a twin slowed by 10%: {ratio_text(test.slowed)}"


def _receipts(receipts: Sequence[Receipt], shown: Receipt, ground: Ground | None) -> Grid:
    rows = []
    for receipt in receipts:
        ratio = median_ratio(receipt)
        state = "another ground" if receipt.ground != ground else "counts" if receipt is shown else "older"
        rows.append(
            [
                f"{receipt.created:%Y-%m-%d %H:%M}",
                receipt.id,
                receipt.ground.id,
                receipt.status,
                standings.times(ratio) if ratio else NONE,
                standings.level(receipt.quality.metric, receipt.quality.value) if receipt.quality else NONE,
                state,
            ]
        )
    heads = ["created (UTC)", "receipt", "ground", "status", "speedup", "quality", "state"]
    says = "Every receipt is kept. The newest one of the current ground counts."
    return Grid("Receipts", says, heads, rows, numeric=frozenset((4, 5)), wide=True)
