"""Module 08: the training loop, its history, and checkpoints that resume exactly.

The Trainer returns metrics as records and prints nothing itself. To follow its progress, pass `report`, a function that
is called after each step. By default, a progress bar is drawn if stderr is a terminal.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TextIO

import numpy as np

from tinytorch.autograd import no_grad
from tinytorch.base.errors import NonFiniteError, SettingError, StateError
from tinytorch.base.files import load_arrays, save_arrays
from tinytorch.base.numbers import python_number
from tinytorch.base.random import get_rng_state, set_rng_state
from tinytorch.layers import Module, evaluating, mode_kept
from tinytorch.optimizers import LambdaLR, Optimizer, clip_grad_norm_
from tinytorch.tensor import Array, Tensor

History = list[dict[str, float]]
Loss = Callable[[Tensor, Array], Tensor]
Measure = Callable[[Array, Array], float]
CHECKPOINT_VERSION = "2"
PROGRESS = ("epoch", "batch", "loss_sum", "samples", "gathered", "epoch_length", "seconds", "history")


class Batches(Protocol):
    """What the Trainer requires of a loader: its length, and any epoch from any batch on. Module 10 provides one."""

    def __len__(self) -> int: ...

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Array, ...]]: ...


class Scaler(Protocol):
    """What the Trainer requires of a gradient scaler. Module 15 provides one."""

    def scale(self, loss: Tensor) -> Tensor: ...

    def unscale_(self, optimizer: Optimizer) -> bool: ...

    def step(self, optimizer: Optimizer) -> bool: ...

    def update(self) -> None: ...

    def state_dict(self) -> dict[str, float]: ...

    def load_state_dict(self, state: dict[str, float]) -> None: ...


class Report(Protocol):
    """A function called after each step with the steps done, the total number of steps, and the current figures."""

    def __call__(self, done: int, total: int, **figures: float) -> None: ...


def accuracy(logits: Array, targets: Array) -> float:
    """Return the fraction of rows whose largest logit is the target's, as a Python float. Shapes: (N, C), (N,)."""
    return float((logits.argmax(axis=1) == targets).mean())


