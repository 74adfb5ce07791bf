"""`optim.lr_scheduler`: learning-rate schedules beyond the course. Call `step()` after the optimizer's `step()`."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tinytorch import optimizers
from tinytorch.base.errors import SettingError
from tinytorch.base.words import all_in_words
from tinytorch.optimizers import LambdaLR as CourseLambdaLR
from tinytorch.optimizers import Optimizer, StepLR

Factor = Callable[[int], float]


class _Schedule(CourseLambdaLR):
    """A schedule whose rate at each step is a function of the step and the initial rate: `rate(step, base)`.

    If the optimizer had a schedule before, a `chained` one continues from the current rates, as PyTorch's.
    """

    chained = True

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if last_epoch != -1:
            raise SettingError(
                f"{type(self).__name__}: last_epoch {last_epoch}: expected -1; use load_state_dict() or seek()"
            )
        groups = optimizer.param_groups
        self.scales = [g["lr"] / g["initial_lr"] if g.get("initial_lr") and self.chained else 1.0 for g in groups]
        super().__init__(optimizer, lambda step: 1.0)

    def rate(self, step: int, base: float) -> float:
        """Return the learning rate at a step for a group with this initial rate."""
        raise NotImplementedError(f"{type(self).__name__} must define rate()")

    def _apply(self) -> None:
        for group, base, scale in zip(self.optimizer.param_groups, self.base_rates, self.scales, strict=False):
            group["lr"] = self.rate(self.step_count, base) * scale


class LambdaLR(_Schedule):
    """Sets each group's rate to its initial value times `lr_lambda(step)`: one function, or one for each group."""

    chained = False

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1) -> None:
        count = len(optimizer.param_groups)
        self.factors = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.factors) != count:
            raise SettingError(f"LambdaLR: {len(self.factors)} functions for {count} groups: expected one for each")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position and the initial rates; the functions are left out."""
        return {name: value for name, value in super().state_dict().items() if name != "factors"}

    def _apply(self) -> None:
        rates = zip(self.optimizer.param_groups, self.base_rates, self.factors, strict=False)
        for group, base, factor in rates:
            group["lr"] = base * factor(self.step_count)


class MultiStepLR(_Schedule):
    """lr * gamma^k after the k-th milestone."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, step: int, base: float) -> float:
        return base * self.gamma ** bisect_right(self.milestones, step)


class ExponentialLR(_Schedule):
    """lr * gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, step: int, base: float) -> float:
        return base * self.gamma**step


class ConstantLR(_Schedule):
    """lr * factor for the first total_iters steps, then lr."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        self.factor_, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, step: int, base: float) -> float:
        return base * self.factor_ if step < self.total_iters else base


