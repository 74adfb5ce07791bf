from __future__ import annotations

import numpy as np
import pytest

from tests.report.sample import make_profile, plot
from tito.bench.record import Stacks
from tito.report.flame import flame_graph, frame_totals, label


def test_icicle_totals_are_the_sum_of_samples() -> None:
    stacks = make_profile(np.random.default_rng(0)).stacks
    assert stacks is not None
    icicle = plot(flame_graph(stacks)).data[0]
    value = dict(zip(icicle["ids"], icicle["values"], strict=True))
    root = icicle["ids"][icicle["parents"].index("")]
    assert icicle["parents"].count("") == 1
    assert value[root] == sum(n for _, n in stacks.collapsed) == 1000
    for parent in set(icicle["parents"]) - {""}:
        children = [value[own] for own, of in zip(icicle["ids"], icicle["parents"], strict=True) if of == parent]
        assert sum(children) <= value[parent]


def test_frames_are_summed_along_the_stack() -> None:
    totals = frame_totals([(("a", "b"), 3), (("a", "c"), 2), (("a",), 1)])
    assert totals == {(): 6, ("a",): 6, ("a", "b"): 3, ("a", "c"): 2}


def test_shared_frames_are_left_out_and_said() -> None:
    stacks = make_profile(np.random.default_rng(0)).stacks
    piece = plot(flame_graph(stacks))
    assert "Omitted: the 2 frames with which every stack begins" in piece.says
    assert not any("workload.py" in text for text in piece.data[0]["labels"])
    alone = Stacks(tool="py-spy", rate_hz=100, seconds=1, collapsed=[("a;b", 2)])
    assert plot(flame_graph(alone)).data[0]["labels"] == ["all", "b"]


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
