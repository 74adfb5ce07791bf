from __future__ import annotations

import base64

import numpy as np
import pytest

from tests.report.sample import all_exhibits, make_case, make_points, make_record, picture
from tinytorch.datasets.png import decode
from tito.bench.record import Bars, Confusion, Heatmaps, Lines, Pictures, Points, Series, Table, Texts
from tito.report.exhibits import RENDER, data_png, exhibits, piece_of, tint
from tito.report.pieces import Absent, Grid, Images, Passages, Plot


def test_every_kind_of_exhibit_has_a_renderer_and_renders() -> None:
    shown = all_exhibits(np.random.default_rng(0))
    assert {exhibit.kind for exhibit in shown} == set(RENDER)
    for exhibit in shown:
        piece = piece_of(exhibit, "Seed 1.")
        assert not isinstance(piece, Absent), piece
        assert piece.title == exhibit.title


def test_the_first_seed_of_each_case_is_shown_with_the_spread_over_seeds() -> None:
    rng = np.random.default_rng(0)
    cases = [make_case(rng, seeds=2, name="a"), make_case(rng, seeds=30, name="b")]
    sections = exhibits(make_record(cases=cases))
    assert [heading for heading, _ in sections] == ["a", "b"]
    assert [pieces[0].title for _, pieces in sections] == ["Loss by position"] * 2
    assert [pieces[-1].title for _, pieces in sections] == ["Test accuracy over seeds"] * 2


def test_confusion_keeps_counts_and_tells_the_mistakes() -> None:
    piece = piece_of(Confusion(title="c", classes=["cat", "dog"], counts=[[8, 2], [1, 9]]), "Seed 1.")
    assert isinstance(piece, Plot)
    assert piece.data[0]["text"] == [[8, 2], [1, 9]]
    assert "20 samples, 3 of them wrong" in piece.says


def test_pictures_hold_the_very_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    grey = pixels[..., 0]
    pictures = [picture("c", pixels.tolist()), picture("g", grey.tolist())]
    piece = piece_of(Pictures(title="p", pictures=pictures), "")
    assert isinstance(piece, Images)
    for image, truth in zip(piece.images, (pixels, grey), strict=True):
        head, _, content = image.src.partition(",")
        assert head == "data:image/png;base64"
        assert np.array_equal(decode(base64.b64decode(content)), truth)


def test_points_get_a_surface_and_a_border_where_there_is_a_grid() -> None:
    points = make_points(np.random.default_rng(0))
    piece = piece_of(points, "")
    assert isinstance(piece, Plot)
    assert [trace["type"] for trace in piece.data] == ["heatmap", "contour", "scatter", "scatter"]
    assert piece.data[1]["contours"]["start"] == 0.5
    assert "the decision boundary" in piece.says
    sure = piece_of(points.model_copy(update={"grid": [[0.9] * 40] * 40}), "")
    assert isinstance(sure, Plot)
    assert "shading: the model's output over the plane. " in sure.says
    bare = piece_of(points.model_copy(update={"grid": [], "grid_x": [], "grid_y": []}), "")
    assert isinstance(bare, Plot)
    assert sum(len(trace["x"]) for trace in bare.data) == 120


def test_heatmaps_share_one_scale_and_signed_ones_are_symmetric() -> None:
    maps = Heatmaps(title="h", x_title="k", y_title="q", names=["a", "b"], matrices=[[[0.0, 2.0]], [[1.0, -1.0]]])
    piece = piece_of(maps, "")
    assert isinstance(piece, Images)
    assert piece.scale is not None
    assert piece.scale[:2] == ("−2.00", "2.00")


def test_tint_runs_from_the_first_to_the_last_colour() -> None:
    ramp = ((0, 0, 0), (100, 50, 0), (200, 100, 50))
    colours = tint(np.array([[0.0, 0.5, 1.0]]), 0.0, 1.0, ramp)
    assert colours.tolist() == [[list(colour) for colour in ramp]]


def test_logarithmic_bars_begin_a_decade_below_the_smallest_and_have_their_numbers_at_their_ends() -> None:
    bars = Bars(title="b", y_title="GFLOP/s", names=["loops", "BLAS"], groups={"g": [0.04, 413]}, logarithmic=True)
    piece = piece_of(bars, "")
    assert isinstance(piece, Plot)
    axis = piece.layout["yaxis"]
    assert (axis["type"], axis["tickvals"]) == ("log", [0.01, 0.1, 1, 10, 100])
    assert axis["range"][0] == -2
    assert axis["range"][1] > np.log10(413)
    assert piece.data[0]["text"] == ["0.0400", "413"]
    assert "ten times" in piece.says


