"""The plain answer to module 15, for the course's own proof."""

from __future__ import annotations

import numpy as np

from tinytorch.base.errors import GradientError
from tinytorch.half import by_float32 as H
from tinytorch.mixed_precision import _LARGEST, _SMALLEST, _policy
from tinytorch.native import backend
from tinytorch.optimizers import Optimizer
from tinytorch.tensor import Op, Operand, Tensor, apply, is_floating, set_policy


class _Policy:
    def __call__(self, op: Op, inputs: tuple[Operand, ...]) -> tuple[Op, tuple[Operand, ...]]:
        if op not in self.table:
            return op, tuple(_full(x) for x in inputs)
        changed = list(inputs)
        if op in self.rounded:
            rounding, places = self.rounded[op]
            for i in places:
                if i < len(changed):
                    changed[i] = self._half(changed[i], rounding)
        return self.table[op], tuple(changed)

    def _half(self, x: Operand, rounding: Op) -> Operand:
        if not isinstance(x, Tensor):
            return H.narrow(x, self.dtype)
        if x.dtype == self.dtype or not is_floating(x.dtype):
            return x
        return apply(rounding, x, dtype=self.dtype)


def _full(x: Operand) -> Operand:
    if not isinstance(x, Tensor):
        return H.widen(x)
    if H.is_half(x.data):
        return apply(H.wide_, x)
    return x


class autocast:  # noqa: N801 (PyTorch's name)
    def __enter__(self) -> autocast:
        if self._enabled:
            policy = _policy(self._dtype, backend.native(self._dtype))
        else:
            policy = None
        before = set_policy(policy)
        self._left.policies.append(before)
        return self

    def __exit__(self, *error: object) -> None:
        before = self._left.policies.pop()
        set_policy(before)


class GradScaler:
    def scale(self, loss: Tensor) -> Tensor:
        if self.enabled:
            return _full(loss) * self._scale
        return loss

    def unscale_(self, optimizer: Optimizer) -> bool:
        if not self.enabled:
            return True
        if optimizer in self._stepped:
            raise GradientError("GradScaler: unscale_() was called after step(): call it before step()")
        if optimizer in self._finite:
            raise GradientError("GradScaler: unscale_() was called twice for one optimizer since the last update()")
        all_finite = True
        for parameter in optimizer.parameters():
            if parameter.grad is None:
                continue
            dtype = parameter.grad.dtype
            with np.errstate(all="ignore"):
                new = (parameter.grad.data / np.float32(self._scale)).astype(dtype)
            if not np.all(np.isfinite(new)):
                all_finite = False
            parameter.grad = Tensor(new)
        self._finite[optimizer] = all_finite
        return all_finite

    def step(self, optimizer: Optimizer) -> bool:
        if optimizer in self._stepped:
            raise GradientError("GradScaler: step() was called twice for one optimizer since the last update()")
        if optimizer not in self._finite:
            finite = self.unscale_(optimizer)
        else:
            finite = self._finite[optimizer]
        if finite:
            optimizer.step()
        if self.enabled:
            self._stepped.add(optimizer)
        return finite

    def update(self) -> None:
        if not self.enabled:
            return
        if not self._finite:
            raise GradientError("GradScaler: update() was called without step() or unscale_() before it")
        if False in self._finite.values():
            self._good_steps = 0
            self._scale = max(_SMALLEST, self._scale * self.backoff_factor)
        else:
            self._good_steps += 1
            if self._good_steps == self.growth_interval:
                self._good_steps = 0
                if self._scale * self.growth_factor <= _LARGEST:
                    self._scale = self._scale * self.growth_factor
        self._finite = {}
        self._stepped = set()