class LinearLR(_Schedule):
    """From lr * start_factor to lr * end_factor in total_iters steps."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5,
                 last_epoch: int = -1) -> None:  # fmt: skip
        self.start, self.end, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, step: int, base: float) -> float:
        return base * (self.start + (self.end - self.start) * min(step, self.total_iters) / self.total_iters)


class PolynomialLR(_Schedule):
    """lr * (1 - t / total_iters)^power, then 0."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, step: int, base: float) -> float:
        return base * (1 - min(step, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(_Schedule):
    """eta_min + (lr - eta_min) (1 + cos(pi t / T_max)) / 2; after T_max, the rate rises again."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, step: int, base: float) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * step / self.T_max)) / 2


class CosineAnnealingWarmRestarts(_Schedule):
    """Half a cosine from lr to eta_min in T_0 steps, again and again; each time T_mult times as long.

    Source: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """

    chained = False

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 < 1 or T_mult < 1:
            raise SettingError(f"CosineAnnealingWarmRestarts: T_0 {T_0}, T_mult {T_mult}: expected at least 1")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, step: int, base: float) -> float:
        length = self.T_0
        while step >= length:
            step -= length
            length *= self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * step / length)) / 2


class OneCycleLR(_Schedule):
    """A rise from max_lr / div_factor to max_lr, and a longer fall to a small fraction of it.

    Momentum, or Adam's first beta, moves the other way, from max_momentum down to base_momentum and back.
    Source: Smith and Topin 2018, https://arxiv.org/abs/1708.07120.
    """

    chained = False

    def __init__(
        self, optimizer: Optimizer, max_lr: float | Sequence[float], total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float = 0.85,
        max_momentum: float = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise SettingError("OneCycleLR: expected total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if anneal_strategy not in ("cos", "linear"):
            raise SettingError(f"OneCycleLR: anneal_strategy {anneal_strategy!r}: expected 'cos' or 'linear'")
        self.total, self.linear, self.cycle_momentum = total_steps, anneal_strategy == "linear", cycle_momentum
        rates = [max_lr] * len(optimizer.param_groups) if isinstance(max_lr, int | float) else list(max_lr)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = group["initial_lr"] = rate / div_factor
        self.div, low, high = div_factor, base_momentum, max_momentum
        up = float(pct_start * total_steps) - 1
        # the last step of each phase, and the factors of max_lr and the momentum at its ends
        first, floor = 1 / div_factor, 1 / div_factor / final_div_factor
        if three_phase:
            phases = [(up, first, 1.0, high, low), (2 * up, 1.0, first, low, high)]
            phases.append((total_steps - 1, first, floor, high, high))
        else:
            phases = [(up, first, 1.0, high, low), (total_steps - 1, 1.0, floor, low, high)]
        self.phases = phases
        super().__init__(optimizer, last_epoch)

    def _at(self, step: int) -> tuple[float, float]:
        """Return the factor of max_lr and the momentum at a step."""
        begin = 0.0
        for i, (end, lr0, lr1, m0, m1) in enumerate(self.phases):
            if step <= end or i == len(self.phases) - 1:
                share = (step - begin) / (end - begin)
                part = share if self.linear else (1 - math.cos(math.pi * share)) / 2
                return lr0 + (lr1 - lr0) * part, m0 + (m1 - m0) * part
            begin = end
        raise AssertionError("no phase")

    def _apply(self) -> None:
        if self.step_count >= self.total:
            raise SettingError(
                f"OneCycleLR: step {self.step_count + 1} of {self.total}: expected no more steps than total_steps"
            )
        factor, momentum = self._at(self.step_count)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=False):
            group["lr"] = base * self.div * factor
            if self.cycle_momentum and "betas" in group:
                _set_first_beta(self.optimizer, group, momentum)
            elif self.cycle_momentum and "momentum" in group:
                group["momentum"] = momentum


def _set_first_beta(optimizer: Optimizer, group: dict[str, Any], beta: float) -> None:
    """Change beta1 of a group. The course's Adam keeps m / (1 - beta1), which is scaled to the new factor."""
    before = group["betas"][0]
    group["betas"] = (beta, *group["betas"][1:])
    if type(optimizer) in (optimizers.Adam, optimizers.AdamW):
        own = {id(p) for p in group["params"]}
        for parameter, state in zip(optimizer.parameters(), optimizer.state, strict=True):
            if id(parameter) in own:
                state["mean"] *= (1 - before) / (1 - beta)


class SequentialLR:
    """Several schedules, one after the other: the next one starts at its milestone, with its own step 0."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[Any], milestones: Sequence[int]) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise SettingError(
                f"SequentialLR: {len(schedulers)} schedules, {len(milestones)} milestones: expected one fewer"
            )
        self.optimizer, self.schedulers, self.milestones = optimizer, list(schedulers), list(milestones)
        self.step_count = 0
        for schedule in self.schedulers:
            schedule.scales = [1.0] * len(optimizer.param_groups)  # each one starts from the initial rates
        self.schedulers[0].seek(0)

    def step(self) -> None:
        """Set the rates of the next step."""
        self.step_count += 1
        i = bisect_right(self.milestones, self.step_count)
        self.schedulers[i].seek(self.step_count - (self.milestones[i - 1] if i else 0))

    def get_last_lr(self) -> list[float]:
        """Return each group's current learning rate."""
        return [group["lr"] for group in self.optimizer.param_groups]


class ReduceLROnPlateau:
    """Multiplies the rates by `factor` when a metric has not improved for more than `patience` calls of `step(metric)`.

    Args:
        mode: "min" if a smaller metric is better, else "max".
        threshold, threshold_mode: an improvement is at least this large, relative ("rel") or absolute ("abs").
        cooldown: calls after a reduction that do not count.
        min_lr: rates stay at least this large. eps: smaller reductions are left out.
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
        threshold_mode: str = "rel", cooldown: int = 0, min_lr: float = 0.0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        if not factor < 1:
            raise SettingError(f"ReduceLROnPlateau: factor {factor}: expected less than 1")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise SettingError(f"ReduceLROnPlateau: mode {mode!r}, {threshold_mode!r}: expected min or max, rel or abs")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.relative, self.cooldown = threshold, threshold_mode == "rel", cooldown
        self.min_lr, self.eps = min_lr, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.step_count = 0

    @property
    def last_epoch(self) -> int:
        """The number of steps so far."""
        return self.step_count

    def step(self, metrics: Any) -> None:
        """Take note of a metric, and reduce the rates if it has not improved for long enough."""
        value = float(metrics)
        self.step_count += 1
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group in self.optimizer.param_groups:
                new = max(group["lr"] * self.factor, self.min_lr)
                if group["lr"] - new > self.eps:
                    group["lr"] = new
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _better(self, value: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if math.isinf(self.best):
            return sign * value < sign * self.best
        if self.relative:
            return value < self.best * (1 - self.threshold) if sign > 0 else value > self.best * (1 + self.threshold)
        return sign * value < sign * self.best - self.threshold

    def get_last_lr(self) -> list[float]:
        """Return each group's current learning rate."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return everything a resumed run needs."""
        names = ("best", "num_bad_epochs", "cooldown_counter", "step_count")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        vars(self).update({name: state[name] for name in self.state_dict()})


CosineLR = optimizers.CosineLR
__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CosineLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

all_in_words(globals(), "tinytorch.optim.lr_scheduler")
