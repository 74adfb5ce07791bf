"""Module 15: training with 16-bit numbers where they do no harm, and float32 where they would.

Inside `with autocast():` each operation runs in one of three ways, as in PyTorch:

    half        matrix products and convolutions: inputs are rounded to 16 bits, sums are float32's, the result has 16
                bits again
    as it comes ReLU, pooling, batch norm, +, *, ...: 16 bits in, 16 bits out, float32 in between
    float32     softmax, losses, exp, log, sums, layer norm, and every operation that is not in the table: 16-bit
                inputs are widened first

What is kept for the backward pass is therefore mostly 16-bit: half the memory. Parameters stay float32, the master
weights: an update of 1/1000 of a weight would be lost in bfloat16, whose next number is 1/128 away. Their gradients
are float32, summed in float32, without a stop at 16 bits.

bfloat16 has float32's range and 8 bits of precision. float16 has 11 bits, but is 0 below 6e-8 and infinite above
65504, where gradients of a deep network easily are: `GradScaler` moves them into its range. bfloat16 is fast where
oneDNN has kernels for it (`native.bf16`); all else here, and float16 always, is computed by widening to float32: the
same numbers, no faster than float32.

Measured with oneDNN on two cores with AVX-512 BF16, whole training steps of 128 images: a 3-32-64-128 network 2.3
times as fast as in float32, 3-64-128-256 with batch norm 1.95 times (float32 spares three quarters of its
multiplications there by Winograd's algorithm, which bfloat16 is too coarse for); 0.49 and 0.47 of the bytes are kept
for the backward pass.

Source: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740.
"""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinytorch import activations as A
from tinytorch import attention as M
from tinytorch import layers as L
from tinytorch import spatial
from tinytorch import tensor as T
from tinytorch.base import dtypes
from tinytorch.base.errors import GradientError, SettingError, StateError
from tinytorch.half import by_float32 as H
from tinytorch.half import by_onednn
from tinytorch.native import backend
from tinytorch.optimizers import Optimizer
from tinytorch.tensor import Op, Operand, Policy, Tensor, apply, is_floating, set_policy

# Which inputs are rounded by an op of their own, so that the backward pass keeps 16 bits of them. The others are
# weights: rounded inside, their gradients stay float32.
HALF = {T.matmul: (0, 1), L.linear: (0,), M.sdpa: (0, 1, 2), M.packed_attention: (0,)}
AS_IT_COMES = (T.add, T.sub, T.mul, T.div, T.neg, T.absolute, T.maximum, T.amax, T.where_, A.relu_, A.sigmoid_,
               A.tanh_, A.gelu_, spatial.max_pool2d_, spatial.avg_pool2d_)  # fmt: skip
NORMS = (spatial.batch_norm_, spatial.scale_)  # the same, whatever the dtype of their weights
VIEWS = (T.reshape, T.permute, T.expand, T.getitem, T.concatenate, T.cast)  # no arithmetic: nothing to decide

Rounding = tuple[Op, tuple[int, ...]]  # by which op, and which inputs


def _half_table(dtype: np.dtype) -> dict[Op, Op]:
    """By which op each one is replaced, all by way of float32."""
    table = {op: H.half_op(op, dtype) for op in HALF}
    table |= {op: H.half_convolution(op, dtype) for op in H.CONVOLUTIONS}
    table |= dict.fromkeys((spatial.weight_columns_, spatial.weight_tiles_), H.master_)
    table |= {op: H.as_it_comes(op) for op in AS_IT_COMES}
    table |= {op: H.as_it_comes(op, leading=1) for op in NORMS}
    table[spatial.statistics_] = Op("channel_statistics", lambda x: spatial.statistics_.forward(H.widen(x)))
    return table | {op: op for op in (*VIEWS, H.half_, H.half_images_, H.wide_)}


def _native_table(table: dict[Op, Op]) -> dict[Op, Op]:
    """The same where oneDNN has bfloat16 kernels: they go first."""
    return table | {op: make(table[op]) for op, make in KERNELS.items()}


