"""Module 08: the training loop learns, records, stops, and resumes to exactly the same weights."""

from __future__ import annotations

import inspect
import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch.activations import ReLU
from tinytorch.base.errors import NonFiniteError, SettingError, StateError
from tinytorch.base.random import manual_seed
from tinytorch.layers import Dropout, Linear, Module, Sequential
from tinytorch.losses import CrossEntropyLoss, MSELoss
from tinytorch.optimizers import SGD, AdamW, CosineLR, Optimizer
from tinytorch.tensor import Array, Tensor, is_grad_enabled
from tinytorch.training import Trainer, accuracy, progress_bar

RNG = np.random.default_rng(8)
X = RNG.standard_normal((70, 5)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)


class Loader:
    """What the Trainer requires of a loader: batches of arrays, in a new order in each epoch, from any batch on."""

    def __init__(self, inputs, targets, batch_size, seed=3):  # type: ignore[no-untyped-def]  # also runs in programs
        self.inputs, self.targets, self.batch_size, self.seed = inputs, targets, batch_size, seed

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.batch_size)

    def batches(self, epoch, start=0):  # type: ignore[no-untyped-def]
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.inputs))
        for i in range(start, len(self)):
            chosen = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield self.inputs[chosen], self.targets[chosen]


def loader(batch_size: int = 16) -> Loader:
    return Loader(X, Y, batch_size)


def trainer(checkpoint: Path | None = None, **settings: Any) -> Trainer:
    manual_seed(0)
    model = Sequential(Linear(5, 8), ReLU(), Dropout(0.2), Linear(8, 2))
    optimizer = AdamW(model.parameters(), lr=0.01)
    schedule = CosineLR(optimizer, total=100, warmup=5)
    return Trainer(
        model,
        optimizer,
        CrossEntropyLoss(),
        schedule,
        checkpoint=checkpoint,
        metrics={"accuracy": accuracy},
        **settings,
    )


def simple(loss: Any = None, lr: float = 0.1, **settings: Any) -> Trainer:
    """A linear model, trained by plain gradient descent, whose steps can be computed by hand."""
    manual_seed(0)
    model = Linear(5, 2)
    return Trainer(model, SGD(model.parameters(), lr=lr), loss or CrossEntropyLoss(), **settings)


def quiet(done: int, total: int, **figures: float) -> None:
    """A report that shows nothing."""


def weights(model: Module) -> list[bytes]:
    return [value.data.tobytes() for value in model.state_dict().values()]


def figures(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the history without its timings."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


# The accuracy -------------------------------------------------------------------------------------------


def test_accuracy_is_the_share_of_largest_logits_on_target() -> None:
    logits = np.array([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 5.0, 1.0]])
    share = accuracy(logits, np.array([1, 1, 2, 1]))
    assert share == 0.75
    assert type(share) is float


# One batch ----------------------------------------------------------------------------------------------


def gradients_of(batch: tuple[Array, Array]) -> tuple[float, list[Array]]:
    """Return the loss and the gradients of `simple()`'s model for a batch."""
    t = simple()
    loss = t.loss(t.model(Tensor(batch[0])), batch[1])
    loss.backward()
    return loss.item(), [p.grad.data for p in t.model.parameters() if p.grad is not None]


def test_batch_moves_the_weights_against_its_gradient() -> None:
    t = simple(lr=0.5)
    before = [p.data.copy() for p in t.model.parameters()]
    loss, gradients = gradients_of((X, Y))
    returned = t.train_batch((X, Y))
    assert type(returned) is float
    np.testing.assert_allclose(returned, loss, rtol=1e-6)
    for parameter, start, g in zip(t.model.parameters(), before, gradients, strict=True):
        np.testing.assert_allclose(parameter.data, start - 0.5 * g, rtol=1e-5, atol=1e-7)
        assert parameter.grad is None, "the gradient was not reset"


def test_batches_are_counted() -> None:
    t = simple(lr=0.0)
    first, second = t.train_batch((X[:16], Y[:16])), t.train_batch((X[16:24], Y[16:24]))
    assert (t.batch, t.samples, t.gathered, t.epoch) == (2, 24, 0, 0)
    np.testing.assert_allclose(t.loss_sum, 16 * first + 8 * second, rtol=1e-6)


def test_batch_is_run_in_training_mode() -> None:
    t = trainer()
    t.model.eval()
    modes: list[bool] = []
    layer = t.model
    layer.layers.append(lambda x: modes.append(layer.training) or x)  # type: ignore[func-returns-value]
    t.train_batch((X, Y))
    assert modes == [True]


