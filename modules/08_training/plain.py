"""Module 08, written as a learner would: the course's proof tests that these answers pass, too."""

from __future__ import annotations

import math

from tinytorch.autograd import no_grad
from tinytorch.base.errors import NonFiniteError
from tinytorch.layers import evaluating
from tinytorch.optimizers import clip_grad_norm_
from tinytorch.tensor import Array, Tensor
from tinytorch.training import Batches
from tinytorch.training import Trainer as Given


def accuracy(logits: Array, targets: Array) -> float:
    correct = 0
    for row, target in zip(logits, targets, strict=True):
        if row.argmax() == target:
            correct += 1
    return correct / len(targets)


class Trainer(Given):
    def train_batch(self, batch: tuple[Array, ...], group: int = 1) -> float:
        inputs, targets = batch
        self.model.train()
        with self.autocast():
            outputs = self.model(Tensor(inputs))
            loss = self.loss(outputs, targets)
        value = float(loss.item())
        if math.isnan(value) or math.isinf(value):
            raise NonFiniteError(f"the loss is {value} in epoch {self.epoch + 1}, batch {self.batch + 1}: stopped")
        part = loss * (1 / group)
        if self.scaler is not None:
            part = self.scaler.scale(part)
        part.backward()
        self.batch += 1
        self.gathered += 1
        self.samples += len(targets)
        self.loss_sum += value * len(targets)
        if self.gathered == group:
            self.gathered = 0
            finite = True
            if self.scaler is not None:
                finite = self.scaler.unscale_(self.optimizer)
            if finite and self.clip_norm is not None:
                clip_grad_norm_(self.optimizer.parameters(), self.clip_norm, error_if_nonfinite=True)
            if self.scaler is not None:
                self.scaler.step(self.optimizer)
                self.scaler.update()
            else:
                self.optimizer.step()
            self.optimizer.zero_grad()
            if self.schedule is not None:
                self.schedule.step()
        return value

    def evaluate(self, loader: Batches, split: str = "val") -> dict[str, float]:
        samples, loss_sum = 0, 0.0
        sums = dict.fromkeys(self.metrics, 0.0)
        for inputs, targets in loader.batches(0):
            n = len(targets)
            with evaluating(self.model), no_grad(), self.autocast():
                outputs = self.model(Tensor(inputs))
                loss = self.loss(outputs, targets)
            samples += n
            loss_sum += n * float(loss.item())
            for name, metric in self.metrics.items():
                sums[name] += n * float(metric(outputs.data, targets))
        figures = {f"{split}_loss": loss_sum / samples}
        for name, total in sums.items():
            figures[name] = total / samples
        return figures

    def _finish_epoch(self, validation: Batches | None, split: str) -> None:
        self.epoch = self.epoch + 1
        record: dict[str, float] = {}
        record["epoch"] = self.epoch
        record["train_loss"] = self.loss_sum / self.samples
        record["lr"] = float(self.optimizer.param_groups[0]["lr"])
        record["seconds"] = self.seconds
        if validation is not None:
            record.update(self.evaluate(validation, split))
        self.history.append(record)
        self.batch = 0
        self.samples = 0
        self.loss_sum = 0.0

    def _out_of_patience(self) -> bool:
        if self.patience is None:
            return False
        best, waited = math.inf, 0
        for record in self.history:
            if "val_loss" in record:
                if record["val_loss"] < best:
                    best, waited = record["val_loss"], 0
                else:
                    waited += 1
        return waited >= self.patience
