from __future__ import annotations

import numpy as np
import pytest

from tests.report.sample import make_profile
from tito.bench.record import Stacks
from tito.report.flame import flame_graph, frame_totals, label
from tito.report.pieces import Flame


def flame(stacks: Stacks | None) -> Flame:
    piece = flame_graph(stacks)
    assert isinstance(piece, Flame)
    return piece


def test_boxes_are_within_the_box_of_their_caller_and_never_overlap() -> None:
    piece = flame(make_profile(np.random.default_rng(0)).stacks)
    root, *others = piece.boxes
    assert (root.left, root.width, root.samples, root.share) == ("0%", "100%", 1000, "100.0%")
    ends: dict[int, float] = {}
    for box in sorted(others, key=lambda box: (box.depth, float(box.left[:-1]))):
        left, width = float(box.left[:-1]), float(box.width[:-1])
        assert left >= ends.get(box.depth, 0) - 1e-9
        ends[box.depth] = left + width
        callers = [one for one in piece.boxes if one.depth == box.depth - 1]
        assert any(
            float(one.left[:-1]) - 1e-2 <= left and left + width <= float(one.left[:-1]) + float(one.width[:-1]) + 1e-2
            for one in callers
        )
        assert width == pytest.approx(100 * box.samples / 1000, abs=0.01)
    assert piece.rows == 1 + max(box.depth for box in piece.boxes)


def test_own_time_is_where_stacks_end() -> None:
    stacks = Stacks(tool="py-spy", rate_hz=100, seconds=1, collapsed=[("a;b", 6), ("a", 3), ("a;b;a", 1)])
    rows = flame(stacks).table.rows
    assert rows == [["b", "", "60.0%", "70.0%"], ["a", "", "40.0%", "100.0%"]]


def test_frames_are_summed_along_the_stack() -> None:
    totals = frame_totals([(("a", "b"), 3), (("a", "c"), 2), (("a",), 1)])
    assert totals == {(): 6, ("a",): 6, ("a", "b"): 3, ("a", "c"): 2}


def test_shared_frames_are_left_out_and_said() -> None:
    piece = flame(make_profile(np.random.default_rng(0)).stacks)
    assert "Omitted: the 2 frames with which every stack begins" in piece.says
    assert not any("workload.py" in box.file for box in piece.boxes)
    alone = Stacks(tool="py-spy", rate_hz=100, seconds=1, collapsed=[("a;b", 2)])
    assert [box.function for box in flame(alone).boxes] == ["all", "b"]


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        ("fit (tinytorch/training.py:210)", "fit (training.py:210)"),
        ("<module> (C:\\code\\a.py:3)", "<module> (a.py:3)"),
        ("matmul (numpy/core.py)", "matmul (core.py)"),
        ("thread", "thread"),
    ],
)
def test_labels_are_function_and_file(frame: str, text: str) -> None:
    assert label(frame) == text