def test_accumulated_batches_make_one_step_with_the_mean_of_their_gradients() -> None:
    t = simple(lr=0.5)
    before = [p.data.copy() for p in t.model.parameters()]
    _, first = gradients_of((X[:16], Y[:16]))
    second_loss, second = gradients_of((X[16:32], Y[16:32]))
    t.train_batch((X[:16], Y[:16]), group=2)
    assert t.gathered == 1
    for parameter, start in zip(t.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.data, start)
        assert parameter.grad is not None, "the first batch's gradient was reset"
    np.testing.assert_allclose(t.train_batch((X[16:32], Y[16:32]), group=2), second_loss, rtol=1e-6)
    assert t.gathered == 0
    for parameter, start, a, b in zip(t.model.parameters(), before, first, second, strict=True):
        np.testing.assert_allclose(parameter.data, start - 0.5 * (a + b) / 2, rtol=1e-5, atol=1e-7)


def test_schedule_is_stepped_after_each_optimizer_step() -> None:
    t = trainer()
    assert t.schedule is not None
    t.train_batch((X, Y), group=2)
    assert t.schedule.step_count == 0
    t.train_batch((X, Y), group=2)
    assert t.schedule.step_count == 1


def test_gradients_are_clipped() -> None:
    def moved(clip: float | None) -> float:
        t = simple(MSELoss(), lr=1.0, clip_norm=clip)
        start = [p.data.copy() for p in t.model.parameters()]
        t.train_batch((X, 100 * np.ones((70, 2), np.float32)))
        moves = [p.data - before for p, before in zip(t.model.parameters(), start, strict=True)]
        return float(np.sqrt(sum((move**2).sum() for move in moves)))

    np.testing.assert_allclose(moved(1e-2), 1e-2, rtol=1e-3)
    assert moved(None) > 1


def test_loss_that_is_not_finite_is_an_error_that_changes_nothing() -> None:
    t = simple()
    t.epoch, t.batch = 1, 3
    t.model.parameters()[0].data[0, 0] = np.nan
    before = weights(t.model)
    with pytest.raises(NonFiniteError, match="the loss is nan in epoch 2, batch 4"):
        t.train_batch((X, Y))
    assert (t.batch, t.samples, t.gathered, t.loss_sum) == (3, 0, 0, 0)
    assert weights(t.model) == before


