"""Optimizers beyond the course, and the course's with PyTorch's longer signatures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch import optimizers
from tinytorch.base.course import Longer
from tinytorch.base.errors import SettingError
from tinytorch.optimizers import Optimizer, ParameterGroup
from tinytorch.tensor import Array

State = dict[str, Array]


def _check(name: str, **settings: float) -> None:
    for key, value in settings.items():
        if not value >= 0:
            raise SettingError(f"{name}: {key} {value}: expected at least 0")


def _decayed(data: Array, g: Array, group: ParameterGroup) -> Array:
    """Return the gradient of what is minimized: with the weight decay, and with `maximize` its negative."""
    g = -g if group.get("maximize") else g
    return g + group["weight_decay"] * data if group["weight_decay"] else g


class SGD(optimizers.SGD):
    """The course's SGD with PyTorch's order of arguments, and `dampening` and `maximize`.

    v = momentum v + (1 - dampening) g, but v = g in the first step.
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0, weight_decay: float = 0.0,
        nesterov: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        _check("SGD", lr=lr, weight_decay=weight_decay)
        if momentum < 0 or (nesterov and (momentum == 0 or dampening != 0)):
            raise SettingError(f"SGD: momentum {momentum}, dampening {dampening}: expected at least 0, and for "
                               f"Nesterov momentum > 0 and dampening 0")  # fmt: skip
        Optimizer.__init__(
            self, params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
            maximize=maximize,
        )  # fmt: skip

    def new_state(self, data: Array, group: ParameterGroup) -> State:
        state = super().new_state(data, group)
        return {**state, "steps": np.zeros((), np.int64)} if group["dampening"] else state

    def update(self, data: Array, g: Array, state: State, scratch: Array, group: ParameterGroup) -> None:
        if group["maximize"]:
            g = -g
        if group["dampening"] and group["momentum"]:
            g = g + group["weight_decay"] * data if group["weight_decay"] else g
            velocity = state["velocity"]
            velocity *= group["momentum"]
            velocity += g if state["steps"] == 0 else (1 - group["dampening"]) * g
            state["steps"] += 1
            data -= group["lr"] * velocity
            return
        super().update(data, g, state, scratch, group)


