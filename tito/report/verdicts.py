"""Gates and aims with their measured values, as rows for the page and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tito.bench.record import CaseResult, Record, Verdict
from tito.report import units
from tito.report.figures import metric_of, title_of


@dataclass(frozen=True)
class Row:
    """One gate or aim of one case."""

    case: str
    role: Literal["gate", "aim"]
    metric: str
    direction: Literal["at_least", "at_most"]
    value: str  # the threshold: 95 %
    measured: str
    met: bool

    @property
    def result(self) -> Literal["met", "missed", "short"]:
        """Whether it was met, a gate was missed, or an aim was not reached."""
        return "met" if self.met else "missed" if self.role == "gate" else "short"

    @property
    def required(self) -> str:
        """The requirement in short: ≥ 95 %."""
        return f"{units.SIGN[self.direction]} {self.value}"


def verdict_rows(record: Record) -> list[Row]:
    """Return each gate and aim of each case, gates first."""
    return [row for case in record.cases for row in rows_of(record, case)]


def worst_first(record: Record) -> list[Row]:
    """Return each gate and aim: missed gates, missed aims, then those that were met."""
    return sorted(verdict_rows(record), key=lambda row: (row.met, row.role == "aim"))


def tally(record: Record) -> str:
    """Return how many requirements were met: 37 of 37 gates and 8 of 10 aims met. Empty if there are none."""
    verdicts = [verdict for case in record.cases for verdict in case.verdicts]
    words = []
    for role in ("gate", "aim"):
        met = [verdict.met for verdict in verdicts if verdict.role == role]
        words += [f"{sum(met)} of {len(met)} {role}{'s' * (len(met) != 1)}"] * bool(met)
    return f"{' and '.join(words)} met" if words else ""


def rows_of(record: Record, case: CaseResult) -> list[Row]:
    """Return the gates of one case, then its aims."""
    ordered = sorted(case.verdicts, key=lambda verdict: verdict.role == "aim")
    return [_row(record, case, verdict) for verdict in ordered]


def _row(record: Record, case: CaseResult, verdict: Verdict) -> Row:
    criterion = verdict.criterion
    metric = metric_of(record, criterion.metric)
    summary = case.summary.get(criterion.metric)
    measured = "not measured"
    if summary:
        measured = units.measured(verdict.measured, criterion.over, summary.n, summary.sd, metric.unit)
    return Row(
        case=title_of(record, case),
        role=verdict.role,
        metric=metric.title,
        direction=criterion.direction,
        value=units.demand(criterion.value, metric.unit),
        measured=measured,
        met=verdict.met,
    )
