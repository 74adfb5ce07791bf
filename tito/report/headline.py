"""The figures to read first, chosen once for the page, the index, and the terminal. Pure functions of a record.

A suite with an overview opens with the best cases of each track, any other suite with its profiled case.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tito.bench.history import Change
from tito.bench.judge import interval_of, point, quality_of
from tito.bench.quantities import profile_name
from tito.bench.record import CaseResult, Profile, Record
from tito.report import changes, figures, units
from tito.report.history import primary
from tito.report.overview import figure, grouped, reference
from tito.report.pieces import Tile, Tiles

CARD = ("p50", "")  # the marks of the figures that a card of the index shows
NOT_ON_A_CARD = ("Throughput", "Peak memory")


def headline(record: Record) -> list[Tiles]:
    """Return the groups of figures that a record opens with."""
    return best_by_track(record) if record.overview else profiled(record)


def card(record: Record) -> list[Tiles]:
    """Return the headline of a record in short, for the index."""
    if record.overview:
        return best_by_track(record)
    return [
        Tiles(group.title, group.says, [t for t in group.tiles if t.mark in CARD and t.title not in NOT_ON_A_CARD])
        for group in profiled(record)
    ]


def with_changes(groups: Sequence[Tiles], found: Mapping[str, Change]) -> list[Tiles]:
    """Return the groups with each figure's change against earlier runs, if any: "+25.0 %, worse than usual"."""
    return [replace(group, tiles=[_with_change(tile, found.get(tile.key)) for tile in group.tiles]) for group in groups]


def _with_change(tile: Tile, one: Change | None) -> Tile:
    if one is None:
        return tile
    few = " vs. the run before" if one.runs == 1 else f" vs. the median of {one.runs} runs"
    ends = {"": few, "as usual": ", as usual", "changed": ", changed"}
    return replace(tile, change=changes.size(one) + ends.get(one.word, f", {one.word} than usual"), word=one.word)


def best_by_track(record: Record) -> list[Tiles]:
    """Return for each track its smallest, its fastest, and its best case, of the cases that meet their gates.

    The track's reference is excluded, because the others are compared with it. A track without a size, a time, and a
    quality has the case with the largest speedup, if it measures one.
    """
    groups = []
    for track, cases in grouped(record).items():
        base = reference(record, cases)
        points = {case.name: found for case in cases if record.overview and (found := point(record.overview, case))}
        able = [case for case in cases if case.name in points and case is not base]
        if points:
            groups.append(Tiles(track, _reference_line(record, base), _best(record, able, points)))
        elif fastest := _fastest(record, cases):
            groups.append(Tiles(track, "", [fastest]))
    return groups


def _fastest(record: Record, cases: Sequence[CaseResult]) -> Tile | None:
    """Return the case with the largest of the first speedup that the track measures, if it meets its gates."""
    columns = record.overview.columns if record.overview else []
    able = [case for case in cases if all(verdict.met for verdict in case.verdicts if verdict.role == "gate")]
    for name in columns:
        measured = [case for case in able if name in case.summary]
        if measured and figures.metric_of(record, name).unit == "times":
            best = max(measured, key=lambda case: figure(case, name))
            short = figures.metric_of(record, name).short
            return Tile("Fastest", _shown(record, best, name), short, case=best.title, key=f"{best.name}.{name}")
    return None


def _best(record: Record, cases: Sequence[CaseResult], points: dict[str, tuple[float, float, float]]) -> list[Tile]:
    """Return the first case by size, by time, and by quality; among equals, the one that is better in the rest."""
    overview = record.overview
    assert overview is not None
    if not cases:
        return []
    smallest, fastest, best = (min(cases, key=lambda case: (points[case.name][i], points[case.name])) for i in range(3))
    quality = quality_of(overview, best) or ""
    metric = figures.metric_of(record, quality)
    return [
        _tile(record, "Smallest", smallest, overview.size),
        _tile(record, "Fastest", fastest, overview.time),
        _tile(record, f"Best {metric.short or metric.title.lower()}", best, quality),
    ]