class Scaler:
    """A gradient scaler that records its calls, scales by 8, and finds the gradients finite or not."""

    def __init__(self, finite: bool) -> None:
        self.finite, self.calls = finite, list[str]()

    def scale(self, loss: Tensor) -> Tensor:
        self.calls.append("scale")
        return loss * 8

    def unscale_(self, optimizer: Optimizer) -> bool:
        self.calls.append("unscale_")
        for p in optimizer.parameters():
            if p.grad is not None:
                p.grad = Tensor(p.grad.data / 8)
        return self.finite

    def step(self, optimizer: Optimizer) -> bool:
        self.calls.append("step")
        if self.finite:
            optimizer.step()
        return self.finite

    def update(self) -> None:
        self.calls.append("update")

    def state_dict(self) -> dict[str, float]:
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Nothing to restore."""


def test_scaler_scales_the_loss_and_makes_the_step() -> None:
    scaler, scaled, plain = Scaler(finite=True), simple(lr=0.5), simple(lr=0.5)
    scaled.scaler, scaled.clip_norm, plain.clip_norm = scaler, 0.1, 0.1
    assert scaled.train_batch((X, Y)) == plain.train_batch((X, Y))
    assert scaler.calls == ["scale", "unscale_", "step", "update"]
    for a, b in zip(scaled.model.parameters(), plain.model.parameters(), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-7)
        assert a.grad is None


def test_gradients_that_a_scaler_finds_infinite_are_not_clipped() -> None:
    scaler, t = Scaler(finite=False), simple(clip_norm=0.1)
    t.scaler, before = scaler, weights(t.model)
    t.model.parameters()[0].data[:] = 1
    before = weights(t.model)
    t.train_batch((X, Y))
    assert scaler.calls == ["scale", "unscale_", "step", "update"]
    assert weights(t.model) == before


def test_model_and_loss_run_within_autocast() -> None:
    inside: list[str] = []

    @contextmanager
    def context() -> Iterator[None]:
        inside.append("begin")
        yield
        inside.append("end")

    def autocast() -> AbstractContextManager[None]:
        return context()

    def loss(outputs: Tensor, targets: Array) -> Tensor:
        inside.append("loss")
        return CrossEntropyLoss()(outputs, targets)

    t = simple(loss, autocast=autocast)
    t.train_batch((X, Y))
    assert inside == ["begin", "loss", "end"]


# Evaluation ---------------------------------------------------------------------------------------------


def test_evaluation_averages_over_samples() -> None:
    t = simple(metrics={"accuracy": accuracy, "rows": lambda outputs, targets: np.float32(len(targets))})
    outputs = t.model(Tensor(X))
    expected = {"val_loss": t.loss(outputs, Y).item(), "accuracy": accuracy(outputs.data, Y)}
    found = t.evaluate(loader(batch_size=16))
    assert list(found) == ["val_loss", "accuracy", "rows"]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)
    np.testing.assert_allclose(found["rows"], (64 * 16 + 6 * 6) / 70, rtol=1e-6)
    assert all(type(value) is float for value in found.values())


def test_evaluation_names_the_loss_after_the_split() -> None:
    assert list(simple().evaluate(loader(), "test")) == ["test_loss"]


def test_evaluation_runs_in_inference_mode_and_records_nothing() -> None:
    t = trainer()
    t.model.train()
    seen: list[bool] = []

    def watch(x: Tensor) -> Tensor:
        seen.append(t.model.training or is_grad_enabled())
        return x

    t.model.layers.append(watch)
    assert t.evaluate(loader()) == t.evaluate(loader()), "dropout is active"
    assert seen == [False] * 10
    assert is_grad_enabled()


def test_evaluate_weights_a_small_last_batch_by_its_size() -> None:
    t = trainer()
    whole = t.evaluate(loader(batch_size=70))
    parts = t.evaluate(loader(batch_size=16))
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-6)


# The end of an epoch ------------------------------------------------------------------------------------


def test_finished_epoch_is_recorded_and_its_counts_are_reset() -> None:
    t = simple(lr=0.25)
    t.epoch, t.batch, t.loss_sum, t.samples, t.seconds = 2, 5, 35.0, 70, 1.5
    t.history = [{"epoch": 1}, {"epoch": 2}]
    t._finish_epoch(None, "val")
    assert t.history[2:] == [{"epoch": 3, "train_loss": 0.5, "lr": 0.25, "seconds": 1.5}]
    assert (t.epoch, t.batch, t.loss_sum, t.samples) == (3, 0, 0, 0)


def test_finished_epoch_is_validated() -> None:
    t = simple(metrics={"accuracy": accuracy})
    t.loss_sum, t.samples = 1.0, 1
    t._finish_epoch(loader(), "test")
    assert list(t.history[0]) == ["epoch", "train_loss", "lr", "seconds", "test_loss", "accuracy"]
    assert t.history[0]["test_loss"] == t.evaluate(loader(), "test")["test_loss"]


# Patience -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([], 1, False),
        ([3.0], 1, False),
        ([3.0, 2.0], 1, False),
        ([3.0, 3.0], 1, True),
        ([3.0, 4.0], 2, False),
        ([3.0, 4.0, 3.5], 2, True),
        ([3.0, 4.0, 2.5], 2, False),
        ([3.0, 1.0, 4.0, 2.5, 2.0], 3, True),
        ([3.0, 1.0, 4.0, 2.5], 3, False),
        ([3.0, 4.0, 5.0], None, False),
    ],
)
def test_patience_counts_the_epochs_since_the_best_one(
    losses: list[float], patience: int | None, expected: bool
) -> None:
    t = simple(patience=patience)
    t.history = [{"epoch": i, "val_loss": loss} for i, loss in enumerate(losses, 1)]
    assert t._out_of_patience() is expected


def test_epochs_without_validation_do_not_use_up_patience() -> None:
    t = simple(patience=2)
    t.history = [{"epoch": 1}, {"epoch": 2, "test_loss": 1.0}, {"epoch": 3}]
    assert not t._out_of_patience()
    t.history += [{"epoch": 4, "val_loss": 1.0}, {"epoch": 5}, {"epoch": 6, "val_loss": 2.0}]
    assert not t._out_of_patience()
    t.history += [{"epoch": 7, "val_loss": 2.0}]
    assert t._out_of_patience()


# Whole runs ---------------------------------------------------------------------------------------------


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


def run_program(text: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program that may use numpy as np, tinytorch as tt, and the Loader above."""
    program = f"import numpy as np\nimport tinytorch as tt\n\n{inspect.getsource(Loader)}\n{textwrap.dedent(text)}"
    return subprocess.run([sys.executable, "-c", program, *arguments], check=False, capture_output=True, timeout=60)


