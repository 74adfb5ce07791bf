"""Module 16: acceleration. The same results, faster.

The ladder is one matrix product, written eight times, each version faster than the one before:

    y[i, j] = sum over k of a[i, k] b[k, j]        (M, K) (K, N) -> (M, N), 2 M K N operations

Read from top to bottom: the arithmetic stays the same. What changes is which code executes it and where the numbers
are stored meanwhile. `RUNGS` lists the versions; the suite 2025_acceleration measures them.

`trace` removes what surrounds the arithmetic: it runs a model once, records which array functions were called on
what, and replays only those, without wrapping Tensors or recording a graph. On one MNIST image through a
784-256-128-10 network it measured 1.15 times as fast as the model under `no_grad`; on large batches it gains nothing,
because the products take all the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.autograd import no_grad, topological_order
from tinytorch.base import dtypes
from tinytorch.base.errors import GradientError
from tinytorch.layers import Module, evaluating
from tinytorch.native import backend, products
from tinytorch.tensor import Array, Tensor, is_grad_enabled, set_grad_enabled

ROWS, DEPTH = 4, 64  # of a block: 4 x 64 x N numbers stay in a core's own cache (256 kB for N = 256)
Step = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

# The ladder -------------------------------------------------------------------------------------------


def loops(a: Array, b: Array) -> Array:
    """Three nested loops in Python, on lists: Python reads single numbers of an array even more slowly."""
    rows, columns = a.tolist(), b.T.tolist()
    y = [[0.0] * len(columns) for _ in rows]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            total = 0.0
            for k in range(len(row)):
                total += row[k] * column[k]
            y[i][j] = total
    return np.array(y, a.dtype).reshape(len(rows), len(columns))


def inner_products(a: Array, b: Array) -> Array:
    """The inner loop is NumPy's: one call for K operations, but still a call for each result."""
    columns = np.ascontiguousarray(b.T)
    y = np.empty((len(a), len(columns)), a.dtype)
    for i, row in enumerate(a):
        for j, column in enumerate(columns):
            y[i, j] = row @ column
    return y


def broadcast(a: Array, b: Array) -> Array:
    """No loop in Python: all M K N products at once in one array, which is far too large for a cache."""
    return (a[:, :, None] * b[None, :, :]).sum(1)  # (M, K, N) -> (M, N)


def blocked(a: Array, b: Array) -> Array:
    """The same in blocks that fit the cache: a product is added up before it has ever reached memory."""
    y = np.zeros((len(a), b.shape[1]), a.dtype)
    for i in range(0, len(a), ROWS):
        for k in range(0, len(b), DEPTH):
            y[i : i + ROWS] += (a[i : i + ROWS, k : k + DEPTH, None] * b[None, k : k + DEPTH]).sum(1)
    return y


def blas(a: Array, b: Array) -> Array:
    """BLAS: blocks for registers and for each cache, vector instructions that multiply and add, all cores."""
    return a @ b


def native(a: Array, b: products.Packed) -> Array:
    """oneDNN: as BLAS does, with b laid out before as its instructions read it, in the dtype of a and b."""
    return b.product(a)


@dataclass(frozen=True)
class Rung:
    """One way to multiply.

    `multiply` is what is timed; `largest` is the side of the largest matrices that are worth the wait.
    """

    name: str
    multiply: Callable[[Array, Any], Array]
    largest: int
    why: str  # it is faster than the one before
    dtype: str = "float32"

    @property
    def is_native(self) -> bool:
        """Whether it needs a native kernel for its dtype."""
        return self.multiply is native

    def prepare(self, a: Array, b: Array) -> tuple[Array, Any]:
        """Both factors as the rung wants them, which is done once and not timed: in its dtype, b packed.

        int8 takes integers from -128 to 127. What others lose by becoming such is module 17's matter.
        """
        if not self.is_native:
            return a, b
        dtype = _dtype(self.dtype)
        return a.astype(dtype), products.pack(b.T.astype(dtype))


RUNGS = (
    Rung("Python loops", loops, 256, "one multiplication at a time, each through the interpreter"),
    Rung("inner products", inner_products, 256, "K operations for each call from Python"),
    Rung("broadcast", broadcast, 256, "one call for everything; where it is large, memory is what it waits for"),
    Rung("blocked", blocked, 512, "blocks that fit the cache"),
    Rung("BLAS", blas, 2048, "numbers used many times while they are in registers; all cores"),
    Rung("oneDNN float32", native, 2048, "one factor laid out beforehand"),
    Rung("oneDNN bfloat16", native, 2048, "half the bytes, and two operations where float32 has one", "bfloat16"),
    Rung("oneDNN int8", native, 2048, "a quarter of the bytes, four operations where float32 has one", "int8"),
)


