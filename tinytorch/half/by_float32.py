"""Module 15: operations on 16-bit numbers, computed in float32.

`mixed_precision` substitutes them for the float32 operations. Each has one version that is always correct: inputs are
widened, the operation and its derivative run in float32, and results are rounded. Where oneDNN has a bfloat16 kernel, a
second version tries the kernel first and falls back to this one.

    half_op(op, dtype)    rounds its inputs and its result: products and convolutions
    as_it_comes(op)       16 bits in, 16 bits out; float32 in, float32 out
    x_kernel(op)          in `by_onednn`: the same op, computed by oneDNN where it is supported

As an example, a linear layer y = x w^T with float32 master weights w, where [.] rounds to 16 bits:

    forward     autocast rounds the input with a separate op, half_:    x16 = [x]; only x16 is kept
                half_op(linear) computes with float32(x16) and [w]:     y16 = [x16 [w]^T], summed in float32
    backward    g16 = dL/dy has the dtype of y16, 16 bits, and is widened
                the gradient of x16 gets the dtype of x16:              dx16 = [g16 [w]]
                the gradient of w is never rounded to 16 bits:          dw = g16^T x16, float32
                the derivative of half_ widens:                         dx = float32(dx16)

`linear_kernel(half_op(linear))` computes y16, dx16, and dw with one product of `native.bf16` each, which rounds w while
packing it. If the kernel does not support the forward pass, half_op computes the forward and the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import spatial
from tinytorch.arrays import convolution as cv
from tinytorch.arrays.parallel import in_parallel
from tinytorch.arrays.windows import Gradients, Window, channels_first, channels_last
from tinytorch.autograd import DERIVATIVES, Rule, derivative, joint_derivative, unbroadcast
from tinytorch.fast import images as fast
from tinytorch.graph.reads import reads, reads_as
from tinytorch.tensor import Array, Op, is_floating

# How a convolution is computed in float32: the functions that arrange the weights, run the forward pass, run the
# backward pass, and restore the shape of the weights' gradient
Convolution = tuple[Callable[..., Array], Callable[..., Array], Callable[..., Gradients], Callable[..., Array]]
CONVOLUTIONS: dict[Op, Convolution] = {
    spatial.im2col_: (spatial.weight_columns, spatial.im2col_forward, spatial.im2col_backward,
                      lambda dw, w: spatial.weight_from_columns(dw, w.shape)),
    spatial.winograd_: (lambda w, groups: cv.weight_tiles(w), cv.winograd_forward, cv.winograd_backward,
                        lambda dw, w: cv.weight_from_tiles(dw)),
    fast.convolution_: (lambda w, groups: w, fast.convolution_forward, fast.convolution_backward, lambda dw, w: dw),
    spatial.pointwise_: (lambda w, groups: w, cv.pointwise_forward, cv.pointwise_backward, lambda dw, w: dw),
}  # fmt: skip


# 16 bits and back -------------------------------------------------------------------------------------


def is_half(x: Any) -> bool:
    """Return whether x is an array of 16-bit floating-point numbers."""
    return isinstance(x, Array) and x.dtype.itemsize == 2 and is_floating(x.dtype)


def narrow(x: Any, dtype: np.dtype) -> Any:
    """Round a floating-point array to 16 bits, too large values to infinity; return anything else unchanged."""
    if not isinstance(x, Array) or x.dtype == dtype or not is_floating(x.dtype):
        return x
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def widen(x: Any) -> Any:
    """Convert a 16-bit array to float32; return anything else unchanged."""
    return x.astype(np.float32) if is_half(x) else x


def _each(change: Callable[[Any], Any], kept: Any) -> Any:
    """Apply `change` to what an op kept, an array or a tuple of arrays."""
    return tuple(map(change, kept)) if isinstance(kept, tuple) else change(kept)


def _narrow_images(x: Array, dtype: np.dtype) -> Array:
    """Round images (N, C, H, W), and return them as a contiguous array (N, H, W, C)."""
    n, c, h, w = x.shape
    out = np.empty((n, h, w, c), dtype)

    def work(begin: int, end: int) -> None:
        out[begin:end] = narrow(x[begin:end], dtype).transpose(0, 2, 3, 1)

    in_parallel(x, work)
    return out


half_ = Op("half", lambda x, dtype: narrow(x, dtype))
half_images_ = Op("half", lambda x, dtype: channels_first(_narrow_images(x, dtype)))
wide_ = Op("float32", lambda x: widen(x))
derivative(half_, lambda g, y, x, dtype: widen(g))
derivative(half_images_, lambda g, y, x, dtype: widen(g))
derivative(wide_, lambda g, y, x: narrow(g, x.dtype))
for _op in (half_, half_images_, wide_):
    reads(_op, ())

master_ = Op("master weight", lambda w, groups=1: w)  # the convolution arranges the weight itself
derivative(master_, lambda g, y, w, groups=1: g)
reads(master_, ())


# Operations that compute in float32 -------------------------------------------------------------------


def half_op(op: Op, dtype: np.dtype) -> Op:
    """Return `op` with inputs and result rounded to `dtype`, computed in float32."""
    return _widened(op, lambda x: widen(narrow(x, dtype)), lambda arrays: dtype)


def as_it_comes(op: Op, leading: int | None = None) -> Op:
    """Return `op` with a 16-bit result if all inputs (or the first `leading` ones) have the same 16-bit dtype."""

    def result(arrays: tuple[Any, ...]) -> np.dtype | None:
        dtypes = {x.dtype for x in arrays[:leading] if isinstance(x, Array) and is_floating(x.dtype)}
        return dtypes.pop() if len(dtypes) == 1 else None

    return _widened(op, widen, result)


def _widened(op: Op, inside: Callable[[Any], Any], dtype_of: Callable[[tuple[Any, ...]], np.dtype | None]) -> Op:
    """Return `op` with its own derivative, on inputs that `inside` converts to float32.

    `dtype_of(inputs)` is the dtype of the result if it has 16 bits. Otherwise, the result stays as `op` computes it.
    """

    def forward(*arrays: Any, **attrs: Any) -> tuple[Array, Any]:
        dtype = dtype_of(arrays)
        with np.errstate(over="ignore", invalid="ignore"):
            result = op.forward(*map(inside, arrays), **attrs)
        y, kept = result if type(result) is tuple else (result, result)
        if dtype is None or dtype.itemsize > 2:
            return y, kept
        small = narrow(np.asarray(y), dtype)
        return small, small if kept is y else _each(lambda part: narrow(part, dtype), kept)

    new = Op(op.name, forward)
    rules = DERIVATIVES[op]
    if isinstance(rules, tuple):
        derivative(new, *(rule and _one(rule, i, inside) for i, rule in enumerate(rules)))
    else:
        joint_derivative(new, _all(rules, inside))
    reads_as(new, op)
    return new


def _one(rule: Rule, i: int, inside: Callable[[Any], Any]) -> Rule:
    """Return the derivative rule for input i, computed in float32. The gradient gets the input's own dtype."""

    def wide_rule(g: Array, kept: Any, *arrays: Any, **attrs: Any) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            gx = rule(widen(g), _each(widen, kept), *map(inside, arrays), **attrs)
            return unbroadcast(gx, arrays[i])

    return wide_rule


