"""Module 16: acceleration. The same results, faster.

The ladder is one matrix product in eight versions, each faster than the one before:

    y[i, j] = sum over k of a[i, k] b[k, j]        (M, K) (K, N) -> (M, N), 2 M K N operations

The arithmetic is the same in all of them. They differ in the code that executes it, and in where the numbers are
stored in the meantime. `RUNGS` lists the versions; the suite 2025_acceleration measures them.

`trace` removes the overhead around the arithmetic: it runs a model once, records which array functions are called with
which inputs, and replays only those calls, without wrapping Tensors or recording a graph. For one MNIST image and a
784-256-128-10 network, it was 1.15 times as fast as the model under `no_grad`. On large batches it gains nothing,
because the products take all the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.autograd import no_grad, topological_order
from tinytorch.base import dtypes
from tinytorch.base.alignment import aligned_copy
from tinytorch.base.errors import GradientError
from tinytorch.layers import Module, evaluating
from tinytorch.native import backend, products
from tinytorch.tensor import Array, Tensor, is_grad_enabled, set_grad_enabled

ROWS, DEPTH = 4, 64  # size of a block: its 4 x 64 x N products fit the cache of one core (256 kB for N = 256)
Step = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

# The ladder -------------------------------------------------------------------------------------------
#
# Each function maps a (M, K) and b (K, N) to their product, (M, N) in the dtype of a.


def loops(a: Array, b: Array) -> Array:
    """Multiply with three nested Python loops, on lists: reading single elements of an array is even slower.

    Each sum is a Python float, and the result is converted to the dtype of a at the end.
    """
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
    """Multiply with NumPy in the inner loop: one call per element of the result, each for K products."""
    columns = np.ascontiguousarray(b.T)
    y = np.empty((len(a), len(columns)), a.dtype)
    for i, row in enumerate(a):
        for j, column in enumerate(columns):
            y[i, j] = row @ column
    return y


def broadcast(a: Array, b: Array) -> Array:
    """Multiply without Python loops: all M K N products in one array (M, K, N), which is far too large for a cache.

    The sum over K is a second pass over this array.
    """
    return (a[:, :, None] * b[None, :, :]).sum(1)  # (M, K, N) -> (M, N)


def blocked(a: Array, b: Array) -> Array:
    """Multiply as `broadcast`, in blocks that fit the cache: products are summed before they reach main memory.

    A block is ROWS rows of a and DEPTH steps of K, for all N columns: its ROWS x DEPTH x N products are summed over K
    and added to ROWS rows of the result. The last blocks may be smaller.
    """
    y = np.zeros((len(a), b.shape[1]), a.dtype)
    for i in range(0, len(a), ROWS):
        for k in range(0, len(b), DEPTH):
            y[i : i + ROWS] += (a[i : i + ROWS, k : k + DEPTH, None] * b[None, k : k + DEPTH]).sum(1)
    return y


def blas(a: Array, b: Array) -> Array:
    """Multiply with BLAS: blocks for registers and each cache, vector instructions that multiply and add, all cores."""
    return a @ b


def native(a: Array, b: products.Packed) -> Array:
    """Multiply with oneDNN, in the dtype of a and b, with b already packed in the layout that its instructions need."""
    return b.product(a)


@dataclass(frozen=True)
class Rung:
    """One version of the product.

    `multiply` is the function to time. `largest` is the size of the largest matrices for which it finishes in
    reasonable time.
    """

    name: str
    multiply: Callable[[Array, Any], Array]
    largest: int
    why: str  # the reason why it is faster than the one before
    dtype: str = "float32"

    @property
    def is_native(self) -> bool:
        """Whether the rung needs a native kernel for its dtype."""
        return self.multiply is native

    def prepare(self, a: Array, b: Array) -> tuple[Array, Any]:
        """Convert both factors to the rung's dtype and pack b, if the rung is native. This is done once and not timed.

        int8 expects integers from -128 to 127. Module 17 covers the rounding of other numbers.
        """
        if not self.is_native:
            return a, b
        dtype = _dtype(self.dtype)
        return a.astype(dtype), products.pack(b.T.astype(dtype))


RUNGS = (
    Rung("Python loops", loops, 256, "one multiplication at a time, each through the interpreter"),
    Rung("inner products", inner_products, 256, "K operations per call from Python"),
    Rung("broadcast", broadcast, 256, "one call for everything; large products wait for memory"),
    Rung("blocked", blocked, 512, "blocks that fit the cache"),
    Rung("BLAS", blas, 2048, "numbers used many times while they are in registers; all cores"),
    Rung("oneDNN float32", native, 2048, "one factor packed in advance"),
    Rung("oneDNN bfloat16", native, 2048, "half the bytes, and two operations where float32 has one", "bfloat16"),
    Rung("oneDNN int8", native, 2048, "a quarter of the bytes, and four operations where float32 has one", "int8"),
)


def _dtype(name: str) -> np.dtype:
    return dtypes.bfloat16() if name == "bfloat16" else np.dtype(name)


def rungs() -> tuple[Rung, ...]:
    """Return the rungs that this machine supports. Native ones need an instruction for their dtype."""
    return tuple(rung for rung in RUNGS if not rung.is_native or backend.native(_dtype(rung.dtype)))


def left_out() -> str:
    """Return one line that names the rungs that this machine does not support and the reason; "" if it supports all."""
    missing = [rung.name for rung in RUNGS if rung not in rungs()]
    return f"{', '.join(missing)}: the backend here is {backend.why()}" if missing else ""


def matrices(size: int, seed: int = 0) -> tuple[Array, Array]:
    """Return two square matrices of random integers from -127 to 127, as float32.

    Every dtype of the ladder represents these integers exactly. float32 represents their sums exactly: they are always
    below 2^24 up to size 1040, and for these random integers far below it up to size 2048. All rungs must therefore
    return bit-identical results.
    """
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-127, 128, (2, size, size)).astype(np.float32)
    return a, b


def operations(size: int) -> int:
    """Return the number of multiplications and additions in one square product."""
    return 2 * size**3


# Tracing ----------------------------------------------------------------------------------------------


class Slot:
    """A placeholder for a value that is computed during the replay."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class Plan:
    """The array functions of one forward pass, in order, for one input shape.

    Attributes:
        steps: a list of (forward, inputs, attrs): the array function of an op, its inputs, and its keyword arguments.
            Each input is an array, another operand, or a `Slot`: slot 0 is the input of the plan, and slot i the result
            of step i - 1.
    """

    def __init__(self, model: Module, example: Array) -> None:
        """Record what `model` does with `example`.

        `order` contains all recorded tensors, each one after those that it was computed from, and x is among them.
        `node.op.forward`, `node.inputs`, and `node.attrs` of a tensor say how it was computed; x and the parameters
        have no node. Only what depends on x becomes a step. Any other Tensor is an input that does not change: its
        array is copied, so that the plan is a snapshot of the weights.

        Raises:
            GradientError: the output does not depend on the input.
        """
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
                continue  # depends on parameters only, so its value does not change
            on_input.add(id(tensor))
            inputs = tuple(
                slots.get(id(i)) or aligned_copy(i.operand()) if isinstance(i, Tensor) else i for i in node.inputs
            )
            self.steps.append((node.op.forward, inputs, node.attrs))
            slots[id(tensor)] = Slot(len(self.steps))

    def __call__(self, x: Array) -> Array:
        """Run the steps on another input of the same shape, and return the result of the last one.

        The array function of an op returns its result, or a tuple that begins with it. Recording is disabled meanwhile,
        because an op may then skip what only its derivative needs, and restored afterwards.
        """
        recording = is_grad_enabled()
        set_grad_enabled(False)
        try:
            values = [x]
            for forward, inputs, attrs in self.steps:
                result = forward(*[values[i.index] if type(i) is Slot else i for i in inputs], **attrs)
                values.append(result[0] if type(result) is tuple else result)
            return values[-1]
        finally:
            set_grad_enabled(recording)


