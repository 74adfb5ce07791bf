"""Module 07: optimizers, learning-rate schedules, and gradient clipping.

An optimizer holds parameters and updates them in `step()`; a schedule changes the optimizer's learning rate.
Updates run in place and use one scratch array for each parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tinytorch.arrays.updates import update_in_parallel
from tinytorch.base.errors import GradientError, InputTypeError, SettingError, StateError
from tinytorch.base.extension import OptimizerExtension, ScheduleExtension
from tinytorch.base.numbers import python_number
from tinytorch.base.promotion import in_float32, is_half, like
from tinytorch.inputs.parameters import leaf_parameters, listed, loaded_group, paired_groups, plain, tensors
from tinytorch.layers import Parameter
from tinytorch.tensor import Array, Tensor

ParameterGroup = dict[str, Any]


class Optimizer(OptimizerExtension):
    """Base class of all optimizers: parameter groups with their own settings, and state arrays for each parameter.

    The state of a 16-bit parameter and its step are float32; the result is rounded to the parameter's dtype. In
    float16, Adam's squared gradients would be 0 below 2e-4.

    Args:
        parameters: the result of `model.parameters()`, or a list of groups
            `{"params": [...], "weight_decay": 0.1, ...}` whose settings override the defaults.

    Raises:
        InputTypeError: this is not a list of parameters: of leaf tensors that require a gradient.
    """

    def __init__(self, parameters: Iterable[Parameter] | Iterable[ParameterGroup], **defaults: Any) -> None:
        name = type(self).__name__
        if isinstance(parameters, Tensor):
            raise InputTypeError(f"{name}: one tensor of shape {parameters.shape}: expected a list: write [tensor]")
        given: list[Any] = listed(name, parameters)
        groups = given if given and isinstance(given[0], dict) else [{"params": given}]
        if not all(isinstance(group, dict) and "params" in group for group in groups):
            raise InputTypeError(f'{name}: parameter groups: expected only dicts, each with "params"')
        self.param_groups: list[ParameterGroup] = [
            {**defaults, **group, "params": leaf_parameters(name, group["params"])} for group in groups
        ]
        self._check_groups(defaults.keys() | {"params", "initial_lr"})
        self.state: list[dict[str, Array]] = [
            self.new_state(in_float32(p.data), group) for group in self.param_groups for p in group["params"]
        ]
        self._scratch = [np.empty_like(in_float32(p.data)) for p in self.parameters()]

    def new_state(self, data: Array, group: ParameterGroup) -> dict[str, Array]:
        """Return the arrays that the update rule carries from step to step for one parameter."""
        return {}

    def update(self, data: Array, g: Array, state: dict[str, Array], scratch: Array, group: ParameterGroup) -> None:
        """Update one parameter in place.

        Args:
            data: the parameter's array, which is changed.
            g: the gradient, which is not: another tensor may share it.
            state: the arrays of `new_state`, which are changed, too.
            scratch: an array like `data` for intermediate results; its content is arbitrary before and after.
            group: the settings, by name.
        """
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
        """Call `_update` for every parameter that has a gradient, with its arrays and its group.

        `state` and `_scratch` have one entry for each parameter of all groups, in order, with and without a gradient.
        """
        i = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, self.state[i], self._scratch[i], group)
                i += 1

    def _update(self, parameter: Parameter, state: dict[str, Array], scratch: Array, group: ParameterGroup) -> None:
        """Call `update` with the parameter's data and gradient; 16-bit ones are float32 meanwhile."""
        assert parameter.grad is not None
        data, g = parameter.data, parameter.grad.data
        if data.itemsize > 2:
            self.update(data, g, state, scratch, group)
        else:
            wide = in_float32(data)
            self.update(wide, in_float32(g), state, scratch, group)
            data[...] = like(wide, data)

    def state_dict(self) -> dict[str, Any]:
        """Return everything a resumed run needs.

        `optimizer` is the name of the class, and `param_groups` the settings of each group, with the numbers of its
        parameters as `params`. The state arrays of parameter i are named `i.name`.
        """
        groups, places = [], iter(range(len(self.state)))
        for group in self.param_groups:
            settings = {name: plain(value) for name, value in group.items() if name != "params"}
            groups.append(settings | {"params": [next(places) for _ in group["params"]]})
        arrays = {f"{i}.{name}": array for i, state in enumerate(self.state) for name, array in state.items()}
        return {"optimizer": type(self).__name__, "param_groups": groups, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the settings and the state arrays from a `state_dict`.

        Raises:
            StateError: it is the state of another class, or its groups, settings, or arrays differ from those of this
                optimizer. Nothing is changed.
        """
        name = type(self).__name__
        if state.get("optimizer") != name:
            raise StateError(f"{name}: a state of {state.get('optimizer', 'no optimizer')}: expected one of {name}")
        groups = [
            loaded_group(name, *pair) for pair in paired_groups(name, self.param_groups, state.get("param_groups", ()))
        ]
        fresh = [self.new_state(in_float32(p.data), group) for group in groups for p in group["params"]]
        own = {f"{i}.{key}": array for i, arrays in enumerate(fresh) for key, array in arrays.items()}
        given = {key: np.asarray(state[key]) for key in state if key not in ("optimizer", "param_groups")}
        mismatched = [key for key in own.keys() | given.keys()
                      if key not in own or key not in given or own[key].shape != given[key].shape]  # fmt: skip
        if mismatched:
            raise StateError(f"{name}: state does not fit: {', '.join(sorted(mismatched))}")
        for key, array in own.items():
            array[...] = given[key]
        self.state[:] = fresh
        for group, loaded in zip(self.param_groups, groups, strict=True):
            group.clear()  # in place: a schedule and a wrapping optimizer use the same groups
            group.update(loaded)


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
        """Update one parameter by the formula of the class; arguments are as in `Optimizer.update`.

        The settings are `lr`, `weight_decay`, `momentum`, and `nesterov`. state["velocity"] is v, which is 0 before the
        first step; without momentum, there is no such array, and v = g.
        """
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
        """Update one parameter by the formula of the class; arguments are as in `Optimizer.update`.

        The settings are `lr`, `betas` (b1, b2), `eps`, and `weight_decay`. t = state["step"], an array of shape (),
        counts the updates of this parameter and is 1 in the first one. If `self.decoupled` is true, p shrinks by the
        factor 1 - lr weight_decay before the step; otherwise, weight_decay p is added to the gradient.
        """
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


update_in_parallel(SGD, Adam)

_NOT_SETTINGS = ("optimizer", "factor", "step_count")  # attributes of a schedule


class LambdaLR(ScheduleExtension):
    """Sets each group's learning rate to its initial value times `factor(step)`.

    Call `step()` after the optimizer's `step()`. The other schedules are subclasses that supply a formula.

    The first schedule of an optimizer notes each group's initial rate as its setting "initial_lr". The optimizer's
    state_dict contains it, so a schedule can be created before or after that state is loaded.
    """

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float]) -> None:
        self.optimizer, self.factor = optimizer, factor
        self.step_count = 0
        self._apply()

    @property
    def base_rates(self) -> list[float]:
        """Each group's initial learning rate."""
        rates: list[Any] = [group.setdefault("initial_lr", group["lr"]) for group in self.optimizer.param_groups]
        return rates

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

    def state_dict(self) -> dict[str, Any]:
        """Return the position, the initial rates, and the settings, as JSON values. A LambdaLR's function is left out.

        The names `last_epoch` and `base_lrs` are PyTorch's.
        """
        settings = {name: value for name, value in vars(self).items() if name not in _NOT_SETTINGS}
        found = {"schedule": type(self).__name__, "last_epoch": self.step_count, "base_lrs": self.base_rates}
        return {name: plain(value) for name, value in (found | settings).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the schedule with this `state_dict` was.

        Raises:
            StateError: it is the state of another class, or of an optimizer with another number of groups.
        """
        own = self.state_dict()
        if state.get("schedule") != own["schedule"] or state.keys() != own.keys():
            raise StateError(f"{own['schedule']}: a state of {state.get('schedule', 'no schedule')} with "
                             f"{sorted(state)}: expected one of {own['schedule']} with {sorted(own)}")  # fmt: skip
        if len(state["base_lrs"]) != len(own["base_lrs"]):
            raise StateError(f"{own['schedule']}: a state for {len(state['base_lrs'])} parameter groups: "
                             f"expected {len(own['base_lrs'])}")  # fmt: skip
        for name in own.keys() - {"schedule", "last_epoch", "base_lrs"}:
            setattr(self, name, state[name])
        for group, rate in zip(self.optimizer.param_groups, state["base_lrs"], strict=True):
            group["initial_lr"] = rate
        self.seek(state["last_epoch"])

    def _apply(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * self.factor(self.step_count)


class StepLR(LambdaLR):
    """Step decay: lr * gamma^floor(t / step_size) at step t."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = python_number(step_size), gamma
        if self.step_size < 1:
            raise SettingError(f"StepLR: step_size {step_size}: expected at least 1")
        super().__init__(optimizer, self._factor)

    def _factor(self, t: int) -> float:
        """Return the factor of step t: gamma^floor(t / step_size)."""
        return self.gamma ** (t // self.step_size)


class CosineLR(LambdaLR):
    """Linear warmup, then cosine decay.

    For the first `warmup` steps, the rate is lr (t + 1) / (warmup + 1). It then follows half a cosine from lr down to
    lr * final at step `total`, and stays there.
    Source: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """

    def __init__(self, optimizer: Optimizer, total: int, warmup: int = 0, final: float = 0.0) -> None:
        """Store the settings, and pass `_factor` to `LambdaLR`.

        Raises:
            SettingError: the warmup is negative, or no steps are left after it.
        """
        total, warmup = python_number(total), python_number(warmup)
        if not 0 <= warmup < total:
            raise SettingError(f"CosineLR: warmup {warmup} of {total} steps: expected 0 <= warmup < total")
        self.total, self.warmup, self.final = total, warmup, final
        super().__init__(optimizer, self._factor)

    def _factor(self, t: int) -> float:
        """Return the factor of step t.

        It is (t + 1) / (warmup + 1) for t < warmup, and then final + (1 - final) (1 + cos(pi q)) / 2, with the progress
        q = (t - warmup) / (total - warmup), at most 1.
        """
        if t < self.warmup:
            return (t + 1) / (self.warmup + 1)
        progress = min(1.0, (t - self.warmup) / (self.total - self.warmup))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float, error_if_nonfinite: bool = False) -> float:
    """Scale all gradients by one factor so that their total norm is at most max_norm; return the norm before scaling.

    The norm is the square root of the sum of the squares of all elements of all gradients. Squares can overflow float32
    even if the gradients do not: the norm is finite then, too. If it is at most max_norm, nothing changes. Otherwise,
    each gradient is multiplied by max_norm / norm and keeps its dtype. Gradients may be shared with other tensors, so
    they are replaced by new Tensors, not written into. Parameters without a gradient are skipped.

    If the norm is NaN or infinite, no factor would help, and the gradients stay as they are. A GradScaler (module 15)
    then skips the step.

    Source: Pascanu et al. 2013, https://arxiv.org/abs/1211.5063.

    Raises:
        GradientError: the norm is NaN or infinite, and `error_if_nonfinite` is set.
        InputTypeError: this is neither a tensor nor a list of tensors.
    """
    with_grad = [p for p in tensors("clip_grad_norm_", parameters) if p.grad is not None]
    gradients = [in_float32(p.grad.data) for p in with_grad if p.grad is not None]
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    if norm == math.inf:  # squares can overflow float32 even if the gradients do not
        norm = math.hypot(*(float(np.linalg.norm(g.astype(np.float64))) for g in gradients))
    if not math.isfinite(norm):
        if error_if_nonfinite:
            raise GradientError(f"clip_grad_norm_: the gradients' norm is {norm}")
        return norm
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