class RMSprop(Optimizer):
    """v = alpha v + (1 - alpha) g^2;  p = p - lr g / (sqrt(v) + eps), with momentum on the quotient.

    `centered` subtracts the squared running mean of g from v. Source: Hinton 2012, lecture 6e.
    """

    def __init__(
        self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0,
        momentum: float = 0.0, centered: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        _check("RMSprop", lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
        super().__init__(
            params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered,
            maximize=maximize,
        )  # fmt: skip

    def new_state(self, data: Array, group: ParameterGroup) -> State:
        names = ["square", *(["mean"] if group["centered"] else []), *(["velocity"] if group["momentum"] else [])]
        return {name: np.zeros_like(data) for name in names}

    def update(self, data: Array, g: Array, state: State, scratch: Array, group: ParameterGroup) -> None:
        g, alpha = _decayed(data, g, group), group["alpha"]
        square = state["square"]
        square *= alpha
        square += (1 - alpha) * g * g
        spread = square
        if group["centered"]:
            mean = state["mean"]
            mean += (1 - alpha) * (g - mean)
            spread = square - mean * mean
        step = g / (np.sqrt(spread) + group["eps"])
        if group["momentum"]:
            velocity = state["velocity"]
            velocity *= group["momentum"]
            velocity += step
            step = velocity
        data -= group["lr"] * step


class Adagrad(Optimizer):
    """s = s + g^2;  p = p - lr / (1 + t lr_decay) g / (sqrt(s) + eps) at step t, from 0.

    Source: Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html.
    """

    def __init__(
        self, params: Any, lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, eps: float = 1e-10, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        _check("Adagrad", lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps)
        super().__init__(
            params, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps, maximize=maximize,
            initial_accumulator_value=initial_accumulator_value,
        )  # fmt: skip

    def new_state(self, data: Array, group: ParameterGroup) -> State:
        return {"sum": np.full_like(data, group["initial_accumulator_value"]), "steps": np.zeros((), np.int64)}

    def update(self, data: Array, g: Array, state: State, scratch: Array, group: ParameterGroup) -> None:
        g = _decayed(data, g, group)
        rate = group["lr"] / (1 + int(state["steps"]) * group["lr_decay"])
        state["steps"] += 1
        total = state["sum"]
        total += g * g
        data -= rate * g / (np.sqrt(total) + group["eps"])


class Adadelta(Optimizer):
    """v = rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u = rho u + (1 - rho) d^2;  p = p - lr d.

    Source: Zeiler 2012, https://arxiv.org/abs/1212.5701.
    """

    def __init__(
        self, params: Any, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0, *,
        maximize: bool = False,
    ) -> None:  # fmt: skip
        _check("Adadelta", lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def new_state(self, data: Array, group: ParameterGroup) -> State:
        return {"square": np.zeros_like(data), "steps": np.zeros_like(data)}

    def update(self, data: Array, g: Array, state: State, scratch: Array, group: ParameterGroup) -> None:
        g, rho, eps = _decayed(data, g, group), group["rho"], group["eps"]
        square, steps = state["square"], state["steps"]
        square *= rho
        square += (1 - rho) * g * g
        step = np.sqrt(steps + eps) / np.sqrt(square + eps) * g
        steps *= rho
        steps += (1 - rho) * step * step
        data -= group["lr"] * step


class Adamax(Optimizer):
    """m = b1 m + (1 - b1) g;  u = max(b2 u, |g| + eps);  p = p - lr / (1 - b1^t) m / u.

    Source: Kingma and Ba 2015, section 7.1, https://arxiv.org/abs/1412.6980.
    """

    def __init__(
        self, params: Any, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        _check("Adamax", lr=lr, eps=eps, weight_decay=weight_decay)
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def new_state(self, data: Array, group: ParameterGroup) -> State:
        return {"mean": np.zeros_like(data), "largest": np.zeros_like(data), "steps": np.zeros((), np.int64)}

    def update(self, data: Array, g: Array, state: State, scratch: Array, group: ParameterGroup) -> None:
        g, (beta1, beta2) = _decayed(data, g, group), group["betas"]
        state["steps"] += 1
        mean, largest = state["mean"], state["largest"]
        mean += (1 - beta1) * (g - mean)
        np.maximum(beta2 * largest, np.abs(g) + group["eps"], out=largest)
        data -= group["lr"] / (1 - beta1 ** int(state["steps"])) * mean / largest


class AMSGrad:
    """What Adam and AdamW do with `amsgrad`: divide by the largest v so far (Reddi et al. 2018)."""

    decoupled: bool

    def update(self, data: Array, g: Array, state: State, scratch: Array, group: ParameterGroup) -> None:
        """Update one parameter in place."""
        (beta1, beta2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
        g = -g if group["maximize"] else g
        state["step"] += 1
        t = int(state["step"])
        if decay and self.decoupled:
            data *= 1 - lr * decay
        elif decay:
            g = g + decay * data
        mean, square = state["mean"], state["square"]
        mean += (1 - beta1) * (g - mean)
        square *= beta2
        square += (1 - beta2) * g * g
        v = square
        if group["amsgrad"]:
            np.maximum(state["largest"], square, out=state["largest"])
            v = state["largest"]
        root = np.sqrt(v) / math.sqrt(1 - beta2**t) + group["eps"]
        data -= lr / (1 - beta1**t) * mean / root


class _Longer(AMSGrad, Optimizer):
    """The state and the settings of Adam with `amsgrad` and `maximize`."""

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float | None = None, amsgrad: bool = False, *, maximize: bool = False, **_: Any,
    ) -> None:  # fmt: skip
        decay = (1e-2 if self.decoupled else 0.0) if weight_decay is None else weight_decay
        _check(type(self).__name__, lr=lr, eps=eps, weight_decay=decay)
        Optimizer.__init__(
            self, params, lr=lr, betas=betas, eps=eps, weight_decay=decay, amsgrad=amsgrad, maximize=maximize
        )

    def new_state(self, data: Array, group: ParameterGroup) -> State:
        state = {"mean": np.zeros_like(data), "square": np.zeros_like(data), "step": np.zeros((), np.int64)}
        return {**state, "largest": np.zeros_like(data)} if group["amsgrad"] else state

    @staticmethod
    def plain(*given: Any, amsgrad: bool = False, maximize: bool = False, **named: Any) -> Any:
        """Return the arguments for the course's class, or None if it lacks a setting; it has no use for speedups."""
        for name in ("foreach", "fused", "capturable", "differentiable"):
            named.pop(name, None)
        return None if amsgrad or maximize or len(given) > 5 else (given, named)


class Adam(_Longer, optimizers.Adam, metaclass=Longer):
    """The course's Adam, with PyTorch's settings `amsgrad` and `maximize`."""

    course = optimizers.Adam


class AdamW(_Longer, optimizers.AdamW, metaclass=Longer):
    """The course's AdamW, with PyTorch's settings `amsgrad` and `maximize`."""

    course = optimizers.AdamW