class Trainer:
    """Trains a model on batches of (inputs, targets).

    Args:
        model, optimizer, loss: `loss(model(inputs), targets)` is minimized.
        schedule: stepped after each optimizer step.
        clip_norm: maximum total norm of the gradients, which are scaled down to it.
        accumulate: number of batches whose gradients are averaged for one optimizer step.
        metrics: named functions (outputs, targets) -> number, averaged over the validation samples.
        checkpoint: file to save to after each epoch and on Ctrl-C; `resume()` continues from it.
        patience: stop when the validation loss has not improved for this many epochs. The model then has the weights of
            the last epoch; `restore_best()` brings back those with the lowest validation loss.
        autocast: returns a context manager in which the model and the loss run, e.g. `tt.autocast` for bfloat16
            (module 15).
        scaler: for float16; scales the loss and skips steps with infinite gradients.

    Raises:
        NonFiniteError: the loss became NaN or infinite; the last checkpoint is left unchanged.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Loss,
        schedule: LambdaLR | None = None,
        clip_norm: float | None = None,
        accumulate: int = 1,
        metrics: Mapping[str, Measure] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        patience: int | None = None,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
        scaler: Scaler | None = None,
    ) -> None:
        accumulate, patience = python_number(accumulate), python_number(patience)
        if accumulate < 1:
            raise SettingError(f"Trainer: accumulate {accumulate}: expected at least 1")
        self.model, self.optimizer, self.loss, self.schedule = model, optimizer, loss, schedule
        self.clip_norm, self.accumulate, self.metrics = clip_norm, accumulate, dict(metrics or {})
        self.checkpoint, self.patience = checkpoint, patience
        self.autocast, self.scaler = autocast, scaler
        self.history: History = []
        self.best: dict[str, Array] = {}  # with patience: the state of the model after its best epoch
        self.epoch = 0  # finished epochs
        self.batch = 0  # finished batches of the current epoch
        self.loss_sum = 0.0  # sum of those batches' losses, each times its batch size
        self.samples = 0
        self.gathered = 0  # batches whose gradients wait for the next step
        self.epoch_length = 0  # batches in the current epoch
        self.seconds = 0.0  # training time of all runs so far

    def fit(
        self,
        loader: Batches,
        epochs: int,
        validation: Batches | None = None,
        report: Report | None = None,
        split: str = "val",
    ) -> History:
        """Train until `epochs` epochs are done, and return one record per epoch.

        Epochs of an earlier `fit` and those before a resume count, so that the same program can be run again after it
        was stopped. If nothing is left to train, a warning says so: for three more epochs after `fit(loader, 3)`, call
        `fit(loader, 6)`.

        `split` names the validation loader's samples in the records: "val", or "test" if the test split is only
        monitored. The test split chooses nothing: patience does not apply to it.

        Ctrl-C finishes the current step, saves the checkpoint if there is one, and raises KeyboardInterrupt.

        Afterwards, each module is in the mode in which it was before, training or inference.
        """
        epochs = python_number(epochs)
        self._check_loaders(loader, validation)
        if self.epoch >= epochs or self._out_of_patience():
            self._warn_of_nothing_to_do(epochs)
        report = report or _default_report()
        length = self.epoch_length = len(loader)
        with mode_kept(self.model), _deferred_interrupt() as interrupted:
            while self.epoch < epochs and not self._out_of_patience():
                began = time.perf_counter()
                for batch in loader.batches(self.epoch, start=self.batch):
                    first = self.batch - self.batch % self.accumulate  # first batch of the group that forms one step
                    loss = self.train_batch(batch, group=min(self.accumulate, length - first))
                    if report is not None:
                        report(self.epoch * length + self.batch, epochs * length, epoch=self.epoch + 1, loss=loss)
                    if interrupted.is_set():
                        break
                self.seconds += time.perf_counter() - began
                if self.batch == length:
                    self._finish_epoch(validation, split)
                    self._keep_best()
                self.save()
                if interrupted.is_set():
                    raise KeyboardInterrupt
        return self.history

    def _warn_of_nothing_to_do(self, epochs: int) -> None:
        if self.epoch >= epochs:
            why = f"{self.epoch} epochs are done, and fit(..., {epochs}) trains up to epoch {epochs}: "
            why += f"for {epochs} more, call fit(..., {self.epoch + epochs})"
        else:
            why = f"the validation loss has not improved for {self.patience} epochs: to go on, raise trainer.patience"
        warnings.warn(f"Trainer: nothing to train: {why}", stacklevel=3)

    def restore_best(self) -> int:
        """Load the weights of the epoch with the lowest validation loss, and return that epoch. It needs `patience`.

        Raises:
            StateError: no such weights were kept, because there was no patience or no finite validation loss.
        """
        if not self.best:
            raise StateError("Trainer: there are no best weights to restore: fit with patience and a validation loader")
        self.model.load_state_dict(self.best)
        return 1 + int(np.argmin(self._validation_losses()))

    def _check_loaders(self, loader: Batches, validation: Batches | None) -> None:
        if len(loader) == 0 or (validation is not None and len(validation) == 0):
            raise SettingError("Trainer: a loader has no batches (fewer samples than one batch, with drop_last?)")
        if self.patience is not None and validation is None:
            raise SettingError("Trainer: patience needs a validation loader")
        if self.batch and self.epoch_length != len(loader):
            raise SettingError(
                f"Trainer: the checkpoint stopped at batch {self.batch} of {self.epoch_length}, "
                f"but this loader has {len(loader)} batches per epoch"
            )

    def train_batch(self, batch: tuple[Array, ...], group: int = 1) -> float:
        """Run one forward and backward pass, and an optimizer step once `group` batches have been accumulated.

        1. In training mode, and within `self.autocast()`, compute the loss of the model's output for Tensor(inputs).
        2. Differentiate loss / group, or `self.scaler.scale` of it if there is a scaler: gradients accumulate.
        3. Count: `batch` and `gathered` grow by 1, `samples` by N = len(targets), and `loss_sum` by loss N.
        4. If `gathered` is now `group`, set it to 0 and update the weights. A scaler first divides the gradients again
           (`unscale_(optimizer)`), and returns whether all are finite. If they are, and there is a `clip_norm`, clip
           them, with `error_if_nonfinite`. Then comes `optimizer.step()`, or with a scaler `step(optimizer)` and
           `update()`. Last, reset the gradients, and step the schedule, if there is one.

        Returns the loss of the batch as a Python float, not divided by `group`.

        Raises:
            NonFiniteError: the loss is NaN or infinite, and nothing has been differentiated or counted. The message is
                "the loss is nan in epoch 2, batch 1: ...", both counted from 1.
        """
        inputs, targets = batch
        self.model.train()
        with self.autocast():
            loss = self.loss(self.model(Tensor(inputs)), targets)
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteError(f"the loss is {value} in epoch {self.epoch + 1}, batch {self.batch + 1}: "
                                 f"lower the learning rate or clip the gradients")  # fmt: skip
        share = loss * (1 / group) if group > 1 else loss
        (share if self.scaler is None else self.scaler.scale(share)).backward()
        self.batch += 1
        self.loss_sum += value * len(targets)
        self.samples += len(targets)
        self.gathered += 1
        if self.gathered == group:
            self.gathered = 0
            finite = self.scaler is None or self.scaler.unscale_(self.optimizer)
            if self.clip_norm is not None and finite:
                clip_grad_norm_(self.optimizer.parameters(), self.clip_norm, error_if_nonfinite=True)
            if self.scaler is None:
                self.optimizer.step()
            else:
                self.scaler.step(self.optimizer)
                self.scaler.update()
            self.optimizer.zero_grad()
            if self.schedule is not None:
                self.schedule.step()
        return value

    def evaluate(self, loader: Batches, split: str = "val") -> dict[str, float]:
        """Return the mean loss (as `val_loss`, named after the split) and metrics over a loader, in inference mode.

        The batches are those of the loader's epoch 0. The model and the loss run within `self.autocast()`, and nothing
        is recorded. A metric gets two arrays, the outputs and the targets. Each mean is over samples: a batch counts in
        proportion to its size. All values are Python floats. Afterward, each module is in its previous mode.
        """
        sums = dict.fromkeys([f"{split}_loss", *self.metrics], 0.0)
        samples = 0
        with no_grad(), evaluating(self.model):
            for inputs, targets in loader.batches(0):
                with self.autocast():
                    outputs = self.model(Tensor(inputs))
                    sums[f"{split}_loss"] += self.loss(outputs, targets).item() * len(targets)
                for name, measure in self.metrics.items():
                    sums[name] += float(measure(outputs.data, targets)) * len(targets)
                samples += len(targets)
        return {name: value / samples for name, value in sums.items()}

    def save(self) -> None:
        """Write the checkpoint, if a file was given. The file is always complete, either the old one or the new one."""
        if self.checkpoint is None:
            return
        arrays = {f"model.{name}": value.data for name, value in self.model.state_dict().items()}
        arrays |= {f"best.{name}": value for name, value in self.best.items()}
        state = self.optimizer.state_dict()
        settings = {name: state.pop(name) for name in ("optimizer", "param_groups")}
        arrays |= {f"optimizer.{name}": value for name, value in state.items()}
        arrays |= {f"gradient.{name}": p.grad.data for name, p in self.model.named_parameters() if p.grad is not None}
        progress = {name: getattr(self, name) for name in PROGRESS}
        progress |= {"rng": get_rng_state(), "schedule": self.schedule.step_count if self.schedule else None}
        progress |= {"scaler": self.scaler.state_dict()} if self.scaler else {}
        metadata = {"progress": json.dumps(progress), "optimizer": json.dumps(settings)}
        save_arrays(self.checkpoint, arrays, {"checkpoint": CHECKPOINT_VERSION} | metadata)

    def resume(self) -> bool:
        """Continue from the checkpoint, if the file exists; return whether it does.

        The trained weights are bit-identical to those of a run that never stopped.

        Raises:
            StateError: the file is not a checkpoint of this model and optimizer; the message names it.
        """
        if self.checkpoint is None or not Path(self.checkpoint).exists():
            return False
        arrays, metadata = load_arrays(self.checkpoint)
        if metadata.get("checkpoint") != CHECKPOINT_VERSION or not {"progress", "optimizer"} <= metadata.keys():
            raise StateError(f"{self.checkpoint}: not a checkpoint of this version of the Trainer")
        parts: dict[str, dict[str, Array]] = {"model": {}, "optimizer": {}, "gradient": {}}
        for name, array in arrays.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = array
        before = {name: value.data.copy() for name, value in self.model.state_dict().items()}
        try:
            self.model.load_state_dict(parts["model"])
            self.optimizer.load_state_dict(parts["optimizer"] | json.loads(metadata["optimizer"]))
        except StateError as error:
            self.model.load_state_dict(before)  # a rejected checkpoint changes nothing
            raise StateError(f"{self.checkpoint}: {error}") from None
        self.best = parts.get("best", {})
        for name, parameter in self.model.named_parameters():
            parameter.grad = Tensor(parts["gradient"][name]) if name in parts["gradient"] else None
        self._restore_progress(json.loads(metadata["progress"]))
        return True

    def _restore_progress(self, progress: dict[str, Any]) -> None:
        for name in PROGRESS:
            setattr(self, name, progress[name])
        set_rng_state(progress["rng"])
        if self.schedule is not None and progress["schedule"] is not None:
            self.schedule.seek(progress["schedule"])
        if self.scaler is not None and "scaler" in progress:
            self.scaler.load_state_dict(progress["scaler"])

    def _finish_epoch(self, validation: Batches | None, split: str) -> None:
        """Count the epoch in `self.epoch`, append its record to `self.history`, and reset the counts of its batches.

        The record has `epoch` (the first is 1), `train_loss` (the mean over the samples: loss_sum / samples), `lr` (of
        the first parameter group, as a Python float), `seconds`, and, if there is a validation loader, the figures of
        `evaluate(validation, split)`. Then `batch` and `samples` are 0 and `loss_sum` is 0.0.
        """
        self.epoch += 1
        record = {
            "epoch": self.epoch,
            "train_loss": self.loss_sum / self.samples,
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "seconds": self.seconds,
        }
        self.batch, self.loss_sum, self.samples = 0, 0.0, 0
        self.history.append(record | (self.evaluate(validation, split) if validation is not None else {}))

    def _keep_best(self) -> None:
        """Copy the model's state to `best` if the last epoch has the lowest validation loss, and there is patience."""
        losses = self._validation_losses()
        if self.patience is not None and losses and np.argmin(losses) == len(losses) - 1 and math.isfinite(losses[-1]):
            self.best = {name: value.data.copy() for name, value in self.model.state_dict().items()}

    def _validation_losses(self) -> list[float]:
        """Return the validation loss of each epoch; NaN counts as infinite, because it is never the lowest."""
        losses = [record.get("val_loss", math.inf) for record in self.history]
        return [math.inf if math.isnan(loss) else loss for loss in losses]

    def _out_of_patience(self) -> bool:
        """Return whether the last `patience` epochs with a `val_loss` have not improved on the best one before them.

        An equal loss is no improvement. In the list that `_validation_losses` returns for `history`, NaN is infinite.
        Records without a `val_loss` do not count. Without `patience`, or as long as no record has a `val_loss`, the
        answer is False.
        """
        every = zip(self._validation_losses(), self.history, strict=True)
        losses = [loss for loss, record in every if "val_loss" in record]
        if self.patience is None or not losses:
            return False
        return len(losses) - 1 - int(np.argmin(losses)) >= self.patience


def progress_bar(stream: TextIO, interval: float = 0.1) -> Report:
    """Return a report function that redraws one line: the progress, the figures, and the time left."""
    began = last = time.monotonic()
    first: int | None = None  # a resumed run does not start at 0

    def report(done: int, total: int, **figures: float) -> None:
        nonlocal first, last
        now = time.monotonic()
        first = done - 1 if first is None else first
        if now - last < interval and done < total:
            return
        last = now
        filled = 30 * done // total
        left = (now - began) / (done - first) * (total - done)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        end = "\n" if done == total else ""
        stream.write(f"\r[{'=' * filled}{' ' * (30 - filled)}] {done}/{total}  {shown}  {left:.0f} s left \x1b[K{end}")
        stream.flush()

    return report


def _default_report() -> Report | None:
    return progress_bar(sys.stderr) if sys.stderr.isatty() else None


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Make Ctrl-C set an event instead of interrupting a step; a second Ctrl-C interrupts immediately."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread can handle signals
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        interrupted.set()

    signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