def _dtype(name: str) -> np.dtype:
    return dtypes.bfloat16() if name == "bfloat16" else np.dtype(name)


def rungs() -> tuple[Rung, ...]:
    """Those that this machine has: the native ones only where there is an instruction for their dtype."""
    return tuple(rung for rung in RUNGS if not rung.is_native or backend.native(_dtype(rung.dtype)))


def left_out() -> str:
    """Which rungs are missing here, and why, in one line; "" if none is."""
    missing = [rung.name for rung in RUNGS if rung not in rungs()]
    return f"{', '.join(missing)}: the backend here is {backend.why()}" if missing else ""


def matrices(size: int, seed: int = 0) -> tuple[Array, Array]:
    """Two square matrices of whole numbers from -127 to 127, as float32.

    Every dtype of the ladder holds such numbers, and float32 holds their sums (below 2^24 up to size 1040 for
    certain, and by far for these random ones up to 2048), so that all rungs must give the same result to the bit.
    """
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-127, 128, (2, size, size)).astype(np.float32)
    return a, b


def operations(size: int) -> int:
    """Multiplications and additions of one square product."""
    return 2 * size**3


# Tracing ----------------------------------------------------------------------------------------------


class Slot:
    """Stands for a value that is worked out during the replay."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class Plan:
    """The array functions of one forward pass, in order, for one input shape."""

    def __init__(self, model: Module, example: Array) -> None:
        x = Tensor(example, requires_grad=True)
        recording = is_grad_enabled()
        set_grad_enabled(True)
        try:
            output = model(x)
        finally:
            set_grad_enabled(recording)
        order = topological_order(output) if output.requires_grad else []
        if not any(tensor is x for tensor in order):
            raise GradientError("trace: the output does not depend on the input through recorded operations")
        on_input = {id(x)}
        slots = {id(x): Slot(0)}
        self.steps: list[Step] = []
        for tensor in order:
            node = tensor.node
            if node is None or not any(id(i) in on_input for i in node.inputs):
                continue  # depends on parameters alone: its value now is its value always
            on_input.add(id(tensor))
            inputs = tuple(slots.get(id(i)) or i.data.copy() if isinstance(i, Tensor) else i for i in node.inputs)
            self.steps.append((node.op.forward, inputs, node.attrs))
            slots[id(tensor)] = Slot(len(self.steps))

    def __call__(self, x: Array) -> Array:
        recording = is_grad_enabled()
        set_grad_enabled(False)  # an op may then spare what only its derivative needs
        try:
            values = [x]
            for forward, inputs, attrs in self.steps:
                result = forward(*[values[i.index] if type(i) is Slot else i for i in inputs], **attrs)
                values.append(result[0] if type(result) is tuple else result)
            return values[-1]
        finally:
            set_grad_enabled(recording)


def trace(model: Module) -> Callable[[Array], Array]:
    """A function from input array to output array that computes what `model.eval()` does, with less overhead.

    Each new input shape is traced once, with the weights of that moment: a trace is a snapshot. As with
    `torch.jit.trace`, what was worked out from the input outside the recorded operations (a branch, a comparison,
    `detach`, a random number) would stay as it was then; so each plan is tried on a second input before it is used.

    Raises:
        GradientError: the input is not floating-point, or what the model computes is not a fixed sequence of
            recorded operations on it.
    """
    plans: dict[tuple[int, ...], Plan] = {}

    def predict(x: Array) -> Array:
        plan = plans.get(x.shape)
        if plan is None:
            plan = plans[x.shape] = checked_plan(model, x)
        return plan(x)

    return predict


def checked_plan(model: Module, x: Array) -> Plan:
    """A plan that gives the model's own numbers on x and on another input; the model's mode stays as it was."""
    if x.dtype.kind != "f":
        raise GradientError(f"trace: input of dtype {x.dtype}: only floating-point inputs can be traced")
    with evaluating(model):
        plan = Plan(model, x)
        other = np.flip(-x).copy()
        with no_grad():
            expected = model(Tensor(other)).data
    if not np.allclose(plan(other), expected, rtol=1e-5, atol=1e-6, equal_nan=True):
        raise GradientError("trace: the model does not compute the same operations for every input of a shape")
    return plan