def _tile(record: Record, title: str, case: CaseResult, name: str) -> Tile:
    """Return one figure of a case, and the same relative to the track's reference where the case measures that."""
    assert record.overview is not None
    gain = record.overview.relative.get(name, "")
    note = _shown(record, case, gain, named=True)
    return Tile(title, _shown(record, case, name), note, case=case.title, key=f"{case.name}.{name}")


def _shown(record: Record, case: CaseResult, name: str, named: bool = False) -> str:
    """Return a figure with its unit and, if `named`, its short name: 7.96 % of FP32. Empty if it is not measured."""
    if name not in case.summary:
        return ""
    metric = figures.metric_of(record, name)
    text = units.quantity(figure(case, name), metric.unit)
    return f"{text} {metric.short or metric.title}" if named else text


def _reference_line(record: Record, base: CaseResult | None) -> str:
    """Return the reference's size, time, and quality in one line."""
    if base is None or record.overview is None:
        return ""
    names = (record.overview.size, record.overview.time, quality_of(record.overview, base) or "")
    return f"{base.title}: {', '.join(filter(None, (_shown(record, base, name) for name in names)))}"


def profiled(record: Record) -> list[Tiles]:
    """Return the figures of the profiled case: quality, latency, throughput, memory, size, and training time.

    Without a profile, e.g. after a missed gate, they are the first case's quality and training time.
    """
    found = primary(record)
    if found is None:
        return []
    case, name = found
    tiles = []
    if name in case.summary:
        metric, summary = figures.metric_of(record, name), case.summary[name]
        value, spread = units.quantity(summary.mean, metric.unit), ""
        if summary.sd is not None:
            spread = units.spread(summary.mean, summary.sd, summary.n, metric.unit).removeprefix(value).strip(" ()")
        note = (spread or _seeds(summary.n)) + _interval(case, name)
        tiles.append(Tile(metric.title, value, note, key=f"{case.name}.{name}"))
    tiles += of_profile(record.profile, frozenset(case.summary)) if record.profile else []
    tiles += filter(None, [training_time(case)])
    return [Tiles(figures.title_of(record, case), "", tiles)]


def _interval(case: CaseResult, name: str) -> str:
    """Return the binomial interval of a share of items, as the end of a note; empty for another metric."""
    found = interval_of(case, name)
    if found is None:
        return ""
    low, high = (units.quantity(end, "%") for end in found)
    return f"; 95% interval {low} to {high}"


def of_profile(profile: Profile, metrics: frozenset[str] = frozenset()) -> list[Tile]:
    """Return a profile's figures; what it lacks is left out. `metrics` are the names of its case's metrics."""

    def key(name: str) -> str:
        return f"{profile.case}.{profile_name(name, metrics)}"

    tiles = []
    if profile.latency:
        for mark, value in figures.percentiles(profile.latency).items():
            text = units.microseconds(value)
            tiles.append(Tile("Latency", text, "one query at a time, alone", mark=mark, key=key(f"{mark}_us")))
    best = figures.best_throughput(profile)
    if best:
        note = f"at batch size {best[0].batch}"
        tiles.append(Tile("Throughput", units.rate(best[1]), note, key=key("samples_per_second")))
    if profile.memory:
        phase = figures.peak_phase(profile.memory)
        note = f"resident, in phase {phase}" if phase else "resident"
        tiles.append(Tile("Peak memory", units.size(profile.memory.peak), note, key=key("peak_bytes")))
    note = f"{units.integer(profile.parameter_count)} parameters"
    tiles.append(Tile("Model file", units.size(profile.model_bytes), note, key=key("model_bytes")))
    return tiles


def training_time(case: CaseResult) -> Tile | None:
    """Return a case's time for one training, or for what it does instead: the median over its seeds."""
    times = [run.metrics["train_seconds"] for run in case.runs if "train_seconds" in run.metrics]
    if not times or not case.work:
        return None
    note = _seeds(1) if len(times) == 1 else f"median, {_seeds(len(times))}"
    title, text = f"{case.work.capitalize()} time", units.seconds(statistics.median(times))
    return Tile(title, text, note, key=f"{case.name}.train_seconds")


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