@pytest.mark.beyond
def test_two_fresh_processes_train_the_same_weights() -> None:
    program = """
        import hashlib
        tt.manual_seed(1)
        model = tt.Sequential(tt.Linear(20, 30), tt.GELU(), tt.Dropout(0.2), tt.Linear(30, 3))
        data = Loader(np.random.default_rng(0).random((64, 20), np.float32), np.arange(64) % 3, 8)
        tt.Trainer(model, tt.AdamW(model.parameters()), tt.CrossEntropyLoss()).fit(data, 3)
        print(hashlib.sha256(b"".join(v.data.tobytes() for v in model.state_dict().values())).hexdigest())
    """
    done = [run_program(program) for _ in range(2)]
    assert [one.returncode for one in done] == [0, 0], done[0].stderr.decode()
    assert done[0].stdout == done[1].stdout


def test_evaluation_does_not_change_the_run() -> None:
    with_validation, without = trainer(), None
    with_validation.fit(loader(), 2, validation=loader(), report=quiet)
    without = trainer()
    without.fit(loader(), 2, report=quiet)
    assert weights(with_validation.model) == weights(without.model)


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
    manual_seed(99)
    resumed = trainer(path, accumulate=2)
    assert resumed.resume()
    assert figures(resumed.fit(loader(), 4, validation=loader(), report=quiet)) == figures(history)
    assert weights(resumed.model) == weights(unbroken.model)


@pytest.mark.beyond
def test_kill_during_writing_keeps_the_last_checkpoint_intact(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    program = """
        import sys, os, signal
        import tinytorch.base.files as s

        tt.manual_seed(0)
        model = tt.Linear(400, 400)
        trainer = tt.Trainer(model, tt.SGD(model.parameters(), lr=0.1), tt.MSELoss(), checkpoint=sys.argv[1])
        x = np.ones((4, 400), np.float32)
        data = Loader(x, x, 2)
        trainer.fit(data, 1)
        before = s.os.fsync
        def die_halfway(handle):
            os.ftruncate(handle, 1000)
            os.kill(os.getpid(), signal.SIGKILL)
        s.os.fsync = die_halfway
        trainer.fit(data, 2)
    """
    done = run_program(program, str(path))
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    model = Linear(400, 400)
    resumed = Trainer(model, SGD(model.parameters(), lr=0.1), MSELoss(), checkpoint=path)
    assert resumed.resume()
    assert resumed.epoch == 1


@pytest.mark.beyond
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
    other = Linear(5, 2)
    t = Trainer(other, AdamW(other.parameters()), CrossEntropyLoss(), checkpoint=path)
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
        manual_seed(0)
        model = Linear(5, 2)
        t = Trainer(model, SGD(model.parameters(), lr=0.1), CrossEntropyLoss(), accumulate=accumulate)
        t.fit(Loader(X[:64], Y[:64], batch_size), 2, report=quiet)
        return model.weight.data

    np.testing.assert_allclose(run(16, 2), run(32, 1), rtol=1e-5)
    with pytest.raises(SettingError, match="accumulate 0"):
        trainer(accumulate=0)


def test_short_last_group_is_averaged_over_its_own_batches() -> None:
    """Five batches, two per step: the fifth alone changes the weights as much as it would without accumulation."""

    def last_step(accumulate: int) -> np.ndarray:
        manual_seed(0)
        model = Linear(5, 2)
        t = Trainer(model, SGD(model.parameters(), lr=0.0), CrossEntropyLoss(), accumulate=accumulate)
        steps: list[np.ndarray] = []
        step = t.optimizer.step

        def watched() -> None:
            assert model.weight.grad is not None
            steps.append(model.weight.grad.data)
            step()

        t.optimizer.step = watched  # type: ignore[method-assign]
        t.fit(Loader(X, Y, 14), 1, report=quiet)
        assert len(steps) == -(-5 // accumulate)
        return steps[-1]

    np.testing.assert_allclose(last_step(2), last_step(1), rtol=1e-5)


@pytest.mark.beyond
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
    t.optimizer = SGD(t.model.parameters(), lr=0.1)
    before = weights(t.model)
    with pytest.raises(StateError):
        t.resume()
    assert weights(t.model) == before


def test_mismatched_loaders_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="a loader has no batches"):
        trainer().fit(Loader(X[:0], Y[:0], 16), 1, report=quiet)
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


def test_progress_bar_shows_progress_and_ends_its_line() -> None:
    stream = io.StringIO()
    report = progress_bar(stream, interval=0)
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
    report = progress_bar(stream, interval=0)
    report(901, 1000)
    report(902, 1000)
    assert "98 s left" in stream.getvalue()


@pytest.mark.beyond
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
