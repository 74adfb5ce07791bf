"""tito.report.owntime: shares and functions of time and memory as tables, and one line without them."""

from __future__ import annotations

from tests.report.sample import make_record
from tito.bench.record import Allocation, Allocations, Stacks
from tito.report import units
from tito.report.owntime import by_function
from tito.report.pieces import Absent, Grid

STACKS = Stacks(
    tool="py-spy",
    rate_hz=200,
    seconds=1.0,
    native=True,
    collapsed=[("train (workload.py);sgemm_kernel (libopenblas.so)", 75), ("train (workload.py)", 25)],
)
HELD = Allocations(
    tool="memray 1.0",
    of="inference",
    peak=4_000_000,
    functions=[Allocation(function="im2col", file="tinytorch/arrays/windows.py", bytes=3_000_000)],
)


def plain(rows: list[list[str]]) -> list[list[str]]:
    return [[cell.replace(units.THIN, " ") for cell in row] for row in rows]


def test_time_and_memory_are_shown_by_function() -> None:
    profile = make_record().profile
    assert profile is not None
    time, memory = by_function(profile.model_copy(update={"stacks": STACKS, "allocations": HELD}))
    assert isinstance(time, Grid)
    assert isinstance(memory, Grid)
    assert "BLAS 75.00 %, Python 25.00 %" in time.says.replace(units.THIN, " ")
    assert plain(time.rows)[0] == ["sgemm_kernel", "BLAS", "libopenblas.so", "75.00 %"]
    assert plain(memory.rows) == [["im2col", "windows.py", "3.00 MB", "75.00 %"]]
    assert "in inference" in memory.says


def test_without_compiled_frames_and_without_memray_the_page_says_so() -> None:
    profile = make_record().profile
    assert profile is not None
    time, memory = by_function(profile)
    assert time.says.startswith("Only Python's functions were sampled")
    assert isinstance(memory, Absent)
    assert "memray" in memory.says
    assert by_function(None) == []


def test_a_run_that_was_not_profiled_does_not_say_that_memray_is_missing() -> None:
    profile = make_record().profile
    assert profile is not None
    (memory,) = by_function(profile.model_copy(update={"stacks": None}))
    assert isinstance(memory, Absent)
    assert "install" not in memory.says
