"""Series are told apart without color, lines are named at their ends, and a figure's data is a table."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.report.sample import make_record, plot
from tito.report import units
from tito.report.curves import learning_curves
from tito.report.drawing import GAP, MOST_ROWS, data_table, end_labels, figure_of, spread_out
from tito.report.pieces import Plot


def line(name: str, *y: float, **more: Any) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": name, "x": list(range(len(y))), "y": list(y), **more}


def figure(*traces: dict[str, Any], **layout: Any) -> Plot:
    titles = {"xaxis": {"title": {"text": "epoch"}}, "yaxis": {"title": {"text": "loss"}}}
    return Plot("Figure", "", list(traces), {"showlegend": True, **titles, **layout})


def test_two_series_never_differ_in_color_alone() -> None:
    drawn = figure_of(figure(line("a", 1, 2), line("b", 2, 3), line("c", 3, 4)))["data"]
    assert len({trace["line"]["dash"] for trace in drawn}) == 3
    bars = [{"type": "bar", "name": name, "x": ["p"], "y": [1]} for name in "abc"]
    assert len({bar["marker"]["pattern"]["shape"] for bar in figure_of(figure(*bars))["data"]}) == 3
    dots = [line(name, 1, 2, mode="markers") for name in "ab"]
    assert len({trace["marker"]["symbol"] for trace in figure_of(figure(*dots))["data"]}) == 2


def test_runs_of_one_series_look_alike_and_a_stated_dash_stays() -> None:
    drawn = figure_of(figure(line("a", 1, 2), line("a", 2, 3), line("b", 1, 1, line={"dash": "dot"})))["data"]
    assert [trace.get("line", {}).get("dash") for trace in drawn] == ["solid", "solid", "dot"]


def test_the_piece_itself_is_not_changed() -> None:
    piece = figure(line("a", 1, 2), line("b", 2, 3))
    figure_of(piece)
    assert "line" not in piece.data[0]
    assert "annotations" not in piece.layout


def test_lines_are_named_at_their_ends_without_touching() -> None:
    traces = [line("low", 0, 0), line("close", 5, 10), line("closer", 5, 10.01)]
    labels = end_labels(traces, {"showlegend": True})
    assert [label["text"] for label in labels] == ["low", "close", "closer"]
    heights = [label["y"] / 10.01 for label in labels]
    assert min(b - a for a, b in itertools.pairwise(heights)) >= GAP - 1e-9


def test_ends_on_a_logarithmic_axis_are_in_its_units() -> None:
    layout = {"showlegend": True, "yaxis": {"type": "log"}}
    low, high = end_labels([line("a", 1, 10), line("b", 1, 1000)], layout)
    assert (low["y"], high["y"]) == (pytest.approx(1), pytest.approx(3))


def test_few_or_many_lines_keep_their_legend() -> None:
    assert end_labels([line("a", 1, 2)], {"showlegend": True}) == []
    assert end_labels([line(name, 1, 2) for name in "abcdefg"], {"showlegend": True}) == []
    assert end_labels([line("a", 1, 2), line("b", 2, 3)], {"showlegend": False}) == []


@pytest.mark.parametrize("seed", range(20))
def test_moved_places_keep_their_order_distance_and_middle(seed: int) -> None:
    places = sorted(np.random.default_rng(seed).random(6).tolist())
    moved = spread_out(places, 0.08)
    assert all(b - a >= 0.08 - 1e-9 for a, b in itertools.pairwise(moved))
    assert np.mean(moved) == pytest.approx(np.mean(places))


def test_every_point_of_a_short_series_is_in_the_table() -> None:
    table = data_table(figure(line("train &amp; more", 1.5, 0.25), line("validation", 2.0, -0.5)))
    assert table is not None
    assert table.columns == ["series", "epoch", "loss"]
    assert table.rows == [
        ["train & more", "0", "1.5"],
        ["train & more", "1", "0.25"],
        ["validation", "0", "2"],
        ["validation", "1", "−0.5"],
    ]
    assert table.numeric == {1, 2}


def test_a_share_is_listed_in_percent() -> None:
    data = [{"type": "scatter", "mode": "markers", "x": [1.0, 2.0], "y": [0.25, 0.9901]}]
    made = data_table(Plot("Accuracy", "", data, {"yaxis": {"tickformat": ",.6~p"}}))
    assert made is not None
    assert [row[1].replace(units.THIN, " ") for row in made.rows] == ["25 %", "99.01 %"]
    assert made.numeric == {0, 1}


def test_a_long_series_is_thinned_to_its_last_point_and_says_so() -> None:
    table = data_table(figure(line("a", *range(1000))))
    assert table is not None
    assert len(table.rows) <= MOST_ROWS + 1
    assert (table.rows[0], table.rows[-1]) == (["0", "0"], ["999", "999"])
    assert "of 1000" in table.says


def test_a_confusion_matrix_is_listed_with_its_counts() -> None:
    cells = {
        "type": "heatmap",
        "x": ["cat", "dog"],
        "y": ["cat", "dog"],
        "z": [[0, 1], [2, 3]],
        "text": [[9, 1], [2, 8]],
    }
    table = data_table(figure(cells))
    assert table is not None
    assert table.rows == [["cat", "9", "1"], ["dog", "2", "8"]]


def test_learning_curves_end_with_their_names() -> None:
    figures = [figure_of(plot(piece)) for piece in learning_curves(make_record())]
    assert figures
    for drawn in figures:
        texts = {one["text"] for one in drawn["layout"].get("annotations", [])}
        names = {text for text in texts if not text.startswith(("gate ", "aim "))}
        assert names == {trace["name"] for trace in drawn["data"]}
