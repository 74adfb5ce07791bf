"""tito.bench.observing: a served model is observed while it answers queries, with py-spy or without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tito.bench import observing, probes
from tito.bench.record import Record
from tito.bench.suites import load_suite

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def served(suite_folder: Callable[[Edit], Path], run_quick: Callable[..., Record]) -> Callable[[], Record]:
    """Runs the tiny suite, which observes its trained model."""

    def edit(document: dict[str, Any]) -> None:
        document["profile"] |= {"observe": "inference", "stack_seconds": 2.5}

    return lambda: run_quick(load_suite(suite_folder(edit)))


def test_without_py_spy_the_memory_of_the_served_model_is_still_sampled(
    served: Callable[[], Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "find_py_spy", lambda: None)
    record = served()
    assert record.status == "passed"
    assert record.profile is not None
    assert record.profile.memory is not None
    assert [phase.name for phase in record.profile.memory.phases] == ["load", "serve"]
    assert len(record.profile.memory.samples) >= 5
    assert [(omission.what, omission.why) for omission in record.omitted] == [("stacks", observing.NO_PY_SPY)]


@pytest.mark.skipif(probes.find_py_spy() is None, reason="py-spy is not installed")
def test_stacks_of_a_served_model_are_of_inference_and_not_of_training(served: Callable[[], Record]) -> None:
    record = served()
    assert record.profile is not None
    stacks = record.profile.stacks
    if stacks is None:
        pytest.skip(record.omitted[0].why)
    assert stacks.of == "inference"
    assert any("predict" in stack for stack, _ in stacks.collapsed)
    assert not any("train (workload.py" in stack for stack, _ in stacks.collapsed)
    assert not any("0x" in frame.partition(" (")[0] for stack, _ in stacks.collapsed for frame in stack.split(";"))


NO_NATIVE = """case "$*" in *--native*) echo 'Error: native traces are not supported' >&2; exit 1;; esac
[ "$1" = --version ] && exit 0
for last; do :; done; echo 'serve_queries (tito/bench/jobs.py);predict (workload.py) 7' > "$last\""""


def test_where_py_spy_cannot_read_compiled_code_python_s_functions_are_sampled(
    served: Callable[[], Record], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "py-spy"
    program.write_text(f"#!/bin/sh\n{NO_NATIVE}\n")
    program.chmod(0o755)
    monkeypatch.setattr(probes, "find_py_spy", lambda: str(program))
    record = served()
    assert record.profile is not None
    assert record.profile.stacks is not None
    assert not record.profile.stacks.native
    assert record.profile.stacks.collapsed == [("serve_queries (tito/bench/jobs.py);predict (workload.py)", 7)]
