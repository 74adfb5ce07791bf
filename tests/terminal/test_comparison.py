"""tito.terminal.comparison: two runs in a terminal."""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.sample import make_case, make_record
from tests.terminal.sample import printed
from tito.bench.compare import compare_records
from tito.report import changes
from tito.terminal import comparison
from tito.terminal.comparison import show_comparison

A, B = make_record(number=0), make_record(number=9)
ROWS = compare_records(A, B)


@pytest.mark.parametrize("width", [80, 120])
def test_both_runs_and_each_figure_are_shown(width: int) -> None:
    text = printed(show_comparison(A, B, ROWS), width)
    assert "sample-0" in text
    assert "sample-9" in text
    for one in ROWS:
        assert one.quantity.metric.title in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    slower = next(line for line in text.splitlines() if "Latency, p50" in line)
    assert slower.split()[0] == "slower"


def test_at_60_columns_names_and_changes_are_whole() -> None:
    text = printed(show_comparison(A, B, ROWS), 60)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 60
    for one in ROWS:
        assert one.quantity.metric.title in text
        assert changes.interval(one) in text
    assert "columns with --wide" not in text


def test_the_tables_of_all_cases_have_the_same_columns() -> None:
    rng = np.random.default_rng(0)
    a, b = (make_record(number=n, cases=[make_case(rng), make_case(rng, name="x")]) for n in range(2))
    text = printed(show_comparison(a, b, compare_records(a, b)), 70)
    heads = [line.rstrip() for line in text.splitlines() if "95% interval" in line]
    assert len(heads) == 2
    assert len(set(heads)) == 1


def test_ties_of_many_figures_are_counted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MOST", 3)
    text = printed(show_comparison(A, B, ROWS))
    assert "Model file" not in text
    assert "; --all lists the ties" in text
    assert "Model file" in printed(show_comparison(A, B, ROWS, every=True))