def test_logarithmic_lines_are_labelled_by_their_few_sizes_and_more_than_six_differ_in_dash() -> None:
    series = [Series(name=str(i), x=[16, 64, 2048], y=[0.01 * 3**i, 1, 100]) for i in range(8)]
    piece = piece_of(Lines(title="l", x_title="x", y_title="y", series=series, logarithmic=True), "")
    assert isinstance(piece, Plot)
    assert piece.layout["xaxis"]["tickvals"] == [16, 64, 2048]
    assert piece.layout["xaxis"]["type"] == piece.layout["yaxis"]["type"] == "log"
    assert len({(trace["line"]["color"], trace["line"]["dash"]) for trace in piece.data}) == 8


def test_bars_lie_down_where_names_are_long() -> None:
    short = piece_of(Bars(title="b", y_title="ms", names=["a"], groups={"g": [1]}), "")
    long = piece_of(Bars(title="b", y_title="ms", names=["a long name of a layer"], groups={"g": [1]}), "")
    assert isinstance(short, Plot)
    assert isinstance(long, Plot)
    assert (short.data[0]["y"], long.data[0]["x"]) == ([1.0], [1.0])


def test_table_sets_numbers_flush_right() -> None:
    piece = piece_of(Table(title="t", columns=["name", "n"], rows=[["a", 1234], ["b", None]]), "")
    assert isinstance(piece, Grid)
    assert piece.numeric == {1}
    assert piece.rows[1] == ["b", "–"]


def test_texts_are_kept_word_for_word() -> None:
    piece = piece_of(Texts(title="t", texts=[("h", "a <b>\n\tc")]), "")
    assert isinstance(piece, Passages)
    assert piece.texts == [("h", "a <b>\n\tc")]


@pytest.mark.parametrize(
    "exhibit",
    [
        Lines(title="x", x_title="", y_title="", series=[Series(name="s", x=[1, 2], y=[1])]),
        Confusion(title="x", classes=["a", "b"], counts=[[1]]),
        Pictures(title="x", pictures=[picture("", [[0, 256]])]),
        Pictures(title="x", pictures=[picture("", [[0, 1], [2]])]),
        Pictures(title="x", pictures=[picture("", [])]),
        Points(title="x", x=[1], y=[1, 2], label=[0]),
        Points(title="x", x=[1], y=[1], label=[0], grid_x=[0], grid_y=[0], grid=[[1, 2]]),
        Heatmaps(title="x", x_title="", y_title="", names=["a"], matrices=[[]]),
        Heatmaps(title="x", x_title="", y_title="", names=[], matrices=[]),
        Bars(title="x", y_title="", names=["a"], groups={"g": [1, 2]}),
        Bars(title="x", y_title="", names=["a"], groups={"g": [0]}, logarithmic=True),
        Bars(title="x", y_title="", names=[], groups={"g": []}, logarithmic=True),
        Lines(title="x", x_title="", y_title="", series=[Series(name="s", x=[1], y=[-1])], logarithmic=True),
        Table(title="x", columns=["a"], rows=[["1", "2"]]),
        Bars(title="x", y_title="", names=["a"], groups={"g": [1.7976931348623157e308]}),  # past what a page can hold
    ],
)
def test_an_exhibit_that_does_not_fit_itself_gives_one_line_and_no_crash(exhibit) -> None:
    piece = piece_of(exhibit, "")
    assert isinstance(piece, Absent)
    assert piece.says.startswith("This exhibit cannot be drawn: ")


def test_png_addresses_take_any_memory_layout() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4).T
    assert np.array_equal(decode(base64.b64decode(data_png(pixels).partition(",")[2])), pixels)


def test_pixels_outside_a_byte_are_named() -> None:
    piece = piece_of(Pictures(title="x", pictures=[picture("", [[-1, 0]])]), "")
    assert isinstance(piece, Absent)
    assert "pixels from -1 to 0; expected 0 to 255" in piece.says


def test_a_heatmap_has_its_values_unless_they_are_many() -> None:
    def images(side: int) -> Images:
        matrix = np.random.default_rng(0).random((side, side)).tolist()
        piece = piece_of(Heatmaps(title="t", x_title="x", y_title="y", names=["a"], matrices=[matrix]), "")
        assert isinstance(piece, Images)
        return piece

    few, many = images(10), images(200)
    assert few.values is not None
    assert np.shape(few.values) == (1, 10, 10)
    assert many.values is None
    assert "The values are in the record." in many.says
