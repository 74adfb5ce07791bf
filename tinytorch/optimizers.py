"""Module 07: optimizers, learning-rate schedules, and gradient clipping.

An optimizer holds parameters and updates them in `step()`; a schedule changes the optimizer's learning rate.
Updates run in place and use one scratch array for each parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinytorch.base.errors import GradientError, SettingError, StateError
from tinytorch.base.promotion import in_float32, is_half, like
from tinytorch.layers import Parameter
from tinytorch.tensor import Array, Tensor

ParameterGroup = dict[str, Any]


class Optimizer:
    """Base class of all optimizers: parameter groups with their own settings, and state arrays for each parameter.

    The state of a 16-bit parameter and its step are float32; the result is rounded to the parameter's dtype. (In float16,
    Adam's squared gradients would be 0 below 2e-4.)

    Args:
        parameters: the result of `model.parameters()`, or a list of groups
            `{"params": [...], "weight_decay": 0.1, ...}` whose settings override the defaults.
    """

    def __init__(self, parameters: Iterable[Parameter] | Iterable[ParameterGroup], **defaults: Any) -> None:
        given: list[Any] = list(parameters)
        groups = given if given and isinstance(given[0], dict) else [{"params": given}]
        self.param_groups: list[ParameterGroup] = [
            {**defaults, **group, "params": list(group["params"])} for group in groups
        ]
        self._check_groups(defaults.keys() | {"params"})
        self.state: list[dict[str, Array]] = [
            self.new_state(in_float32(p.data), group) for group in self.param_groups for p in group["params"]
        ]
        self._scratch = [np.empty_like(in_float32(p.data)) for p in self.parameters()]

    def new_state(self, data: Array, group: ParameterGroup) -> dict[str, Array]:
        """Return the arrays that the update rule carries from step to step for one parameter."""
        return {}

    def update(self, data: Array, g: Array, state: dict[str, Array], scratch: Array, group: ParameterGroup) -> None:
        """Update one parameter in place."""
        raise NotImplementedError(f"{type(self).__name__} must define update()")

    def _check_groups(self, known: set[str]) -> None:
        name, ids = type(self).__name__, [id(p) for p in self.parameters()]
        unknown = {key for group in self.param_groups for key in group} - known
        if unknown:
            raise SettingError(f"{name}: unknown settings {', '.join(sorted(unknown))}: expected {sorted(known)}")
        if not ids:
            raise SettingError(f"{name}: no parameters were given")
        if len(ids) != len(set(ids)):
            raise SettingError(f"{name}: a parameter was given twice")

    def parameters(self) -> list[Parameter]:
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        """Reset the gradients to None, so that the next backward pass does not add to them."""
        for parameter in self.parameters():
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        i = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    data, g = parameter.data, parameter.grad.data
                    wide = in_float32(data)  # the data itself, unless it has 16 bits
                    self.update(wide, g if wide is data else in_float32(g), self.state[i], self._scratch[i], group)
                    if wide is not data:
                        data[...] = like(wide, data)
                i += 1

    def state_dict(self) -> dict[str, Array]:
        """Return everything a resumed run needs: each group's learning rate and the state arrays."""
        rates = [float(group["lr"]) for group in self.param_groups]
        arrays = {f"{i}.{name}": array for i, state in enumerate(self.state) for name, array in state.items()}
        return {"lr": np.array(rates), **arrays}

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Restore the learning rates and state arrays from a `state_dict`.

        Raises:
            StateError: its names or shapes differ from those of this optimizer.
        """
        own = self.state_dict()
        mismatched = [name for name in own.keys() | state.keys()
                   if name not in own or name not in state or own[name].shape != state[name].shape]  # fmt: skip
        if mismatched:
            raise StateError(f"{type(self).__name__}: state does not fit: {', '.join(sorted(mismatched))}")
        for group, rate in zip(self.param_groups, state["lr"], strict=True):
            group["lr"] = float(rate)
        for i, arrays in enumerate(self.state):
            for name, array in arrays.items():
                array[...] = state[f"{i}.{name}"]


class SGD(Optimizer):
    """Stochastic gradient descent.

    g = gradient + weight_decay p;  v = momentum v + g;  p = p - lr v, or with Nesterov p - lr (g + momentum v).
    Source: Sutskever et al. 2013, http://proceedings.mlr.press/v28/sutskever13.html, in PyTorch's formulation.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[ParameterGroup],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        _check(self, lr=lr, weight_decay=weight_decay)
        if not 0 <= momentum < 1 or (nesterov and momentum == 0):
            raise SettingError(f"SGD: momentum {momentum}: expected 0 <= momentum < 1, and > 0 for Nesterov")
        super().__init__(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)

    def new_state(self, data: Array, group: ParameterGroup) -> dict[str, Array]:
        return {"velocity": np.zeros_like(data)} if group["momentum"] else {}

    def update(self, data: Array, g: Array, state: dict[str, Array], scratch: Array, group: ParameterGroup) -> None:
        if group["weight_decay"]:
            np.multiply(data, group["weight_decay"], out=scratch)
            scratch += g
            g = scratch
        if group["momentum"]:
            velocity = state["velocity"]
            velocity *= group["momentum"]
            velocity += g
            g = g + group["momentum"] * velocity if group["nesterov"] else velocity
        np.multiply(g, group["lr"], out=scratch)
        data -= scratch


