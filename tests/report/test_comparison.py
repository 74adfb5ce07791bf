"""tito.report.comparison: the page of two runs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.report.sample import make_record, plot
from tito.bench.compare import compare_records
from tito.bench.record import Record
from tito.report import changes
from tito.report.comparison import as_rows, comparison_page, pieces, write_comparison
from tito.report.pieces import Absent, Grid
from tito.report.rendering import environment

A, B = make_record(number=0), make_record(number=9)
ROWS = compare_records(A, B)
EVIL = "</script><script>alert(1)</script>"


def test_the_page_names_both_runs_and_every_figure() -> None:
    page = comparison_page(A, B, ROWS, environment())
    assert "two runs compared" in page
    assert "tito record compare sample-0 sample-9" in page
    for one in ROWS:
        assert one.quantity.metric.title in page


def test_the_first_screen_states_both_runs_the_machine_and_the_backend() -> None:
    page = comparison_page(A, B, ROWS, environment())
    first = page.partition("<figure")[0]
    for part in (
        changes.tally(ROWS),
        "2021-01-01",
        "2021-01-10",
        "commit 0123456+",
        "Test CPU 9000, 2 cores",
        "onednn",
    ):
        assert part in first, part


def test_the_page_repeats_its_command_as_it_is_typed_here() -> None:
    page = comparison_page(A, B, ROWS, environment(lambda command: f"python -m {command}"))
    assert ">python -m tito record compare sample-0 sample-9</code>" in page


def test_the_figure_has_a_line_for_each_ratio_with_an_interval() -> None:
    drawn = plot(pieces(B, ROWS)[0])
    timed = [one for one in ROWS if not one.share and one.low is not None]
    assert len(drawn.data[0]["y"]) == len(timed)
    slower = drawn.data[0]["text"].index("slower")
    assert drawn.data[0]["x"][slower] > 0 or "Throughput" in drawn.data[0]["y"][slower]
    json.dumps(drawn.data, allow_nan=False)


def test_worse_cells_are_marked() -> None:
    (_, table) = pieces(B, ROWS)
    assert isinstance(table, Grid)
    marked = {table.rows[y][0] for y, _ in table.missed}
    assert "Latency, p50" in marked
    assert all(table.rows[y][1] in ("slower", "worse", "larger") for y, _ in table.missed)


def test_records_without_a_common_figure_have_a_line() -> None:
    (piece,) = pieces(B, [])
    assert isinstance(piece, Absent)


def test_text_of_records_is_no_markup() -> None:
    def evil(record: Record) -> Record:
        return record.model_copy(update={"note": EVIL, "title": EVIL})

    assert EVIL not in comparison_page(evil(A), evil(B), ROWS, environment())


def test_the_page_is_written_under_the_names_of_both(tmp_path: Path) -> None:
    path = write_comparison(A, B, ROWS, tmp_path)
    assert path == tmp_path / "comparisons" / "sample-0..sample-9.html"
    assert path.is_file()


def test_rows_are_plain_data() -> None:
    assert json.loads(json.dumps(as_rows(ROWS), allow_nan=False))[0]["figure"] == "mlp.accuracy"