def trace(model: Module) -> Callable[[Array], Array]:
    """Return a function from input array to output array that computes what `model.eval()` does, with less overhead.

    A trace is a snapshot: each new input shape is traced once, with the weights at that time. As with
    `torch.jit.trace`, a value that is computed from the input outside the recorded operations (a branch, a comparison,
    `detach`, a random number) would stay as it was at that time. Each plan is therefore checked on three other inputs
    before it is used: `checked_plan(model, x)` returns such a plan.

    Raises:
        GradientError: the returned function raises it if the input is not floating-point, or if the model is not a
            fixed sequence of recorded operations on its input.
    """
    plans: dict[tuple[int, ...], Plan] = {}

    def predict(x: Array) -> Array:
        plan = plans.get(x.shape)
        if plan is None:
            plan = plans[x.shape] = checked_plan(model, x)
        return plan(x)

    return predict


def checked_plan(model: Module, x: Array) -> Plan:
    """Return a plan for x, checked against the model on three other inputs. The model's mode is restored."""
    if x.dtype.kind != "f":
        raise GradientError(f"trace: input of dtype {x.dtype}: only floating-point inputs can be traced")
    with evaluating(model), np.errstate(all="ignore"):  # numbers 64 times as large may overflow
        plan = Plan(model, x)
        for other in (np.flip(-x).copy(), 64 * x, x / 64):
            with no_grad():
                expected = model(Tensor(other)).data.astype(np.float64)
            found = plan(other).astype(np.float64)
            largest = np.nanmax(np.abs(expected), initial=0, where=np.isfinite(expected))
            if found.shape != expected.shape or not np.allclose(found, expected, 1e-5, 1e-6 * largest, equal_nan=True):
                raise GradientError("trace: the model does not run the same operations for every input of one shape")
    return plan