class Adam(Optimizer):
    """Adam: the step of each element depends on running averages of its gradient and its squared gradient.

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p = p - lr m/(1 - b1^t) / (sqrt(v/(1 - b2^t)) + eps).
    Weight decay, if any, is added to the gradient. Source: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.

    The state arrays hold m/(1 - b1) and v/(1 - b2). The constant factors move into the two scalars of the step, which
    saves two of twelve passes over memory.
    """

    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[ParameterGroup],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        _check(self, lr=lr, weight_decay=weight_decay, eps=eps)
        if not all(0 <= b < 1 for b in betas):
            raise SettingError(f"{type(self).__name__}: betas {betas}: expected 0 <= beta < 1")
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def new_state(self, data: Array, group: ParameterGroup) -> dict[str, Array]:
        return {"mean": np.zeros_like(data), "square": np.zeros_like(data), "step": np.zeros((), np.int64)}

    def update(self, data: Array, g: Array, state: dict[str, Array], scratch: Array, group: ParameterGroup) -> None:
        (beta1, beta2), lr = group["betas"], group["lr"]
        state["step"] += 1  # counted per parameter: one that had no gradient until now starts at step 1
        t = int(state["step"])
        if group["weight_decay"]:
            if self.decoupled:
                data *= 1 - lr * group["weight_decay"]
            else:
                g = g + group["weight_decay"] * data
        mean, square = state["mean"], state["square"]
        mean *= beta1
        mean += g
        np.multiply(g, g, out=scratch)
        square *= beta2
        square += scratch
        # With m = (1 - b1) mean and v = (1 - b2) square, each bias correction becomes one factor
        root = math.sqrt((1 - beta2) / (1 - beta2**t))
        np.sqrt(square, out=scratch)
        scratch += group["eps"] / root
        np.divide(mean, scratch, out=scratch)
        scratch *= lr * (1 - beta1) / (1 - beta1**t) / root
        data -= scratch


class AdamW(Adam):
    """Adam with weight decay decoupled from the gradient: p = p (1 - lr weight_decay) before the step.

    Source: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[ParameterGroup],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)


class LambdaLR:
    """Sets each group's learning rate to its initial value times `factor(step)`.

    Call `step()` after the optimizer's `step()`. The other schedules are subclasses that supply a formula.
    """

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float]) -> None:
        self.optimizer, self.factor = optimizer, factor
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.step_count = 0
        self._apply()

    def step(self) -> None:
        self.step_count += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """Return each group's current learning rate."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def seek(self, step: int) -> None:
        """Jump to a step, as a resumed run does."""
        self.step_count = step
        self._apply()

    def _apply(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * self.factor(self.step_count)


class StepLR(LambdaLR):
    """Step decay: lr * gamma^floor(t / step_size) at step t."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer, lambda t: gamma ** (t // step_size))


class CosineLR(LambdaLR):
    """Linear warmup, then cosine decay.

    For the first `warmup` steps, the rate is lr (t + 1) / (warmup + 1). It then follows half a cosine from lr down to
    lr * final at step `total`, and stays there.
    Source: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """

    def __init__(self, optimizer: Optimizer, total: int, warmup: int = 0, final: float = 0.0) -> None:
        if not 0 <= warmup < total:
            raise SettingError(f"CosineLR: warmup {warmup} of {total} steps: expected 0 <= warmup < total")

        def factor(t: int) -> float:
            if t < warmup:
                return (t + 1) / (warmup + 1)
            progress = min(1.0, (t - warmup) / (total - warmup))
            return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))

        super().__init__(optimizer, factor)


def clip_grad_norm_(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients by one factor so that their total norm is at most max_norm; return the norm before scaling.

    Source: Pascanu et al. 2013, https://arxiv.org/abs/1211.5063.

    Raises:
        GradientError: the norm is NaN or infinite, so no factor would help.
    """
    with_grad = [p for p in parameters if p.grad is not None]
    gradients = [in_float32(p.grad.data) for p in with_grad if p.grad is not None]
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    if norm == math.inf:  # squares can overflow float32 even if the gradients do not
        norm = math.hypot(*(float(np.linalg.norm(g.astype(np.float64))) for g in gradients))
    if not math.isfinite(norm):
        raise GradientError(f"clip_grad_norm_: the gradients' norm is {norm}")
    if norm > max_norm:
        for p in with_grad:  # new arrays, because a gradient may be shared with another tensor
            g = p.grad.data  # type: ignore[union-attr]
            p.grad = Tensor(like(in_float32(g) * np.float32(max_norm / norm), g) if is_half(g.dtype)
                            else g * p.dtype.type(max_norm / norm))  # fmt: skip
    return norm


def _check(optimizer: Optimizer, **settings: float) -> None:
    for name, value in settings.items():
        if not value >= 0:
            raise SettingError(f"{type(optimizer).__name__}: {name} {value}: expected at least 0")
