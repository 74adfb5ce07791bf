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
oneDNN has kernels for it (`onednn_bf16`); all else here, and float16 always, is computed by widening to float32: the
same numbers, no faster than float32.

Measured with oneDNN on two cores with AVX-512 BF16, whole training steps of 128 images: a 3-32-64-128 network 2.3
times as fast as in float32, 3-64-128-256 with batch norm 1.95 times (float32 spares three quarters of its
multiplications there by Winograd's algorithm, which bfloat16 is too coarse for); 0.49 and 0.47 of the bytes are kept
for the backward pass.

Source: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from numpy.typing import DTypeLike

from tinytorch import activations as A
from tinytorch import attention as M
from tinytorch import half as H
from tinytorch import kernels, spatial
from tinytorch import layers as L
from tinytorch import tensor as T
from tinytorch.errors import GradientError, SettingError, StateError
from tinytorch.optimizers import Optimizer
from tinytorch.tensor import Op, Operand, Tensor, apply, is_floating, set_policy

# Which inputs are rounded by an op of their own, so that the backward pass keeps 16 bits of them. The others are
# weights: rounded inside, their gradients stay float32.
HALF = {T.matmul: (0, 1), L.linear: (0,), M.sdpa: (0, 1, 2), M.packed_attention: (0,)}
AS_IT_COMES = (T.add, T.sub, T.mul, T.div, T.neg, T.absolute, T.maximum, T.amax, T.where_, A.relu_, A.sigmoid_,
               A.tanh_, A.gelu_, spatial.max_pool2d_, spatial.avg_pool2d_)  # fmt: skip
NORMS = (spatial.batch_norm_, spatial.scale_)  # the same, whatever the dtype of their weights
VIEWS = (T.reshape, T.permute, T.expand, T.getitem, T.concatenate, T.cast)  # no arithmetic: nothing to decide

Rounding = tuple[Op, tuple[int, ...]]  # by which op, and which inputs


class _Policy:
    """What `apply` asks in place of just running an op."""

    def __init__(self, dtype: np.dtype, native: bool) -> None:
        self.dtype = dtype
        table = {op: H.half_op(op, dtype) for op in HALF}
        table |= {op: H.half_convolution(op, dtype) for op in H.CONVOLUTIONS}
        table |= {op: H.as_it_comes(op) for op in AS_IT_COMES}
        table |= {op: H.as_it_comes(op, leading=1) for op in NORMS}
        table[spatial.statistics_] = Op("channel_statistics", lambda x: spatial.statistics_.forward(H.widen(x)))
        if native:
            table |= {op: make(table[op]) for op, make in KERNELS.items()}
        table |= dict.fromkeys((spatial.weight_columns_, spatial.weight_tiles_), H.master_)
        table |= {op: op for op in (*VIEWS, H.half_, H.half_images_, H.wide_)}
        self.table = table
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
    **dict.fromkeys(H.CONVOLUTIONS, H.convolution_kernel),
    L.linear: H.linear_kernel,
    T.matmul: H.matmul_kernel,
    A.relu_: H.relu_kernel,
    spatial.max_pool2d_: H.max_pool_kernel,
    spatial.batch_norm_: H.batch_norm_kernel,
    spatial.scale_: H.scale_kernel,
    spatial.statistics_: H.statistics_kernel,
}

_policy = cache(_Policy)


@contextmanager
def autocast(dtype: DTypeLike = "bfloat16", enabled: bool = True) -> Iterator[None]:
    """Run the operations inside, in this thread, in mixed precision: `with autocast():` or `@autocast()`.

    The forward pass and the loss belong inside; `backward()` may stand inside or after, it follows what was recorded.
    Blocks nest, and `enabled=False` makes one of float32 inside another: what comes in with 16 bits then stays so.

    Raises:
        SettingError: the dtype is neither bfloat16 nor float16.
    """
    half = _half_dtype(dtype)
    before = set_policy(_policy(half, kernels.native(half)) if enabled else None)
    try:
        yield
    finally:
        set_policy(before)


def _half_dtype(dtype: DTypeLike) -> np.dtype:
    if dtype == "bfloat16":  # a name that NumPy does not know before ml_dtypes is imported
        return kernels.bfloat16()
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
    steps without, it is doubled. bfloat16 does not need it.

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
        if not (0 < init_scale < np.inf and growth_factor > 1 and 0 < backoff_factor < 1 and growth_interval >= 1):
            raise SettingError(
                f"GradScaler: init_scale {init_scale}, growth_factor {growth_factor}, backoff_factor {backoff_factor}, "
                f"growth_interval {growth_interval}: expected a finite scale > 0, > 1, between 0 and 1, at least 1"
            )
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval, self.enabled = growth_interval, enabled
        self._scale, self._good_steps = float(init_scale), 0
        self._finite: dict[int, bool] = {}  # by id of the optimizers unscaled since the last update

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
            GradientError: it was done already since the last `update`.
        """
        if not self.enabled:
            return True
        if id(optimizer) in self._finite:
            raise GradientError("GradScaler: unscale_ was called twice for one optimizer since the last update()")
        finite = True
        for parameter in optimizer.parameters():
            if parameter.grad is not None:  # replaced, not written: its array may be another's too
                parameter.grad = Tensor(parameter.grad.data * parameter.dtype.type(1 / self._scale))
                finite = finite and bool(np.isfinite(parameter.grad.data).all())
        self._finite[id(optimizer)] = finite
        return finite

    def step(self, optimizer: Optimizer) -> bool:
        """The optimizer's step, unless a gradient is infinite or NaN; whether it was done."""
        finite = self._finite[id(optimizer)] if id(optimizer) in self._finite else self.unscale_(optimizer)
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
            if self._good_steps == self.growth_interval:
                self._scale, self._good_steps = self._scale * self.growth_factor, 0
        else:
            self._scale, self._good_steps = self._scale * self.backoff_factor, 0
        self._finite.clear()

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
        self._scale, self._good_steps = float(state["scale"]), int(state["_growth_tracker"])
        self.growth_factor, self.backoff_factor = state["growth_factor"], state["backoff_factor"]
        self.growth_interval = int(state["growth_interval"])
