"""Module 15: mixed precision. Training with 16-bit numbers where they suffice, and float32 elsewhere.

Inside `with autocast():`, each operation runs in one of three ways, as in PyTorch:

    half        matrix products and convolutions: inputs are rounded to 16 bits, sums are float32, and the result is
                rounded to 16 bits
    as it comes ReLU, pooling, batch norm, +, *, ...: computed in float32, with a 16-bit result for 16-bit inputs
    float32     softmax, losses, exp, log, sums, layer norm, and every operation that is not in the table: 16-bit
                inputs are widened first

Most arrays that are kept for the backward pass are therefore 16-bit and take half the memory. Parameters stay float32,
as master weights: in bfloat16, an update of 1/1000 of a weight would be lost, because the next number is 1/128 away.
Their gradients are summed in float32 and never rounded to 16 bits.

bfloat16 has the range of float32 and 8 bits of precision. float16 has 11 bits, but is 0 below 6e-8 and infinite above
65504. Gradients of a deep network easily leave this range; `GradScaler` moves them back into it. bfloat16 is fast where
oneDNN has kernels for it (`native.bf16`). All other operations, and float16 always, widen to float32 and compute there:
the same values, slower than float32 (0.5 to 0.7 times as fast).

Measured with oneDNN on two cores with AVX-512 BF16, for whole training steps of 128 images, against float32 by NumPy: a
3-32-64-128 network is 2.3 times as fast, and 3-64-128-256 with batch norm 1.95 times. (There, float32 saves three
quarters of its multiplications with Winograd's algorithm, for which bfloat16 is too coarse.) 0.49 and 0.47 of the bytes
are kept for the backward pass.

Source: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740.
"""

from __future__ import annotations

import threading
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
from tinytorch.base.contexts import Scope
from tinytorch.base.errors import GradientError, SettingError, StateError
from tinytorch.half import by_float32 as H
from tinytorch.half import by_onednn
from tinytorch.native import backend
from tinytorch.optimizers import Optimizer
from tinytorch.tensor import Op, Operand, Policy, Tensor, apply, is_floating, set_policy

# The inputs that a separate op rounds, so that 16 bits of them are kept for the backward pass. The other inputs are
# weights: they are rounded inside the op, and their gradients stay float32.
HALF = {T.matmul: (0, 1), L.linear: (0,), M.sdpa: (0, 1, 2), M.packed_attention: (0,)}
AS_IT_COMES = (T.add, T.sub, T.mul, T.div, T.neg, T.absolute, T.maximum, T.amax, T.amin, T.max_along, T.min_along,
               T.where_, A.relu_, A.sigmoid_, A.tanh_, A.gelu_, L.dropout, spatial.max_pool2d_,
               spatial.avg_pool2d_)  # fmt: skip
NORMS = (spatial.batch_norm_, spatial.scale_)  # the same, for any dtype of their weights
VIEWS = (T.reshape, T.permute, T.expand, T.getitem, T.concatenate, T.cast)  # no arithmetic, so they run unchanged

Rounding = tuple[Op, tuple[int, ...]]  # the op that rounds, and the indices of the inputs that it rounds


def _half_table(dtype: np.dtype) -> dict[Op, Op]:
    """Map each op to its replacement for `dtype`. All replacements compute in float32."""
    table = {op: H.half_op(op, dtype) for op in HALF}
    table |= {op: H.half_convolution(op, dtype) for op in H.CONVOLUTIONS}
    table |= dict.fromkeys((spatial.weight_columns_, spatial.weight_tiles_), H.master_)
    table |= {op: H.as_it_comes(op) for op in AS_IT_COMES}
    table |= {op: H.as_it_comes(op, leading=1) for op in NORMS}
    table[spatial.statistics_] = Op("channel_statistics", lambda x: spatial.statistics_.forward(H.widen(x)))
    return table | {op: op for op in (*VIEWS, H.half_, H.half_images_, H.wide_)}


def _native_table(table: dict[Op, Op]) -> dict[Op, Op]:
    """Return the table with replacements that try oneDNN's bfloat16 kernels first."""
    return table | {op: make(table[op]) for op, make in KERNELS.items()}


