"""tito.bench.allocating: the function that holds the memory is named, in a training and in a served model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tito.bench import allocating, probes
from tito.bench.record import Record
from tito.bench.suites import load_suite

Edit = Callable[[dict[str, Any]], object]
needs_memray = pytest.mark.skipif(allocating.version() is None, reason="memray is not installed")


def hoard(size: int) -> np.ndarray:
    return np.ones(size, np.uint8)


@needs_memray
def test_the_function_that_holds_the_memory_comes_first(tmp_path: Path) -> None:
    kept = []

    def work() -> None:
        kept.append(hoard(48 * 2**20))
        raise allocating.Enough

    found = allocating.held_at_the_peak(tmp_path / "memory.bin", work)
    first = found["functions"][0]
    assert first["function"] in ("hoard", "ones")  # NumPy's own function is written in Python
    assert first["bytes"] >= 48 * 2**20
    assert found["peak"] >= first["bytes"]
    assert len(found["functions"]) <= allocating.MOST


def test_a_training_is_ended_after_some_seconds() -> None:
    seen = []
    endless = allocating.until(-1.0, lambda done, total, **figures: seen.append(done))
    with pytest.raises(allocating.Enough):
        endless(1, 2, loss=0.5)
    allocating.until(1000.0, lambda done, total, **figures: seen.append(done))(2, 2)
    assert seen == [1, 2]


@pytest.fixture
def ran(suite_folder: Callable[[Edit], Path], run_quick: Callable[..., Record]) -> Callable[[str], Record]:
    def run(observe: str) -> Record:
        def edit(document: dict[str, Any]) -> None:
            document["profile"] |= {"observe": observe, "stack_seconds": 0.2}

        return run_quick(load_suite(suite_folder(edit)))

    return run


@needs_memray
@pytest.mark.parametrize("observe", ["training", "inference"])
def test_a_record_holds_what_held_the_memory(
    ran: Callable[[str], Record], monkeypatch: pytest.MonkeyPatch, observe: str
) -> None:
    monkeypatch.setattr(probes, "find_py_spy", lambda: None)
    record = ran(observe)
    assert record.profile is not None
    found = record.profile.allocations
    assert found is not None
    assert found.of == observe
    assert found.tool.startswith("memray ")
    assert found.functions
    assert found.peak >= found.functions[0].bytes > 0
    assert not any(held.file.startswith("/") for held in found.functions)


def test_without_memray_there_is_nothing_and_the_run_passes(
    ran: Callable[[str], Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "find_py_spy", lambda: None)
    monkeypatch.setattr(allocating, "version", lambda: None)
    record = ran("training")
    assert record.status == "passed"
    assert record.profile is not None
    assert record.profile.allocations is None
    assert [omission.what for omission in record.omitted] == ["stacks"]
