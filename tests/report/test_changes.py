"""tito.report.changes: signs, units, and counts as they are read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.sample import make_record
from tito.bench.compare import compare_records
from tito.bench.history import change
from tito.bench.quantities import quantities
from tito.report import changes
from tito.report.units import THIN


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "+25.0"), (-0.032, "−3.2"), (0.0, "0.0"), (-0.0001, "0.0"), (9.0, "+900.0")],
)
def test_a_change_has_its_sign_and_zero_has_none(value: float, text: str) -> None:
    assert changes.percent(value) == f"{text}{THIN}%"


def test_points_have_two_decimals() -> None:
    assert changes.points(-0.0012) == "−0.12 points"


def test_the_tally_names_first_what_to_look_at() -> None:
    rows = compare_records(make_record(number=0), make_record(number=9))
    text = changes.tally(rows)
    assert text.split(", ")[0].endswith("slower")
    assert "tie" in text
    assert changes.tally([]) == "no figure is in both records"


def test_what_else_differs_is_listed() -> None:
    a, b = make_record(number=0), make_record(number=1, note="a try")
    newer = b.provenance.model_copy(update={"numpy": "2.5.0", "commit": None})
    pairs = dict(changes.origins(a, b.model_copy(update={"provenance": newer})))
    assert pairs["before"] == "2021-01-01 12:00, commit 0123456+, passed, sample-0"
    assert pairs["after"] == "2021-01-02 12:00, no commit, passed, sample-1, a try"
    assert pairs["also"] == "NumPy 2.4.0 → 2.5.0"


@pytest.mark.parametrize(
    ("key", "earlier", "value", "text"),
    [
        ("mlp.p50_us", [10.0] * 10, 12.5, f"+25.0{THIN}% against the median of 10 runs, worse"),
        ("mlp.p50_us", [10.0] * 7, 10.1, f"+1.0{THIN}% against the median of 7 runs, as usual"),
        ("mlp.p50_us", [10.0], 9.0, f"−10.0{THIN}% against the run before"),
        ("mlp.accuracy", [0.98] * 5, 0.985, "+0.50 points against the median of 5 runs, better"),
    ],
)
def test_a_figure_against_earlier_runs(key: str, earlier: list[float], value: float, text: str) -> None:
    quantity = replace(quantities(make_record())[key], value=value)
    assert changes.against(change(quantity, earlier)) == text