class _Policy:
    """The policy that `apply` calls before it runs an op: `policy(op, inputs)` returns the op and the inputs to use.

    Attributes:
        dtype: bfloat16 or float16.
        table: for each op that need not run in float32, the op that replaces it.
        rounded: for each op whose inputs are rounded before it, the op that rounds, and the indices of these inputs.
    """

    def __init__(self, dtype: np.dtype, native: bool) -> None:
        self.dtype = dtype
        self.table = _native_table(_half_table(dtype)) if native else _half_table(dtype)
        self.rounded: dict[Op, Rounding] = {op: (H.half_, places) for op, places in HALF.items()}
        self.rounded |= dict.fromkeys(H.CONVOLUTIONS, (H.half_images_, (0,)))

    def __call__(self, op: Op, inputs: tuple[Operand, ...]) -> tuple[Op, tuple[Operand, ...]]:
        """Return the op to run instead of `op`, and its inputs.

        An op that is not in `table` runs itself, with all inputs in float32 (`_full`). Any other op is replaced by its
        entry in `table`. If it is in `rounded`, those of its inputs are rounded first (`_half`); all other inputs are
        passed as they are. `op` and `inputs` are not changed.
        """
        chosen = self.table.get(op)
        if chosen is None:
            return op, tuple(map(_full, inputs))
        if op in self.rounded:
            rounding, places = self.rounded[op]
            inputs = tuple(self._half(x, rounding) if i in places else x for i, x in enumerate(inputs))
        return chosen, inputs

    def _half(self, x: Operand, rounding: Op) -> Operand:
        """Return x rounded to `self.dtype`.

        A floating-point Tensor of another dtype is rounded by the op `rounding`, with the attribute `dtype`, so that
        its gradient flows back. A Tensor that already has this dtype, or is not floating-point, is returned itself. Any
        other operand is rounded by `H.narrow`, which changes floating-point arrays only.
        """
        if isinstance(x, Tensor) and x.dtype != self.dtype and is_floating(x.dtype):
            return apply(rounding, x, dtype=self.dtype)
        return H.narrow(x, self.dtype)


def _full(x: Operand) -> Operand:
    """Widen a 16-bit input to float32; return any other input unchanged.

    A Tensor is widened by the op `H.wide_`, so that its gradient flows back in 16 bits, and any other operand by
    `H.widen`. `H.is_half` says whether an array has 16-bit floating-point numbers.
    """
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
    """A stack of the policies to restore on exit, one per thread."""

    def __init__(self) -> None:
        self.policies: list[Policy | None] = []


class autocast(Scope):  # noqa: N801 (PyTorch's name)
    """A context manager and decorator that runs the current thread's operations in mixed precision.

    The forward pass and the loss belong inside the block. `backward()` may be called inside or after it, because it
    applies the derivatives of the recorded operations.

    Blocks can be nested. `enabled=False` switches mixed precision off in an inner block; 16-bit inputs then stay
    16-bit. One instance may be entered repeatedly, within itself, and by several threads.

    Args:
        dtype: bfloat16 or float16. enabled: False runs the operations unchanged.

    Raises:
        SettingError: the dtype is neither bfloat16 nor float16.
    """

    def __init__(self, dtype: DTypeLike = "bfloat16", enabled: bool = True) -> None:
        self._dtype, self._enabled, self._left = _half_dtype(dtype), enabled, _Left()

    def __enter__(self) -> autocast:
        """Make the policy of this dtype the current thread's, or none with `enabled=False`, and return this object.

        `_policy(dtype, native)` returns the policy, where native is `backend.native(dtype)`. `set_policy` installs it
        and returns the previous one, which is put on the thread's stack, `self._left.policies`.
        """
        policy = _policy(self._dtype, backend.native(self._dtype)) if self._enabled else None
        self._left.policies.append(set_policy(policy))
        return self

    def __exit__(self, *error: object) -> None:
        """Restore the policy that the last `__enter__` replaced in this thread. An error inside is not suppressed."""
        set_policy(self._left.policies.pop())


def _half_dtype(dtype: DTypeLike) -> np.dtype:
    if dtype == "bfloat16":  # a name that NumPy only accepts after ml_dtypes is imported
        return dtypes.bfloat16()
    try:
        half = np.dtype(dtype)
    except TypeError:
        half = None
    if half is None or half.name not in ("float16", "bfloat16"):
        raise SettingError(f"autocast: dtype {dtype}: expected bfloat16 or float16")
    return half


