"""Module 15: operations on 16-bit numbers, for `mixed_precision` to put in the place of float32's.

Each exists in one version that is always right, by way of float32: inputs are widened, the operation and its
derivative run as ever, results are rounded. Where oneDNN has a bfloat16 kernel, a second version goes first and
leaves to the other what it cannot do.

    half_op(op, dtype)    rounds its inputs and its result: products and convolutions
    as_it_comes(op)       16 bits in, 16 bits out; float32 in, float32 out
    x_kernel(op)          the same op, by oneDNN where it can

A linear layer as an example, y = x w^T with masters w of float32; [.] rounds to 16 bits:

    forward     autocast rounds the input by an op of its own, half_:   x16 = [x], all that is kept of x
                half_op(linear) computes from float32(x16) and [w]:     y16 = [x16 [w]^T], summed in float32
    backward    g16 = dL/dy comes with 16 bits, as y16 has, and is widened
                x16's gradient gets x16's dtype:                        dx16 = [g16 [w]]
                w's gets w's, without a stop at 16 bits:                dw = g16^T x16, float32
                half_'s derivative widens:                              dx = float32(dx16)

`linear_kernel(half_op(linear))` gets y16, dx16 and dw by one product each of `onednn_bf16`, which rounds w while it
packs it. What that refuses in the forward pass, half_op does in both.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tinytorch import convolution as cv
from tinytorch import onednn, spatial
from tinytorch import onednn_bf16 as bf16
from tinytorch.autograd import DERIVATIVES, Rule, derivative, joint_derivative, unbroadcast
from tinytorch.convolution import Window
from tinytorch.parallel import in_parallel
from tinytorch.spatial import channels_first, channels_last
from tinytorch.tensor import Array, Op, is_floating, is_grad_enabled

# How a convolution is computed in float32: laying out the weights, forward, backward, and the weights' gradient back
Convolution = tuple[Callable[..., Array], Callable[..., Array], Callable[..., cv.Gradients], Callable[..., Array]]
CONVOLUTIONS: dict[Op, Convolution] = {
    spatial.im2col_: (cv.weight_columns, cv.im2col_forward, cv.im2col_backward,
                      lambda dw, w: cv.weight_from_columns(dw, w.shape)),
    spatial.winograd_: (lambda w, groups: cv.weight_tiles(w), cv.winograd_forward, cv.winograd_backward,
                        lambda dw, w: cv.weight_from_tiles(dw)),
    spatial.pointwise_: (lambda w, groups: w, cv.pointwise_forward, cv.pointwise_backward, lambda dw, w: dw),
}  # fmt: skip


_STRIP = 2**18  # numbers: half a megabyte, which stays in the cache from one step to the next


# 16 bits and back -------------------------------------------------------------------------------------


def is_half(x: Any) -> bool:
    """Whether it is an array of 16-bit floating-point numbers."""
    return isinstance(x, Array) and x.dtype.itemsize == 2 and is_floating(x.dtype)


def narrow(x: Any, dtype: np.dtype) -> Any:
    """A floating-point array rounded to 16 bits, what is too large becoming infinite; anything else as it is."""
    if not isinstance(x, Array) or x.dtype == dtype or not is_floating(x.dtype):
        return x
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def widen(x: Any) -> Any:
    """A 16-bit array as float32; anything else as it is."""
    return x.astype(np.float32) if is_half(x) else x


def _each(change: Callable[[Any], Any], kept: Any) -> Any:
    """Change what an op kept: an array or a tuple of them."""
    return tuple(map(change, kept)) if isinstance(kept, tuple) else change(kept)


def _narrow_images(x: Array, dtype: np.dtype) -> Array:
    """(N, C, H, W) rounded, as a contiguous (N, H, W, C)."""
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

master_ = Op("master weight", lambda w, groups=1: w)  # a weight that its convolution will lay out by itself
derivative(master_, lambda g, y, w, groups=1: g)


# An operation with float32 inside ---------------------------------------------------------------------


def half_op(op: Op, dtype: np.dtype) -> Op:
    """`op` on inputs rounded to `dtype`, its result rounded too, float32 in between."""
    return _widened(op, lambda x: widen(narrow(x, dtype)), lambda arrays: dtype)


def as_it_comes(op: Op, leading: int | None = None) -> Op:
    """`op` with a 16-bit result where the inputs (or only the `leading` ones) have all the same 16 bits."""

    def result(arrays: tuple[Any, ...]) -> np.dtype | None:
        dtypes = {x.dtype for x in arrays[:leading] if isinstance(x, Array) and is_floating(x.dtype)}
        return dtypes.pop() if len(dtypes) == 1 else None

    return _widened(op, widen, result)


def _widened(op: Op, inside: Callable[[Any], Any], dtype_of: Callable[[tuple[Any, ...]], np.dtype | None]) -> Op:
    """`op` on inputs that `inside` makes float32, with op's own derivative; the result gets the dtype that
    `dtype_of` says."""

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
    return new


def _one(rule: Rule, i: int, inside: Callable[[Any], Any]) -> Rule:
    """The rule for input i, computed in float32; the gradient gets the input's own dtype."""

    def wide_rule(g: Array, kept: Any, *arrays: Any, **attrs: Any) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            gx = rule(widen(g), _each(widen, kept), *map(inside, arrays), **attrs)
            return unbroadcast(gx, arrays[i])

    return wide_rule