def _all(rule: Rule, inside: Callable[[Any], Any]) -> Rule:
    """Return a joint derivative rule, computed in float32. Each gradient gets the dtype of its input."""

    def wide_rule(g: Array, kept: Any, *arrays: Any, **attrs: Any) -> list[Array | None]:
        with np.errstate(over="ignore", invalid="ignore"):
            gradients = rule(widen(g), _each(widen, kept), *map(inside, arrays), **attrs)
            return [gx if gx is None else unbroadcast(gx, x) for gx, x in zip(gradients, arrays, strict=False)]

    return wide_rule


def half_convolution(op: Op, dtype: np.dtype) -> Op:
    """Return a convolution of rounded images with rounded weights, computed in float32 with the algorithm of `op`.

    It accepts the weights in their original shape, (K, C/groups, kh, kw), or (K, C) for a pointwise convolution, and
    arranges them itself, because they must be rounded first.
    """
    lay_out, forward_of, backward_of, lay_back = CONVOLUTIONS[op]

    def rounded(w: Array | None) -> Any:
        return widen(narrow(w, dtype))

    def matrix(x: Array, w: Array) -> Array:
        return lay_out(rounded(w), x.shape[1] // w.shape[1])

    def forward(
        x: Array, w: Array, b: Array | None = None, *, window: Window, input_gradient: bool
    ) -> tuple[Array, None]:
        with np.errstate(over="ignore", invalid="ignore"):
            y = forward_of(channels_last(widen(x)), matrix(x, w), rounded(b), window)
            return channels_first(narrow(y, dtype)), None

    def rule(
        g: Array, kept: None, x: Array, w: Array, b: Array | None = None, *, window: Window, input_gradient: bool
    ) -> Gradients:
        with np.errstate(over="ignore", invalid="ignore"):
            wide = channels_last(widen(g)), channels_last(widen(x))
            dx, dw, db = backward_of(*wide, matrix(x, w), window, input_gradient)
            return None if dx is None else channels_first(narrow(dx, dtype)), lay_back(dw, w), db

    new = Op(op.name, forward)
    joint_derivative(new, rule)
    reads_as(new, op)
    return new