class _Policy:
    """What `apply` asks in place of just running an op."""

    def __init__(self, dtype: np.dtype, native: bool) -> None:
        self.dtype = dtype
        self.table = _native_table(_half_table(dtype)) if native else _half_table(dtype)
        self.rounded: dict[Op, Rounding] = {op: (H.half_, places) for op, places in HALF.items()}
        self.rounded |= dict.fromkeys(H.CONVOLUTIONS, (H.half_images_, (0,)))

    def __call__(self, op: Op, inputs: tuple[Operand, ...]) -> tuple[Op, tuple[Operand, ...]]:
        chosen = self.table.get(op)
        if chosen is None:
            return op, tuple(map(_full, inputs))
        if op in self.rounded:
            rounding, places = self.rounded[op]
            inputs = tuple(self._half(x, rounding) if i in places else x for i, x in enumerate(inputs))
        return chosen, inputs

    def _half(self, x: Operand, rounding: Op) -> Operand:
        if isinstance(x, Tensor) and x.dtype != self.dtype and is_floating(x.dtype):
            return apply(rounding, x, dtype=self.dtype)
        return H.narrow(x, self.dtype)


def _full(x: Operand) -> Operand:
    """A 16-bit input of an operation that wants float32."""
    if isinstance(x, Tensor):
        return apply(H.wide_, x) if H.is_half(x.data) else x
    return H.widen(x)


KERNELS = {
    **dict.fromkeys(H.CONVOLUTIONS, by_onednn.convolution_kernel),
    L.linear: by_onednn.linear_kernel,
    T.matmul: by_onednn.matmul_kernel,
    A.relu_: by_onednn.relu_kernel,
    spatial.max_pool2d_: by_onednn.max_pool_kernel,
    spatial.batch_norm_: by_onednn.batch_norm_kernel,
    spatial.scale_: by_onednn.scale_kernel,
    spatial.statistics_: by_onednn.statistics_kernel,
}

_policy = cache(_Policy)


class _Left(threading.local):
    """The policies that this thread left when it entered, the last one last."""

    def __init__(self) -> None:
        self.policies: list[Policy | None] = []


class autocast(ContextDecorator):  # noqa: N801 (PyTorch's name)
    """Run the operations inside, in this thread, in mixed precision: `with autocast():` or `@autocast()`.

    The forward pass and the loss belong inside; `backward()` may stand inside or after, it follows what was recorded.
    Blocks nest, and `enabled=False` makes one of float32 inside another: what comes in with 16 bits then stays so.
    One `ctx = autocast()` may be entered again and again, within itself and by several threads.

    Raises:
        SettingError: the dtype is neither bfloat16 nor float16.
    """

    def __init__(self, dtype: DTypeLike = "bfloat16", enabled: bool = True) -> None:
        self._dtype, self._enabled, self._left = _half_dtype(dtype), enabled, _Left()

    def __enter__(self) -> None:
        policy = _policy(self._dtype, backend.native(self._dtype)) if self._enabled else None
        self._left.policies.append(set_policy(policy))

    def __exit__(self, *error: object) -> None:
        set_policy(self._left.policies.pop())


def _half_dtype(dtype: DTypeLike) -> np.dtype:
    if dtype == "bfloat16":  # a name that NumPy does not know before ml_dtypes is imported
        return dtypes.bfloat16()
    try:
        half = np.dtype(dtype)
    except TypeError:
        half = None
    if half is None or half.name not in ("float16", "bfloat16"):
        raise SettingError(f"autocast: dtype {dtype}: expected bfloat16 or float16")
    return half


