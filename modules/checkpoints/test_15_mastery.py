"""Checkpoint 15: can I optimize and compete? A smaller model is compared, submitted, and accepted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinytorch.autograd import no_grad
from tinytorch.benchmarking import (
    alternate,
    bootstrap_interval,
    compare,
    measure,
    measure_interleaved,
    percentile,
    samples_needed,
)
from tinytorch.layers import Module
from tinytorch.quantized.models import quantize_dynamic
from tinytorch.saved.folder import saved_bytes
from tinytorch.saved.reading import load_model
from tinytorch.saved.writing import save_model
from tinytorch.tensor import Tensor

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "submissions" / "reference" / "mnist"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Module, Module, Path]:
    """The reference of the track, a smaller model, and the folder of the smaller model."""
    folder = tmp_path_factory.mktemp("model") / "int8"
    reference = load_model(REFERENCE).eval()
    save_model(quantize_dynamic(reference), folder)
    return reference, load_model(folder).eval(), folder


def outputs(model: Module) -> np.ndarray:
    pictures = np.random.default_rng(1).random((64, 28, 28)).astype(np.float32)
    with no_grad():
        return model(Tensor(pictures)).numpy()


def tito(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the organizer, which reads an entry with the reference."""
    kept = {name: value for name, value in os.environ.items() if name not in ("TINYTORCH_MINE", "PYTHONPATH")}
    return subprocess.run(
        [sys.executable, "-c", "from tito.cli.app import main; main()", *arguments],
        env=kept | {"PYTHONPATH": str(ROOT), "TITO_ROOT": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_model_is_smaller_and_answers_alike(models: tuple[Module, Module, Path]) -> None:
    reference, smaller, folder = models
    assert saved_bytes(folder) < 0.3 * saved_bytes(REFERENCE)
    one, other = outputs(reference), outputs(smaller)
    assert np.abs(one - other).max() < 0.1 * np.abs(one).max()


def test_it_is_compared_in_alternating_calls(models: tuple[Module, Module, Path]) -> None:
    reference, smaller, _ = models
    x = Tensor(np.random.default_rng(2).random((1, 28, 28)).astype(np.float32))
    with no_grad():
        small, large = measure_interleaved(lambda: smaller(x), lambda: reference(x), samples=70, warmup=3)
        again = measure(lambda: reference(x), samples=70, warmup=3)
    found = compare(list(small.seconds), list(large.seconds))
    assert found.interval.low <= found.ratio <= found.interval.high
    assert found.ratio == pytest.approx(large.median / small.median)
    assert 0 < again.percentile(50) <= again.percentile(90)


def test_a_comparison_finds_a_difference_and_does_not_invent_one() -> None:
    rng = np.random.default_rng(3)
    noise = 1 + 0.01 * rng.random((2, 25))
    slow, fast = alternate(lambda: 2.0, lambda: 1.0, rounds=25)
    twice = compare(fast * noise[0], slow * noise[1])
    assert twice.verdict == "faster"
    assert twice.ratio == pytest.approx(2, rel=0.01)
    assert compare(noise[0], noise[1]).verdict == "tie"
    interval = bootstrap_interval(noise[0], np.median)
    assert interval.low < np.median(noise[0]) < interval.high


def test_a_percentile_is_quoted_only_from_enough_samples() -> None:
    assert samples_needed(50) < samples_needed(90) < samples_needed(99)
    assert percentile(np.arange(1.0, 102.0), 50) == 51


def test_the_competition_accepts_it(models: tuple[Module, Module, Path], tmp_path: Path) -> None:
    _, _, folder = models
    entry = ["--track", "mnist", "--division", "closed", "--as", "learner/int8", "--technique", "int8"]
    submitted = tito("submit", str(folder), *entry, "--no-measure", "--folder", str(tmp_path))
    assert submitted.returncode == 0, submitted.stderr
    checked = tito("check", "--folder", str(tmp_path))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "checked 1, with problems 0" in checked.stdout
