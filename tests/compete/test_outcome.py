"""An entry measured end to end: real child processes, the repository's suite and reference, and little test data."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.compete.measuring import BACKEND, KERNEL, ROOT
from tinytorch.base.files import save_arrays
from tinytorch.quantized import quantize_dynamic
from tinytorch.saved import load_model, save_model, saved_bytes
from tito.compete import measure
from tito.compete.journal import Journal
from tito.compete.measure import REFERENCE, Host, host_for, one_round
from tito.compete.outcome import layers_of, outcome_of
from tito.compete.rules import Rules, load_rules
from tito.project import Project

REFERENCE_FOLDER = ROOT / "submissions" / "reference" / "mnist"


@pytest.fixture(scope="module")
def real_rules() -> Rules:
    return load_rules(Project(ROOT, ROOT / "suites", ROOT / "reports", ROOT / "submissions"))


@pytest.fixture(scope="module")
def host(real_rules: Rules) -> Iterator[Host]:
    """The mnist track with 300 random images in place of the test split."""

    def few(loaded: Any, case: Any, file: Path, pinned: Any) -> str:
        rng = np.random.default_rng(0)
        save_arrays(file, {"images": rng.integers(0, 256, (300, 28, 28), np.uint8), "labels": rng.integers(0, 10, 300)})
        return hashlib.sha256(file.read_bytes()).hexdigest()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "prepare_data", few)
        with host_for(real_rules, ["mnist"], KERNEL, BACKEND) as made:
            yield made


def test_an_honest_entry_is_measured_beside_the_reference(host: Host, tmp_path: Path) -> None:
    folder = save_model(quantize_dynamic(load_model(REFERENCE_FOLDER)), tmp_path / "int8")
    done: list[int] = []
    outcome = outcome_of(host, "mnist", folder, 2, Journal(tmp_path / "journal"), lambda: done.append(1))
    assert outcome.problems == []
    assert len(done) == 4  # two of quality, two of times
    quality = outcome.quality
    assert quality is not None
    assert quality.items == 300
    assert (quality.own() != quality.of_reference()).mean() < 0.05
    assert outcome.quality_gate_met is (quality.lost <= 0.01)
    assert [child.round for child in outcome.times] == [1, 2]
    for child in outcome.times:
        for side in (child.own, child.reference):
            assert side.p90_us is not None
            assert side.p99_us is not None
            assert 0 < side.quantiles_us[0] <= side.p50_us <= side.p90_us <= side.p99_us
        assert child.load_average is not None
        assert child.cpu_per_wall is not None
    assert outcome.file_bytes == saved_bytes(folder)
    assert outcome.reference_bytes == saved_bytes(REFERENCE_FOLDER)
    assert outcome.memory_bytes is not None
    assert outcome.reference_memory_bytes is not None
    assert 0 < outcome.memory_bytes < outcome.reference_memory_bytes


def test_rounds_in_the_journal_are_not_run_again(host: Host, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    first = one_round(host, "mnist", "times", REFERENCE, 1, journal=journal)
    assert one_round(host, "mnist", "times", tmp_path / "gone", 1, journal=journal) == first
    (tmp_path / "journal" / "mnist_times.1.json").write_text("{")
    assert one_round(host, "mnist", "times", REFERENCE, 1, journal=journal).raw != first.raw  # damaged: measured again


def test_the_slowed_twin_is_slower_by_its_share(host: Host) -> None:
    """Slowed to a tenth, because this machine may be busy."""
    run = one_round(host, "mnist", "times", REFERENCE, 1, slowed=9.0)
    assert run.metrics["speedup"] < 0.3


def test_softmax_over_the_batch_is_refused(host: Host, tmp_path: Path) -> None:
    reference = load_model(REFERENCE_FOLDER)
    assert isinstance(reference, tt.Sequential)
    folder = save_model(tt.Sequential(*reference.layers, tt.Softmax(0)), tmp_path / "softmax")
    (problem,) = outcome_of(host, "mnist", folder, 2).problems
    assert (problem.code, problem.file) == ("answers", "mnist_quality, round 1")
    assert "differ from the model's" in problem.found
    assert ".py" not in problem.found


def test_a_small_file_that_needs_gigabytes_is_refused_at_the_allocation(host: Host, tmp_path: Path) -> None:
    """Its weights are zeros, so the file is small; one layer makes 78 MB of every image."""
    tt.manual_seed(0)
    wide, narrow = tt.Linear(28, 700_000, bias=False), tt.Linear(700_000, 1, bias=False)
    for layer in (wide, narrow):
        layer.weight.data[:] = 0
    model = tt.Sequential(wide, narrow, tt.Flatten(), tt.Linear(28, 10))
    folder = save_model(model, tmp_path / "large", compress=True)
    assert saved_bytes(folder) < 1_000_000
    (problem,) = outcome_of(host, "mnist", folder, 2).problems
    assert problem.code == "memory"
    assert "Unable to allocate" in problem.found


def test_an_entry_that_is_gone_is_a_refusal_and_no_crash(host: Host, tmp_path: Path) -> None:
    (problem,) = outcome_of(host, "mnist", tmp_path / "nothing", 2).problems
    assert problem.code == "died"


def test_a_child_that_dies_is_a_refusal(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(REFERENCE_FOLDER, folder)
    monkeypatch.setenv("PYTHONFAULTHANDLER", "")
    broken = Host(host.rules, {**host.pinned, "PYTHONHOME": "/nowhere"}, host.ground, host.machine, host.data)
    (problem,) = outcome_of(broken, "mnist", folder, 2).problems
    assert problem.code == "died"


def test_layers_are_listed_with_their_dtypes() -> None:
    layers = layers_of(quantize_dynamic(load_model(REFERENCE_FOLDER)))
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("1", "QuantizedLinear"), ("4", "QuantizedLinear"), ("7", "QuantizedLinear"),
    ]  # fmt: skip
    assert "int8" in layers[0].dtypes
    assert layers[0].parameters > 784 * 512