class GradScaler:
    """Scales the loss up before the backward pass, and the gradients down again before the step.

    float16 is 0 below 6e-8, so that small gradients vanish on their way; multiplied by 65536 they do not. Where the
    scale is too large, gradients become infinite: that step is left out and the scale halved. After `growth_interval`
    steps without, it is doubled. It stays within float32's normal numbers, 2^-126 to 2^128. bfloat16 does not need it.

        scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()

    To see or to clip the gradients, call `unscale_(optimizer)` before `step`.

    Args:
        init_scale: the first scale. growth_factor, backoff_factor: it is multiplied by one or the other.
        growth_interval: steps with finite gradients until it grows.
        enabled: False makes all of it do nothing but the optimizer's step.
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if problem := _out_of_range(init_scale, growth_factor, backoff_factor, growth_interval):
            raise SettingError(f"GradScaler: {problem}")
        self.growth_factor, self.backoff_factor = float(growth_factor), float(backoff_factor)
        self.growth_interval, self.enabled = int(growth_interval), enabled
        self._scale, self._good_steps = float(init_scale), 0
        self._finite: dict[Optimizer, bool] = {}  # of the optimizers unscaled since the last update
        self._stepped: set[Optimizer] = set()  # since then

    def get_scale(self) -> float:
        """The factor of the moment; 1 if not enabled."""
        return self._scale if self.enabled else 1.0

    def scale(self, loss: Tensor) -> Tensor:
        """loss times the scale, in float32."""
        if not self.enabled:
            return loss
        return _full(loss) * self._scale

    def unscale_(self, optimizer: Optimizer) -> bool:
        """Divide the gradients by the scale; whether all are finite.

        Raises:
            GradientError: it was done already since the last `update`, or the step was.
        """
        if not self.enabled:
            return True
        if optimizer in self._stepped:
            raise GradientError("GradScaler: unscale_() was called after step(): it belongs before it")
        if optimizer in self._finite:
            raise GradientError("GradScaler: unscale_() was called twice for one optimizer since the last update()")
        finite, scale = True, np.float32(self._scale)
        for parameter in optimizer.parameters():
            if parameter.grad is not None:  # replaced, not written: its array may be another's too
                with np.errstate(over="ignore"):  # a gradient of float16 or a scale below 1
                    unscaled = (parameter.grad.data / scale).astype(parameter.grad.dtype, copy=False)
                parameter.grad = Tensor(unscaled)
                finite = finite and bool(np.isfinite(unscaled).all())
        self._finite[optimizer] = finite
        return finite

    def step(self, optimizer: Optimizer) -> bool:
        """The optimizer's step, unless a gradient is infinite or NaN; whether it was done.

        Raises:
            GradientError: it was called already since the last `update`: its gradients are unscaled once.
        """
        if optimizer in self._stepped:
            raise GradientError("GradScaler: step() was called twice for one optimizer since the last update()")
        finite = self._finite[optimizer] if optimizer in self._finite else self.unscale_(optimizer)
        if self.enabled:
            self._stepped.add(optimizer)
        if finite:
            optimizer.step()
        return finite

    def update(self) -> None:
        """After the step: halve the scale, keep it or double it.

        Raises:
            GradientError: no gradients were looked at since the last `update`.
        """
        if not self.enabled:
            return
        if not self._finite:
            raise GradientError("GradScaler: update() without step() or unscale_() before it")
        if all(self._finite.values()):
            self._good_steps += 1
            if self._good_steps >= self.growth_interval:
                larger, self._good_steps = self._scale * self.growth_factor, 0
                self._scale = larger if larger <= _LARGEST else self._scale
        else:
            self._scale, self._good_steps = max(self._scale * self.backoff_factor, _SMALLEST), 0
        self._finite.clear()
        self._stepped.clear()

    def state_dict(self) -> dict[str, float]:
        """All that a resumed run needs, by PyTorch's names."""
        return {
            "scale": self._scale,
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            StateError: it is not from a GradScaler.
        """
        if state.keys() != self.state_dict().keys():
            raise StateError(f"GradScaler: state with {sorted(state)}: expected {sorted(self.state_dict())}")
        scale, growth, backoff, interval, good_steps = (state[name] for name in self.state_dict())
        if problem := _out_of_range(scale, growth, backoff, interval):
            raise StateError(f"GradScaler: state with {problem}")
        if not (_is_number(good_steps, int) and good_steps >= 0):
            raise StateError(f"GradScaler: state with _growth_tracker {good_steps!r}: expected a whole number from 0")
        self._scale, self._good_steps = float(scale), int(good_steps)
        self.growth_factor, self.backoff_factor, self.growth_interval = float(growth), float(backoff), int(interval)


_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)  # the reciprocals are finite


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, (*kinds, np.integer)) and not isinstance(value, bool)


def _out_of_range(scale: Any, growth: Any, backoff: Any, interval: Any) -> str:
    """What is wrong with a scaler's numbers, or ""."""
    if not all(_is_number(value, int, float, np.floating) for value in (scale, growth, backoff)):
        fits = False
    else:
        fits = _SMALLEST <= scale <= _LARGEST and 1 < growth < np.inf and 0 < backoff < 1
    if fits and _is_number(interval, int) and interval >= 1:
        return ""
    return (
        f"scale {scale!r}, growth_factor {growth!r}, backoff_factor {backoff!r}, growth_interval {interval!r}: "
        f"expected a scale from 2^-126 to float32's largest, a finite number > 1, one between 0 and 1, and a whole one"
    )
