"""Module 08: the training loop learns, records, stops, and resumes to exactly the same weights."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import NonFiniteError, SettingError, StateError
from tinytorch.dataloader import DataLoader, TensorDataset

RNG = np.random.default_rng(8)
X = RNG.standard_normal((70, 5)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)


def loader(batch_size: int = 16) -> DataLoader:
    return DataLoader(TensorDataset(X, Y), batch_size, shuffle=True, seed=3)


def trainer(checkpoint: Path | None = None, **settings: Any) -> tt.Trainer:
    tt.manual_seed(0)
    model = tt.Sequential(tt.Linear(5, 8), tt.ReLU(), tt.Dropout(0.2), tt.Linear(8, 2))
    optimizer = tt.AdamW(model.parameters(), lr=0.01)
    schedule = tt.CosineLR(optimizer, total=100, warmup=5)
    return tt.Trainer(
        model,
        optimizer,
        tt.CrossEntropyLoss(),
        schedule,
        checkpoint=checkpoint,
        metrics={"accuracy": tt.accuracy},
        **settings,
    )


def quiet(done: int, total: int, **figures: float) -> None:
    """A report that shows nothing."""


def weights(model: tt.Module) -> list[bytes]:
    return [value.data.tobytes() for value in model.state_dict().values()]


def figures(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the history without its timings."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def test_training_learns_and_records_each_epoch() -> None:
    history = trainer().fit(loader(), 20, validation=loader(), report=quiet)
    assert [record["epoch"] for record in history] == list(range(1, 21))
    assert set(history[0]) == {"epoch", "train_loss", "lr", "seconds", "val_loss", "accuracy"}
    assert history[-1]["val_loss"] < 0.5 * history[0]["val_loss"]
    assert history[-1]["accuracy"] > 0.9


def test_validation_on_the_test_split_is_recorded_as_test() -> None:
    history = trainer().fit(loader(), 1, validation=loader(), report=quiet, split="test")
    assert "test_loss" in history[0]
    assert "val_loss" not in history[0]


def test_same_seed_repeats_a_run_bit_for_bit() -> None:
    first = trainer()
    first_history = first.fit(loader(), 3, report=quiet)
    second = trainer()
    assert figures(second.fit(loader(), 3, report=quiet)) == figures(first_history)
    assert weights(first.model) == weights(second.model)


def test_two_fresh_processes_train_the_same_weights() -> None:
    program = textwrap.dedent("""
        import hashlib
        import numpy as np
        import tinytorch as tt
        tt.manual_seed(1)
        model = tt.Sequential(tt.Linear(20, 30), tt.GELU(), tt.Dropout(0.2), tt.Linear(30, 3))
        data = tt.TensorDataset(np.random.default_rng(0).random((64, 20), np.float32), np.arange(64) % 3)
        tt.Trainer(model, tt.AdamW(model.parameters()), tt.CrossEntropyLoss()).fit(
            tt.DataLoader(data, 8, shuffle=True, seed=1), 3)
        print(hashlib.sha256(b"".join(v.data.tobytes() for v in model.state_dict().values())).hexdigest())
    """)
    hashes = {subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout for _ in range(2)}
    assert len(hashes) == 1


def test_evaluation_does_not_change_the_run() -> None:
    with_validation, without = trainer(), None
    with_validation.fit(loader(), 2, validation=loader(), report=quiet)
    without = trainer()
    without.fit(loader(), 2, report=quiet)
    assert weights(with_validation.model) == weights(without.model)


def test_evaluate_weights_a_small_last_batch_by_its_size() -> None:
    t = trainer()
    whole = t.evaluate(loader(batch_size=70))
    parts = t.evaluate(loader(batch_size=16))
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-6)


@pytest.mark.parametrize("stop_at", [1, 5, 7, 13])
def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path, stop_at: int) -> None:
    unbroken = trainer(accumulate=2)
    history = unbroken.fit(loader(), 4, validation=loader(), report=quiet)

    path = tmp_path / "run.safetensors"
    broken = trainer(path, accumulate=2)

    def interrupt(done: int, total: int, **figures: float) -> None:
        if done == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        broken.fit(loader(), 4, validation=loader(), report=interrupt)
    tt.manual_seed(99)
    resumed = trainer(path, accumulate=2)
    assert resumed.resume()
    assert figures(resumed.fit(loader(), 4, validation=loader(), report=quiet)) == figures(history)
    assert weights(resumed.model) == weights(unbroken.model)


def test_kill_during_writing_keeps_the_last_checkpoint_intact(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    program = textwrap.dedent("""
        import sys, os, signal
        import numpy as np
        import tinytorch as tt
        import tinytorch.base.files as s

        tt.manual_seed(0)
        model = tt.Linear(400, 400)
        trainer = tt.Trainer(model, tt.SGD(model.parameters(), lr=0.1), tt.MSELoss(), checkpoint=sys.argv[1])
        x = np.ones((4, 400), np.float32)
        data = tt.DataLoader(tt.TensorDataset(x, x), batch_size=2)
        trainer.fit(data, 1)
        before = s.os.fsync
        def die_halfway(handle):
            os.ftruncate(handle, 1000)
            os.kill(os.getpid(), signal.SIGKILL)
        s.os.fsync = die_halfway
        trainer.fit(data, 2)
    """)
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    model = tt.Linear(400, 400)
    resumed = tt.Trainer(model, tt.SGD(model.parameters(), lr=0.1), tt.MSELoss(), checkpoint=path)
    assert resumed.resume()
    assert resumed.epoch == 1


def test_full_disk_keeps_the_last_checkpoint_and_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.safetensors"
    t = trainer(path)
    t.fit(loader(), 1, report=quiet)
    content = path.read_bytes()

    def no_space(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinytorch.base.files.os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        t.fit(loader(), 2, report=quiet)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_file_that_is_not_a_checkpoint_is_rejected_by_name(tmp_path: Path) -> None:
    path = trainer().model.save(tmp_path / "weights.safetensors")
    with pytest.raises(StateError, match=r"weights\.safetensors: not a checkpoint"):
        trainer(path).resume()
    path.write_bytes(b"rubbish")
    with pytest.raises(StateError, match=r"weights\.safetensors: not a complete"):
        trainer(path).resume()
    assert not trainer(tmp_path / "none").resume()


def test_checkpoint_of_another_model_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    trainer(path).fit(loader(), 1, report=quiet)
    other = tt.Linear(5, 2)
    t = tt.Trainer(other, tt.AdamW(other.parameters()), tt.CrossEntropyLoss(), checkpoint=path)
    with pytest.raises(StateError, match=r"run\.safetensors: Linear: state does not fit: unknown"):
        t.resume()


def test_nonfinite_loss_stops_training_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    t = trainer(path)
    t.fit(loader(), 1, report=quiet)
    content = path.read_bytes()
    t.model.parameters()[0].data[:] = np.nan
    with pytest.raises(NonFiniteError, match="the loss is nan in epoch 2, batch 1"):
        t.fit(loader(), 2, report=quiet)
    assert path.read_bytes() == content


def test_patience_stops_when_validation_no_longer_improves() -> None:
    t = trainer(patience=2)
    t.optimizer.param_groups[0]["lr"] = 0.0
    t.schedule = None
    assert len(t.fit(loader(), 50, validation=loader(), report=quiet)) == 3
    with pytest.raises(SettingError, match="validation loader"):
        trainer(patience=1).fit(loader(), 1)


def test_accumulated_gradients_equal_one_large_batch() -> None:
    def run(batch_size: int, accumulate: int) -> np.ndarray:
        tt.manual_seed(0)
        model = tt.Linear(5, 2)
        t = tt.Trainer(model, tt.SGD(model.parameters(), lr=0.1), tt.CrossEntropyLoss(), accumulate=accumulate)
        t.fit(DataLoader(TensorDataset(X[:64], Y[:64]), batch_size), 2, report=quiet)
        return model.weight.data

    np.testing.assert_allclose(run(16, 2), run(32, 1), rtol=1e-5)
    with pytest.raises(SettingError, match="accumulate 0"):
        trainer(accumulate=0)


def test_short_last_group_is_averaged_over_its_own_batches() -> None:
    """Five batches, two per step: the fifth alone changes the weights as much as it would without accumulation."""

    def last_step(accumulate: int) -> np.ndarray:
        tt.manual_seed(0)
        model = tt.Linear(5, 2)
        t = tt.Trainer(model, tt.SGD(model.parameters(), lr=0.0), tt.CrossEntropyLoss(), accumulate=accumulate)
        steps: list[np.ndarray] = []
        step = t.optimizer.step

        def watched() -> None:
            assert model.weight.grad is not None
            steps.append(model.weight.grad.data)
            step()

        t.optimizer.step = watched  # type: ignore[method-assign]
        t.fit(DataLoader(TensorDataset(X, Y), 14), 1, report=quiet)
        assert len(steps) == -(-5 // accumulate)
        return steps[-1]

    np.testing.assert_allclose(last_step(2), last_step(1), rtol=1e-5)


def test_interrupt_during_validation_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    t = trainer(path)

    def stop(outputs: Any, targets: Any) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    t.metrics["stop"] = stop
    with pytest.raises(KeyboardInterrupt):
        t.fit(loader(), 1, validation=loader(batch_size=70), report=quiet)
    resumed = trainer(path)
    assert resumed.resume()
    assert resumed.epoch == 1


def test_a_metric_may_return_a_numpy_number(tmp_path: Path) -> None:
    t = trainer(tmp_path / "run.safetensors")
    t.metrics["single"] = lambda outputs, targets: np.float32(0.5)  # type: ignore[assignment, return-value]
    assert t.fit(loader(), 1, validation=loader(), report=quiet)[0]["single"] == 0.5


def test_rejected_checkpoint_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    trainer(path).fit(loader(), 1, report=quiet)
    t = trainer(path)
    t.optimizer = tt.SGD(t.model.parameters(), lr=0.1)
    before = weights(t.model)
    with pytest.raises(StateError):
        t.resume()
    assert weights(t.model) == before


def test_mismatched_loaders_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="a loader has no batches"):
        trainer().fit(DataLoader(TensorDataset(X, Y), 100, drop_last=True), 1, report=quiet)
    t = trainer(tmp_path / "run.safetensors")

    def interrupt(done: int, total: int, **figures: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        t.fit(loader(), 1, report=interrupt)
    with pytest.raises(SettingError, match="stopped at batch 1 of 5, but this loader has 2"):
        t.fit(loader(batch_size=35), 1, report=quiet)


def test_patience_counts_only_validated_epochs(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    trainer(path).fit(loader(), 1, report=quiet)
    t = trainer(path, patience=2)
    t.resume()
    assert len(t.fit(loader(), 2, validation=loader(), report=quiet)) == 2


def test_gradients_are_clipped() -> None:
    def moved(clip: float | None) -> float:
        tt.manual_seed(0)
        model = tt.Linear(5, 1)
        start = model.weight.data.copy()
        t = tt.Trainer(model, tt.SGD(model.parameters(), lr=1.0), tt.MSELoss(), clip_norm=clip)
        t.train_batch((X, 100 * np.ones((70, 1), np.float32)))
        return float(np.abs(model.weight.data - start).max())

    assert moved(1e-3) <= 1e-3 < moved(None)


def test_accuracy_is_the_share_of_largest_logits_on_target() -> None:
    assert tt.accuracy(np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([1, 1])) == 0.5


def test_progress_bar_shows_progress_and_ends_its_line() -> None:
    stream = io.StringIO()
    report = tt.progress_bar(stream, interval=0)
    report(1, 4, loss=0.5)
    report(4, 4, loss=0.25)
    text = stream.getvalue()
    assert "1/4  loss 0.5" in text
    assert text.endswith("\n")
    assert "[==============================] 4/4  loss 0.25" in text


def test_remaining_time_counts_from_the_start_of_a_resumed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0])
    monkeypatch.setattr("tinytorch.training.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    report = tt.progress_bar(stream, interval=0)
    report(901, 1000)
    report(902, 1000)
    assert "98 s left" in stream.getvalue()


def test_second_interrupt_stops_immediately() -> None:
    t = trainer()
    interrupts = 0

    def report(done: int, total: int, **figures: float) -> None:
        nonlocal interrupts
        interrupts += 1
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        t.fit(loader(), 1, report=report)
    assert interrupts == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
