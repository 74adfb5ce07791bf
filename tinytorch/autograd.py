"""Module 06: reverse-mode automatic differentiation.

For y = f(x) inside a larger computation L, the vector-Jacobian product turns dL/dy into dL/dx. Each op has one such
rule for each of its inputs, one line in `DERIVATIVES`. `backward` visits each recorded operation once, from last to
first, applies its rules, and accumulates the gradients that flow to each tensor.

    rule(g, kept, *inputs, **attrs) -> gradient with respect to one input

Here, g = dL/dy, `kept` is what the forward pass kept (y itself unless the op returns something else to keep), and the
rest are the op's own inputs and settings. If broadcasting expanded an input, `backward` reduces the gradient to the
input's shape, so no rule has to. Gradient arrays may be shared or may be views, so a rule never writes into one.

Later modules use `derivative` to register their rules next to their ops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np

from tinytorch import activations as A
from tinytorch import layers as L
from tinytorch import losses as S
from tinytorch import tensor as T
from tinytorch.arrays.gelu import gelu_gradient
from tinytorch.arrays.masks import masked, put_along, share_of_extremes, share_of_maximum, spread
from tinytorch.base import changes
from tinytorch.base.contexts import Scope
from tinytorch.base.errors import GradientError, ShapeError
from tinytorch.base.promotion import in_float32, is_half
from tinytorch.graph.reads import check_unchanged
from tinytorch.tensor import Array, Node, Op, Tensor

Rule = Callable[..., Any]

# The derivatives of modules 02 to 05 ----------------------------------------------------------------


def _power_x(g: Array, x: Array, exponent: float) -> Array:
    """Return the gradient of x with respect to x^exponent: g exponent x^(exponent - 1), and 0 for an exponent of 0."""
    if exponent == 0:  # x^-1 would be infinite at 0
        return np.zeros_like(g)
    return g * (exponent * T.power.forward(x, exponent - 1))


def _scatter(g: Array, x: Array, index: Any) -> Array:
    """Return zeros of x's shape with g added at `index`; an element that is indexed twice gets both gradients."""
    out = np.zeros(x.shape, np.float32 if is_half(g.dtype) else g.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if all(isinstance(part, (int, slice, type(None), type(...))) for part in parts):
        out[index] = g  # basic indexing selects no element twice
    else:
        np.add.at(out, index, g)
    return out


def _pow_a(g: Array, a: Array, b: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # where b is 0, a^b is constant
        return np.where(b == 0, 0, g * b * T.pow_.forward(a, b - 1))


def _pow_b(g: Array, y: Array, a: Array, b: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # where a is 0 and b >= 0, as in PyTorch
        return np.where((a == 0) & (b >= 0), 0, g * y * np.log(a))


def _matmul_a(g: Array, a: Array, b: Array) -> Array:
    """Return dL/da for y = a @ b, given g = dL/dy: g b^T, for matrices and batches of them.

    A vector a is one row (1, K), and a vector b is one column (K, 1), whose dimension of size 1 is missing in y and g.
    If a was broadcast to more batches, the result has their dimensions as well.
    """
    if b.ndim == 1:
        return g[..., None] * b
    return g @ b.swapaxes(-1, -2) if a.ndim > 1 else (g[..., None, :] @ b.swapaxes(-1, -2))[..., 0, :]


def _matmul_b(g: Array, a: Array, b: Array) -> Array:
    """Return dL/db for y = a @ b, given g = dL/dy: a^T g. Vectors and batches are as in `_matmul_a`."""
    if a.ndim == 1:
        return a[:, None] * g[..., None, :] if b.ndim > 1 else g * a
    return a.swapaxes(-1, -2) @ g if b.ndim > 1 else (a.swapaxes(-1, -2) @ g[..., None])[..., 0]


def _rows(x: Array) -> Array:
    """Reshape (..., D) to (N, D)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _sum_rows(g: Array) -> Array:
    """Sum (..., D) over all dimensions but the last, as a matrix product: 2.5 µs for 128 x 256, and `sum` 5.6 µs."""
    rows = in_float32(_rows(g))
    return np.ones(len(rows), rows.dtype) @ rows


def _softmax_x(g: Array, y: Array, dim: int) -> Array:
    """Return dL/dx for y = softmax(x) along `dim`, given g = dL/dy: y_i (g_i - sum_j g_j y_j)."""
    gy = g * y
    return gy - y * gy.sum(axis=dim, keepdims=True)


def _cross_entropy_x(g: Array, p: Array, targets: Array, label_smoothing: float) -> Array:
    """Return dL/dlogits for the mean cross-entropy, (N, C) in the dtype of p, given g = dL/dloss of shape ().

    With the kept probabilities p (N, C), it is g/N (p - q), where q is (1 - s) at the target and 0 elsewhere, plus s/C
    everywhere, with s = label_smoothing. p belongs to the forward pass and must not be written into.
    """
    n, classes = p.shape
    out = p - label_smoothing / classes if label_smoothing else p.copy()
    out[np.arange(n), targets] -= 1 - label_smoothing
    out *= g / n
    return out


def _split(g: Array, y: Array, *arrays: Array, dim: int) -> list[Array]:
    return np.split(g, np.cumsum([a.shape[dim] for a in arrays])[:-1], axis=dim)


# fmt: off
DERIVATIVES: dict[Op, tuple[Rule | None, ...] | Rule] = {
    T.add:         (lambda g, y, a, b: g,
                    lambda g, y, a, b: g),
    T.sub:         (lambda g, y, a, b: g,
                    lambda g, y, a, b: -g),
    T.mul:         (lambda g, y, a, b: g * b,
                    lambda g, y, a, b: g * a),
    T.div:         (lambda g, y, a, b: g / b,
                    lambda g, y, a, b: -g * y / b),
    T.neg:         (lambda g, y, x: -g,),
    T.power:       (lambda g, y, x, exponent: _power_x(g, x, exponent),),
    T.pow_:        (lambda g, y, a, b: _pow_a(g, a, b),
                    lambda g, y, a, b: _pow_b(g, y, a, b)),
    T.matmul:      (lambda g, y, a, b: _matmul_a(g, a, b),
                    lambda g, y, a, b: _matmul_b(g, a, b)),
    T.exp:         (lambda g, y, x: g * y,),
    T.log:         (lambda g, y, x: g / x,),
    T.absolute:    (lambda g, y, x: g * np.subtract(x > 0, x < 0, dtype=g.dtype),),  # 0 for NaN
    T.maximum:     (lambda g, y, a, b: share_of_maximum(g, a, b),
                    lambda g, y, a, b: share_of_maximum(g, b, a)),
    T.where_:      (None,
                    lambda g, y, c, a, b: masked(g, np.asarray(c, bool)),
                    lambda g, y, c, a, b: masked(g, ~np.asarray(c, bool))),
    T.sum_:        (lambda g, y, x, dim, keepdim: spread(g, x, dim, keepdim),),
    T.mean:        (lambda g, y, x, dim, keepdim: spread(g * (y.size / max(1, x.size)), x, dim, keepdim),),
    T.amax:        (lambda g, y, x, dim, keepdim: share_of_extremes(g, y, x, dim, keepdim),),
    T.amin:        (lambda g, y, x, dim, keepdim: share_of_extremes(g, y, x, dim, keepdim),),
    T.max_along:   (lambda g, indices, x, dim, keepdim: put_along(g, indices, x, dim, keepdim),),
    T.min_along:   (lambda g, indices, x, dim, keepdim: put_along(g, indices, x, dim, keepdim),),
    T.reshape:     (lambda g, y, x, shape: g.reshape(x.shape),),
    T.permute:     (lambda g, y, x, dims: g.transpose(np.argsort([d % x.ndim for d in dims])),),
    T.expand:      (lambda g, y, x, shape: g,),
    T.getitem:     (lambda g, y, x, index: _scatter(g, x, index),),
    T.cast:        (lambda g, y, x, dtype: g,),
    T.concatenate: _split,

    A.relu_:        (lambda g, y, x: masked(g, y != 0),),  # as in PyTorch, NaN passes on its gradient
    A.sigmoid_:     (lambda g, y, x: g * y * (1 - y),),
    A.tanh_:        (lambda g, y, x: g * (1 - y * y),),
    A.gelu_:        (lambda g, t, x: gelu_gradient(in_float32(g), t, in_float32(x), A.GELU_SCALE, A.GELU_CUBIC),),
    A.softmax_:     (lambda g, y, x, dim: _softmax_x(g, y, dim),),
    A.log_softmax_: (lambda g, y, x, dim: g - np.exp(y) * in_float32(g).sum(axis=dim, keepdims=True),),

    L.linear:       (lambda g, y, x, w, b=None: (_rows(g) @ w).reshape(x.shape),
                     lambda g, y, x, w, b=None: _rows(g).T @ _rows(x),
                     lambda g, y, x, w, b: _sum_rows(g)),
    L.dropout:      (lambda g, y, x, kept, scale: masked(g * g.dtype.type(scale), kept),),

    S.cross_entropy_:   (lambda g, p, x, t, label_smoothing: _cross_entropy_x(g, p, t, label_smoothing),),
    S.bce_with_logits_: (lambda g, y, x, t: g / x.size * (A.sigmoid_.forward(x) - t),),
}
# fmt: on


def derivative(op: Op, *rules: Rule | None) -> None:
    """Register an op's rules, one for each input (None for an input without a derivative)."""
    DERIVATIVES[op] = rules


def joint_derivative(op: Op, rule: Rule) -> None:
    """Register one rule that returns the gradients of all inputs at once, for ops whose gradients share work."""
    DERIVATIVES[op] = rule


# The backward pass ----------------------------------------------------------------------------------

_FREED = Node(Op("freed", lambda: None), (), [], {}, None)

HOOKS: dict[int, Callable[[Array], Array]] = {}  # id of a tensor -> a function of its gradient; see `ops.hooks`


def backward(output: Tensor, gradient: Tensor | Array | None = None, retain_graph: bool = False) -> None:
    """Add d(output)/d(leaf) to `.grad` of every leaf that requires a gradient.

    Tensors are visited in the reverse of `topological_order`: when a tensor is reached, all results computed from it
    have contributed to its gradient. The first is `output`, with the gradient of `_initial_gradient`.

    - A leaf (`node` is None) adds its gradient to `.grad`, which becomes a new Tensor with an array of its own. Nothing
      else gets a `.grad`.
    - For the result of an op, the gradients of `input_gradients` are added to those of its inputs, with `_sum`. Then,
      unless `retain_graph` is true, its node is replaced by `_FREED`.
    - A tensor that no gradient has reached is skipped.

    Args:
        output: the tensor to differentiate.
        gradient: dL/d(output), with output's shape; defaults to 1 for an output with a single element.
        retain_graph: keep the recorded graph, so that the same computation can be differentiated again.

    Raises:
        GradientError: nothing was recorded, an earlier call freed the graph, or an op has no rule.
        ShapeError: the gradient's shape differs from the output's.
    """
    if not output.requires_grad:
        raise GradientError("backward: this tensor depends on nothing that requires a gradient")
    gradients = {id(output): _initial_gradient(output, gradient)}
    stored: set[int] = set()
    order = topological_order(output)
    while order:  # popping frees each intermediate tensor and its gradient as soon as they have been used
        tensor = order.pop()
        g = gradients.pop(id(tensor), None)
        if g is None:  # reached only through rules that are None
            continue
        if HOOKS and id(tensor) in HOOKS:
            g = HOOKS[id(tensor)](g)
        if tensor.node is None:
            if tensor.grad is not None:
                g = tensor.grad.data + g
            elif getattr(g, "base", None) is not None or id(g) in stored:
                g = g.copy()  # a view, or also another leaf's gradient: each leaf may write into its own
            stored.add(id(g))
            tensor.grad = Tensor(g)
            continue
        for x, gx in input_gradients(tensor.node, g):
            key = id(x)
            gradients[key] = _sum(gradients[key], gx) if key in gradients else gx
        if not retain_graph:
            tensor.node = _FREED


def _sum(a: Array, b: Array) -> Array:
    """Return a + b, without a warning if float16 overflows, because a gradient scaler (module 15) expects that."""
    if a.dtype.itemsize > 2:
        return a + b
    with np.errstate(over="ignore", invalid="ignore"):
        return a + b


def topological_order(output: Tensor) -> list[Tensor]:
    """Return `output` and all tensors it was computed from that require a gradient, each one after its own inputs.

    Each tensor is in the list once and is visited once, however many results use it. This is a depth-first search with
    an explicit stack, so its depth is limited by memory, not by Python's recursion limit.
    """
    order: list[Tensor] = []
    seen: set[int] = set()
    stack: list[tuple[Tensor, bool]] = [(output, False)]
    while stack:
        tensor, inputs_done = stack.pop()
        if inputs_done:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            if tensor.node is not None:
                inputs = inputs_of(tensor.node) if changes.moved else tensor.node.inputs
                stack.extend((x, False) for x in inputs if isinstance(x, Tensor) and x.requires_grad)
    return order


def inputs_of(node: Node) -> tuple[Any, ...]:
    """Return the node's inputs as they were when it was recorded: `x += y` may have moved x since then."""
    return tuple(changes.at(x, node.time) for x in node.inputs)


def input_gradients(node: Node, g: Array) -> Iterator[tuple[Tensor, Array]]:
    """Yield (input, gradient) for each input that requires one, given the gradient g of the node's result.

    The op's entry in DERIVATIVES is a tuple with one rule for each input, or one joint rule, which is called once and
    returns the gradients of all inputs. Each gradient is then reduced to its input's shape and dtype (`unbroadcast`).
    Rules receive arrays, not tensors. They are called only for inputs that are tensors and require a gradient.

    Raises:
        GradientError: the graph was freed, the op has no rules, or an input has none (None, or a tuple too short):
            "backward: op 'where' has no derivative for its input 0".
    """
    if node is _FREED:
        raise GradientError("backward: an earlier backward() freed this graph; pass retain_graph=True to that call")
    rules = DERIVATIVES.get(node.op)
    if rules is None:
        raise GradientError(f"backward: op '{node.op.name}' has no derivative")
    if changes.clock != node.time:
        check_unchanged(node)
    inputs, arrays = inputs_of(node) if changes.moved else node.inputs, node.arrays
    joint = None if isinstance(rules, tuple) else rules(g, node.kept, *arrays, **node.attrs)
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor) or not x.requires_grad:
            continue
        if joint is not None:
            gx = joint[i]
        else:
            rule = rules[i] if i < len(rules) else None  # type: ignore[index, arg-type]
            if rule is None:
                raise GradientError(f"backward: op '{node.op.name}' has no derivative for its input {i}")
            gx = rule(g, node.kept, *arrays, **node.attrs)
        yield x, unbroadcast(gx, arrays[i])


def unbroadcast(g: Array, x: Array) -> Array:
    """Sum g over the dimensions along which x was broadcast, and cast it to x's dtype.

    Broadcasting adds dimensions in front and repeats those of size 1. The result has the shape of x.
    If y is x repeated n times along a dimension, then dL/dx is the sum of the n parts of dL/dy.
    """
    if g.shape != x.shape:
        g = in_float32(g)  # for the sums of 16-bit numbers
        extra = g.ndim - x.ndim
        g = g.sum(axis=tuple(range(extra))) if extra else g
        repeated = tuple(i for i, n in enumerate(x.shape) if n == 1 and g.shape[i] != 1)
        g = g.sum(axis=repeated, keepdims=True) if repeated else g
    return g if g.dtype == x.dtype else g.astype(x.dtype)


def _initial_gradient(output: Tensor, gradient: Tensor | Array | None) -> Array:
    if gradient is None:
        if output.numel() != 1:
            raise GradientError(f"backward: shape {output.shape} is not a single number; pass a gradient")
        return np.ones(output.shape, output.dtype)
    array = np.array(gradient, output.dtype)  # a copy, because the caller may reuse the original
    if array.shape != output.shape:
        raise ShapeError(f"backward: gradient of shape {array.shape} for a tensor of shape {output.shape}")
    return array


class no_grad(Scope):  # noqa: N801 (PyTorch's name)
    """Disable recording in this thread: `with no_grad(): ...`, or as a decorator, `@no_grad()` or `@no_grad`.

    At the end of the block, also after an error, recording is as it was before the block: off, if blocks are nested.
    A decorated generator function records nothing in its body, and does not change what its caller records.
    """

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        self._before: list[bool] = []

    def _recreate_cm(self) -> no_grad:
        return no_grad()  # a decorated function may run in several threads

    def __enter__(self) -> no_grad:
        """Append whether this thread records to `self._before`, stop recording, and return this object."""
        self._before.append(T.is_grad_enabled())
        T.set_grad_enabled(False)
        return self

    def __exit__(self, *error: object) -> None:
        """Take the last element off `self._before`, and record again if it says so. Also runs after an error."""
        T.set_grad_enabled(self._before.pop())


# Gradient checks ------------------------------------------------------------------------------------


def numeric_gradient(f: Callable[..., Tensor], inputs: list[Array], i: int, weights: Array, eps: float) -> Array:
    """Return (L(x + eps) - L(x - eps)) / (2 eps) for each element of input i, with L = sum(weights * f)."""
    inputs = [x.copy() for x in inputs]
    x = inputs[i]
    gradient = np.zeros_like(x)

    def loss() -> float:
        with no_grad():
            return float((f(*map(Tensor, inputs)).data * weights).sum())

    for index in np.ndindex(x.shape):
        value = x[index]
        x[index] = value + eps
        above = loss()
        x[index] = value - eps
        gradient[index] = (above - loss()) / (2 * eps)
        x[index] = value
    return gradient


def check_grads(f: Callable[..., Tensor], *inputs: Array, eps: float = 1e-6, tolerance: float = 1e-6) -> None:
    """Compare `backward` through f with central differences in float64, for every element of every input.

    The outputs are weighted with fixed random numbers, so that errors cannot cancel in their sum.

    Raises:
        GradientError: they differ by more than tolerance * (1 + |numeric|); the message states where and both values.
    """
    arrays = [np.asarray(x, np.float64) for x in inputs]
    tensors = [Tensor(x.copy(), requires_grad=True) for x in arrays]
    output = f(*tensors)
    weights = np.random.default_rng(0).standard_normal(output.shape)
    output.backward(weights)
    for i, tensor in enumerate(tensors):
        expected = numeric_gradient(f, arrays, i, weights, eps)
        actual = np.zeros_like(expected) if tensor.grad is None else tensor.grad.data
        error = np.abs(actual - expected) / (1 + np.abs(expected))
        if not error.size:
            continue
        worst = np.unravel_index(error.argmax(), error.shape)
        if not error[worst] <= tolerance:
            raise GradientError(
                f"input {i} at {tuple(map(int, worst))}: backward returned {actual[worst]:.8g}, "
                f"expected {expected[worst]:.8g} from central differences"
            )


T.use_differentiator(backward)


def __getattr__(name: str) -> Any:
    """Return `grad` and PyTorch's other names that the course does not teach; see `ops.hooks`."""
    if name in ("enable_grad", "grad", "inference_mode", "set_grad_enabled"):
        return getattr(import_module("tinytorch.ops.hooks"), name)
    raise AttributeError(f"module 'tinytorch.autograd' has no attribute {name!r}")
