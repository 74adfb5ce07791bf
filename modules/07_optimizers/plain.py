"""Module 07, written as a learner would: the course's proof tests that these answers pass, too."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinytorch.base.errors import GradientError
from tinytorch.layers import Parameter
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
                self.update(parameter.data, parameter.grad.data, self.state[i], self._scratch[i], group)


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
    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        def factor(t: int) -> float:
            return gamma ** math.floor(t / step_size)

        super().__init__(optimizer, factor)


class CosineLR(LambdaLR):
    def __init__(self, optimizer: Optimizer, total: int, warmup: int = 0, final: float = 0.0) -> None:
        def factor(t: int) -> float:
            if t < warmup:
                return (t + 1) / (warmup + 1)
            if t >= total:
                return final
            q = (t - warmup) / (total - warmup)
            return final + (1 - final) * (1 + math.cos(math.pi * q)) / 2

        super().__init__(optimizer, factor)


def clip_grad_norm_(parameters: Iterable[Parameter], max_norm: float) -> float:
    with_gradient = [p for p in parameters if p.grad is not None]
    total = 0.0
    for p in with_gradient:
        g = p.grad.data.astype(np.float64)
        total += float((g * g).sum())
    norm = math.sqrt(total)
    if not math.isfinite(norm):
        raise GradientError(f"clip_grad_norm_: the gradients' norm is {norm}")
    if norm > max_norm:
        for p in with_gradient:
            factor = p.grad.data.dtype.type(max_norm / norm)
            p.grad = Tensor(p.grad.data * factor)
    return norm