class GradScaler:
    """A scaler that multiplies the loss before the backward pass, and divides the gradients before the step.

    float16 is 0 below 6e-8, so small gradients vanish in the backward pass; multiplied by 65536, they do not. If the
    scale is too large, gradients become infinite: that step is skipped, and the scale is halved. After
    `growth_interval` steps with finite gradients, it is doubled. The scale stays in the range of float32's normal
    numbers, 2^-126 to 2^128. bfloat16 does not need scaling.

        scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()

    To inspect or clip the gradients, call `unscale_(optimizer)` before `step`.

    Args:
        init_scale: the initial scale.
        growth_factor: multiplies the scale after `growth_interval` consecutive steps with finite gradients.
        backoff_factor: multiplies the scale after a step with an infinite or NaN gradient.
        growth_interval: the number of steps with finite gradients before the scale grows.
        enabled: False switches scaling off; `step` then only runs the optimizer's step.
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
        self._finite: dict[Optimizer, bool] = {}  # optimizers unscaled since the last update: are the gradients finite?
        self._stepped: set[Optimizer] = set()  # optimizers stepped since the last update

    def get_scale(self) -> float:
        """Return the current scale, or 1 if the scaler is not enabled."""
        return self._scale if self.enabled else 1.0

    def scale(self, loss: Tensor) -> Tensor:
        """Return the loss multiplied by the scale, in float32 (`_full`), or the loss itself if not `enabled`."""
        if not self.enabled:
            return loss
        return _full(loss) * self._scale

    def unscale_(self, optimizer: Optimizer) -> bool:
        """Divide the optimizer's gradients by the scale, and return whether all of them are finite.

        The `.grad` of each of `optimizer.parameters()` that has one is replaced by a new Tensor with the same dtype. It
        is not written in place, because another gradient may share its array. The division is by the scale in float32,
        and an overflow does not warn. `self._finite[optimizer]` keeps the answer.

        Raises:
            GradientError: `unscale_` or `step` was already called for this optimizer since the last `update`.
        """
        if not self.enabled:
            return True
        if optimizer in self._stepped:
            raise GradientError("GradScaler: unscale_() was called after step(): call it before step()")
        if optimizer in self._finite:
            raise GradientError("GradScaler: unscale_() was called twice for one optimizer since the last update()")
        finite, scale = True, np.float32(self._scale)
        for parameter in optimizer.parameters():
            if parameter.grad is not None:
                with np.errstate(over="ignore"):  # overflow: float16 gradients or a scale below 1
                    unscaled = (parameter.grad.data / scale).astype(parameter.grad.dtype, copy=False)
                parameter.grad = Tensor(unscaled)
                finite = finite and bool(np.isfinite(unscaled).all())
        self._finite[optimizer] = finite
        return finite

    def step(self, optimizer: Optimizer) -> bool:
        """Run the optimizer's step unless a gradient is infinite or NaN, and return whether it ran.

        The gradients are unscaled first, unless `unscale_` was called; `self._finite` has its answer then. A scaler
        that is `enabled` adds the optimizer to `self._stepped`, whether its step ran or not.

        Raises:
            GradientError: `step` was already called for this optimizer since the last `update`.
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
        """Multiply the scale by `backoff_factor`, keep it, or multiply it by `growth_factor`. Call it after `step`.

        If any of the optimizers in `self._finite` had a gradient that is not finite, the scale backs off, but not below
        _SMALLEST, and `self._good_steps` starts again from 0. Otherwise it counts one step more; when it reaches
        `growth_interval`, it starts again from 0 and the scale grows, unless the larger one would exceed _LARGEST.
        `self._finite` and `self._stepped` are empty afterwards.

        Raises:
            GradientError: neither `step` nor `unscale_` was called since the last `update`.
        """
        if not self.enabled:
            return
        if not self._finite:
            raise GradientError("GradScaler: update() was called without step() or unscale_() before it")
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
        """Return everything that a resumed run needs, under PyTorch's names."""
        return {
            "scale": self._scale,
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Load a state that `state_dict` returned.

        Raises:
            StateError: the state is not from a GradScaler, or a value is out of range.
        """
        if state.keys() != self.state_dict().keys():
            raise StateError(f"GradScaler: state with {sorted(state)}: expected {sorted(self.state_dict())}")
        scale, growth, backoff, interval, good_steps = (state[name] for name in self.state_dict())
        if problem := _out_of_range(scale, growth, backoff, interval):
            raise StateError(f"GradScaler: state with {problem}")
        if not (_is_number(good_steps, int) and good_steps >= 0):
            raise StateError(f"GradScaler: state with _growth_tracker {good_steps!r}: expected an integer >= 0")
        self._scale, self._good_steps = float(scale), int(good_steps)
        self.growth_factor, self.backoff_factor, self.growth_interval = float(growth), float(backoff), int(interval)


_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)  # the reciprocals are finite


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, (*kinds, np.integer)) and not isinstance(value, bool)


def _out_of_range(scale: Any, growth: Any, backoff: Any, interval: Any) -> str:
    """Return a description of the problem if one of a scaler's values is out of range, else ""."""
    if not all(_is_number(value, int, float, np.floating) for value in (scale, growth, backoff)):
        fits = False
    else:
        fits = _SMALLEST <= scale <= _LARGEST and 1 < growth < np.inf and 0 < backoff < 1
    if fits and _is_number(interval, int) and interval >= 1:
        return ""
    return (
        f"scale {scale!r}, growth_factor {growth!r}, backoff_factor {backoff!r}, growth_interval {interval!r}: "
        f"expected a scale from 2^-126 to float32's largest, a finite number > 1, a number between 0 and 1, "
        f"and an integer >= 1"
    )
