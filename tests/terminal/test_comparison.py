"""tito.terminal.comparison: two runs in a terminal."""

from __future__ import annotations

import pytest

from tests.report.sample import make_record
from tests.terminal.sample import printed
from tito.bench.compare import compare_records
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


def test_ties_of_many_figures_are_counted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MOST", 3)
    text = printed(show_comparison(A, B, ROWS))
    assert "Model file" not in text
    assert "; --all lists the ties" in text
    assert "Model file" in printed(show_comparison(A, B, ROWS, every=True))