def _all(rule: Rule, inside: Callable[[Any], Any]) -> Rule:
    """The same for a joint rule."""

    def wide_rule(g: Array, kept: Any, *arrays: Any, **attrs: Any) -> list[Array | None]:
        with np.errstate(over="ignore", invalid="ignore"):
            gradients = rule(widen(g), _each(widen, kept), *map(inside, arrays), **attrs)
            return [gx if gx is None else unbroadcast(gx, x) for gx, x in zip(gradients, arrays, strict=False)]

    return wide_rule


def half_convolution(op: Op, dtype: np.dtype) -> Op:
    """A convolution of rounded images with rounded weights, computed in float32 as `op` does it.

    It takes the weights as they are, (K, C/groups, kh, kw) or for a pointwise one (K, C), and lays them out itself:
    they must be rounded first.
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
    ) -> cv.Gradients:
        with np.errstate(over="ignore", invalid="ignore"):
            wide = channels_last(widen(g)), channels_last(widen(x))
            dx, dw, db = backward_of(*wide, matrix(x, w), window, input_gradient)
            return None if dx is None else channels_first(narrow(dx, dtype)), lay_back(dw, w), db

    new = Op(op.name, forward)
    joint_derivative(new, rule)
    return new


# With oneDNN's kernels --------------------------------------------------------------------------------


class _Kernel:
    """Marks what a kernel kept, so that the derivative knows who ran."""

    __slots__ = ("kept",)

    def __init__(self, kept: Any) -> None:
        self.kept = kept


def _first(slow: Op, forward: Callable[..., tuple[Array, Any]], *rules: Rule) -> Op:
    """`slow`, but by a kernel where the first input is bfloat16 and the kernel does not raise UnsupportedError.

    The rules are of the kernel's: one for each input, or one joint rule where `slow` has a joint rule.
    """

    def run(*arrays: Any, **attrs: Any) -> Any:
        if arrays[0].size and arrays[0].dtype.name == "bfloat16":
            with suppress(onednn.UnsupportedError):
                y, kept = forward(*arrays, **attrs)
                return y, _Kernel(kept)
        return slow.forward(*arrays, **attrs)

    def choose(rule: Rule, slow_rule: Rule) -> Rule:
        def chosen(g: Array, kept: Any, *arrays: Any, **attrs: Any) -> Any:
            if type(kept) is _Kernel:
                return rule(g, kept.kept, *arrays, **attrs)
            return slow_rule(g, kept, *arrays, **attrs)

        return chosen

    new = Op(slow.name, run)
    slow_rules: Any = DERIVATIVES.get(slow, ())
    if isinstance(slow_rules, tuple):
        derivative(new, *map(choose, rules, slow_rules))
    else:
        joint_derivative(new, choose(rules[0], slow_rules))
    return new


def convolution_kernel(slow: Op) -> Op:
    """Any convolution; weights as `half_convolution` takes them."""

    def as_images(w: Array, x: Array) -> tuple[Array, int]:
        w = w.reshape(*w.shape, 1, 1) if w.ndim == 2 else w
        return w, x.shape[1] // w.shape[1]

    def forward(
        x: Array, w: Array, b: Array | None = None, *, window: Window, input_gradient: bool
    ) -> tuple[Array, None]:
        kernel, groups = as_images(w, x)
        return channels_first(bf16.convolution_forward(channels_last(x), kernel, b, window, groups)), None

    def rule(
        g: Array, kept: None, x: Array, w: Array, b: Array | None = None, *, window: Window, input_gradient: bool
    ) -> cv.Gradients:
        kernel, groups = as_images(w, x)
        try:
            arrays = channels_last(g), channels_last(x), kernel, b, window, groups
            dx, dw, db = bf16.convolution_backward(*arrays, input_gradient)
        except onednn.UnsupportedError:
            return DERIVATIVES[slow](g, None, x, w, b, window=window, input_gradient=input_gradient)  # type: ignore[operator]
        return None if dx is None else channels_first(dx), dw.reshape(w.shape), db

    return _first(slow, forward, rule)


def max_pool_kernel(slow: Op) -> Op:
    def forward(x: Array, *, window: Window) -> tuple[Array, dict[int, Array]]:
        y, places = bf16.max_pool_forward(channels_last(x), window, is_grad_enabled())
        return channels_first(y), places

    def rule(g: Array, places: dict[int, Array], x: Array, *, window: Window) -> Array:
        n, c, h, w = x.shape
        return channels_first(bf16.max_pool_backward(channels_last(g), places, (n, h, w, c), window))

    return _first(slow, forward, rule)


def batch_norm_kernel(slow: Op) -> Op:
    def forward(x: Array, weight: Array, bias: Array, *, mean: Array, inv_std: Array) -> tuple[Array, Array]:
        var = 1 / inv_std**2
        return channels_first(bf16.normalize(channels_last(x), weight, bias, mean, var)), var

    def rule(
        g: Array, var: Array, x: Array, weight: Array, bias: Array, *, mean: Array, inv_std: Array
    ) -> tuple[Array, Array, Array]:
        arrays = channels_last(g), channels_last(x), weight, mean, var
        dx, dweight, dbias = bf16.normalized_gradients(*arrays)
        return channels_first(dx), dweight, dbias

    return _first(slow, forward, rule)


def statistics_kernel(slow: Op) -> Op:
    return _first(slow, lambda x: (np.stack(bf16.channel_statistics(channels_last(x))), None))


def scale_kernel(slow: Op) -> Op:
    def forward(x: Array, scale: Array, shift: Array) -> tuple[Array, None]:
        none, one = np.zeros_like(scale), np.ones_like(scale)
        return channels_first(bf16.normalize(channels_last(x), scale, shift, none, one)), None

    return _first(slow, forward, DERIVATIVES[slow])  # type: ignore[arg-type]


def relu_backward(g: Array, y: Array) -> Array:
    """g where y > 0, else 0, for contiguous arrays.

    As integers -y is negative exactly where y > 0, so that shifting its sign over all bits gives a mask.
    """
    dx = np.empty_like(g)

    def work(begin: int, end: int) -> None:
        out, g_bits, y_bits = (a[begin:end].reshape(-1).view(np.int16) for a in (dx, g, y))
        for i in range(0, out.size, _STRIP):
            part = slice(i, i + _STRIP)
            mask = np.negative(y_bits[part], out=out[part])
            mask >>= 15
            mask &= g_bits[part]

    in_parallel(g, work)
    return dx


def relu_kernel(slow: Op) -> Op:
    """Keeps its result as a contiguous array, images channels-last."""

    def ordered(x: Array) -> Array:
        return channels_last(x) if x.ndim == 4 else np.ascontiguousarray(x)

    def back(y: Array) -> Array:
        return channels_first(y) if y.ndim == 4 else y

    def forward(x: Array) -> tuple[Array, Array]:
        y = bf16.relu(ordered(x))
        return back(y), y

    return _first(slow, forward, lambda g, y, x: back(relu_backward(ordered(g), y)))


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def linear_kernel(slow: Op) -> Op:
    def forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, None]:
        _need(x.ndim > 0 and x.shape[-1] == w.shape[1])
        return bf16.product(_rows(x), w.T, b).reshape(*x.shape[:-1], len(w)), None

    return _first(
        slow,
        forward,
        lambda g, kept, x, w, b=None: bf16.product(_rows(g), w).reshape(x.shape),
        lambda g, kept, x, w, b=None: bf16.product(_rows(g).T, _rows(x), exact=True),
        lambda g, kept, x, w, b: widen(_rows(g)).sum(axis=0),
    )


def matmul_kernel(slow: Op) -> Op:
    """Products of matrices, one by one: what NumPy would repeat to fit is left to NumPy."""

    def forward(a: Array, b: Array) -> tuple[Array, None]:
        _need(a.ndim == b.ndim > 1 and a.shape[:-2] == b.shape[:-2] and a.shape[-1] == b.shape[-2] and b.size > 0)
        return bf16.product(a, b), None

    return _first(
        slow,
        forward,
        lambda g, kept, a, b: bf16.product(g, b.swapaxes(-1, -2)),
        lambda g, kept, a, b: bf16.product(a.swapaxes(-1, -2), g),
    )


def _need(fits: bool) -> None:
    if not fits:
        raise onednn.UnsupportedError("these shapes go another way")
