"""Module 07, written as a learner would: the course's proof tests that these answers pass, too."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinytorch.base.errors import GradientError
from tinytorch.inputs.parameters import tensors
from tinytorch.optimizers import LambdaLR, ParameterGroup
from tinytorch.optimizers import Optimizer as Given
from tinytorch.tensor import Array, Tensor


class Optimizer(Given):
    def zero_grad(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self) -> None:
        parameters = [(p, group) for group in self.param_groups for p in group["params"]]
        for i, (parameter, group) in enumerate(parameters):
            if parameter.grad is not None:
                self._update(parameter, self.state[i], self._scratch[i], group)


class SGD(Optimizer):
    def update(self, data: Array, g: Array, state: dict[str, Array], scratch: Array, group: ParameterGroup) -> None:
        g = g + group["weight_decay"] * data
        momentum = group["momentum"]
        v = g
        if momentum:
            state["velocity"] = momentum * state["velocity"] + g
            v = state["velocity"]
        if group["nesterov"]:
            data -= group["lr"] * (g + momentum * v)
        else:
            data -= group["lr"] * v


class Adam(Optimizer):
    def update(self, data: Array, g: Array, state: dict[str, Array], scratch: Array, group: ParameterGroup) -> None:
        b1, b2 = group["betas"]
        lr, decay = group["lr"], group["weight_decay"]
        state["step"] += 1
        t = int(state["step"])
        if self.decoupled:
            data *= 1 - lr * decay
        else:
            g = g + decay * data
        state["mean"] = b1 * state["mean"] + (1 - b1) * g
        state["square"] = b2 * state["square"] + (1 - b2) * g * g
        m = state["mean"] / (1 - b1**t)
        v = state["square"] / (1 - b2**t)
        data -= lr * m / (np.sqrt(v) + group["eps"])


class StepLR(LambdaLR):
    def _factor(self, t: int) -> float:
        return self.gamma ** math.floor(t / self.step_size)


class CosineLR(LambdaLR):
    def _factor(self, t: int) -> float:
        if t < self.warmup:
            return (t + 1) / (self.warmup + 1)
        if t >= self.total:
            return self.final
        q = (t - self.warmup) / (self.total - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * q)) / 2


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float, error_if_nonfinite: bool = False) -> float:
    with_gradient = [p for p in tensors("clip_grad_norm_", parameters) if p.grad is not None]
    total = 0.0
    for p in with_gradient:
        g = p.grad.data.astype(np.float64)
        total += float((g * g).sum())
    norm = math.sqrt(total)
    if not math.isfinite(norm) and error_if_nonfinite:
        raise GradientError(f"clip_grad_norm_: the gradients' norm is {norm}")
    if math.isfinite(norm) and norm > max_norm:
        for p in with_gradient:
            factor = p.grad.data.dtype.type(max_norm / norm)
            p.grad = Tensor(p.grad.data * factor)
    return norm
