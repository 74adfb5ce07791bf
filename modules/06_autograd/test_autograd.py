"""Module 06: every derivative against central differences, and the backward pass over the graph."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinytorch as tt
from tinytorch import activations, autograd, layers, losses, tensor
from tinytorch.base.errors import GradientError, ShapeError
from tinytorch.tensor import Op, Tensor, apply

RNG = np.random.default_rng(6)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2, shape)


LABELS = np.array([2, 0, 1])
CONDITION = np.array([[True, False, True], [False, True, False]])

# One line per op: the function, then its inputs
OPS: dict[str, tuple[Callable[..., Tensor], *tuple[np.ndarray, ...]]] = {
    "add": (lambda a, b: a + b, normal(2, 3), normal(2, 3)),
    "add broadcast": (lambda a, b: a + b, normal(2, 3), normal(3)),
    "add broadcast both": (lambda a, b: a + b, normal(2, 1), normal(1, 3)),
    "add scalar tensor": (lambda a, b: a + b, normal(2, 3), normal()),
    "sub": (lambda a, b: a - b, normal(2, 3), normal(2, 1)),
    "mul": (lambda a, b: a * b, normal(2, 3), normal(3)),
    "mul by a constant array": (lambda a: np.arange(3.0) * a, normal(2, 3)),
    "div": (lambda a, b: a / b, normal(2, 3), positive(2, 1)),
    "number over tensor": (lambda a: 2 / a, positive(2, 3)),
    "neg": (lambda a: -a, normal(3)),
    "pow 3": (lambda a: a**3, normal(3)),
    "pow 2": (lambda a: a**2, normal(3)),
    "pow fraction": (lambda a: a**1.7, positive(3)),
    "sqrt": (lambda a: a.sqrt(), positive(3)),
    "exp": (lambda a: a.exp(), normal(3)),
    "log": (lambda a: a.log(), positive(3)),
    "abs": (lambda a: a.abs(), positive(3) * [1, -1, 1]),
    "maximum": (lambda a, b: a.maximum(b), normal(4, 3), normal(3)),
    "where": (lambda a, b: tt.where(CONDITION, a, b), normal(2, 3), normal(3)),
    "where by a number": (lambda a, b: tt.where(np.array([2, 0, 1]), a, b), normal(2, 3), normal(3)),
    "sub from an array": (lambda a: np.arange(3.0) - a, normal(2, 3)),
    "reciprocal": (lambda a: a**-1, positive(3)),
    "mean of nothing": (lambda a: a[:0].sum() + a.mean(), normal(3)),
    "matmul": (lambda a, b: a @ b, normal(2, 3), normal(3, 4)),
    "matmul matrix vector": (lambda a, b: a @ b, normal(2, 3), normal(3)),
    "matmul vector matrix": (lambda a, b: a @ b, normal(3), normal(3, 4)),
    "matmul vector vector": (lambda a, b: a @ b, normal(3), normal(3)),
    "matmul batched": (lambda a, b: a @ b, normal(5, 2, 3), normal(5, 3, 4)),
    "matmul batched broadcast": (lambda a, b: a @ b, normal(2, 1, 2, 3), normal(4, 3, 2)),
    "matmul batch by matrix": (lambda a, b: a @ b, normal(5, 2, 3), normal(3, 4)),
    "matmul batch by vector": (lambda a, b: a @ b, normal(5, 2, 3), normal(3)),
    "matmul vector by batch": (lambda a, b: a @ b, normal(3), normal(5, 3, 2)),
    "sum": (lambda a: a.sum(), normal(2, 3)),
    "sum dim": (lambda a: a.sum(1), normal(2, 3, 2)),
    "sum dims keepdim": (lambda a: a.sum((0, 2), keepdim=True), normal(2, 3, 2)),
    "sum negative dim": (lambda a: a.sum(-1), normal(2, 3)),
    "mean": (lambda a: a.mean((0, 1)), normal(2, 3, 2)),
    "max": (lambda a: a.max(1).values, normal(4, 5)),
    "max keepdim": (lambda a: a.max(0, keepdim=True)[0], normal(4, 5)),
    "amax": (lambda a: a.amax((0, 2)), normal(2, 3, 4)),
    "amin": (lambda a: a.amin(-1, keepdim=True), normal(2, 3, 4)),
    "max of all": (lambda a: a.max(), normal(4, 5)),
    "min": (lambda a: a.min(0, keepdim=True).values, normal(4, 5)),
    "var": (lambda a: a.var(1, keepdim=True), normal(3, 4)),
    "reshape": (lambda a: a.reshape(3, 2), normal(2, 3)),
    "permute": (lambda a: a.permute(2, 0, 1), normal(2, 3, 4)),
    "permute from the end": (lambda a: a.permute(0, -1, 1), normal(2, 3, 4)),
    "transpose": (lambda a: a.transpose(-1, 0), normal(2, 3, 4)),
    "expand": (lambda a: a.expand(4, 2, 3), normal(2, 1)),
    "unsqueeze squeeze": (lambda a: a.unsqueeze(1).squeeze(1) * 2, normal(2, 3)),
    "slice": (lambda a: a[1:, ::2], normal(3, 4)),
    "slice negative step": (lambda a: a[::-1, None, ..., 0], normal(3, 4)),
    "index by an array, repeated": (lambda a: a[np.array([0, 2, 0])], normal(3, 2)),
    "index by a mask": (lambda a: a[np.array([True, False, True])], normal(3, 2)),
    "index by pairs": (lambda a: a[np.arange(3), LABELS], normal(3, 3)),
    "cat": (lambda a, b: tt.cat([a, b, a], dim=1), normal(2, 1), normal(2, 3)),
    "stack": (lambda a, b: tt.stack([a, b], dim=1), normal(2, 3), normal(2, 3)),
    "relu": (tt.relu, normal(4, 3)),
    "sigmoid": (tt.sigmoid, normal(4, 3)),
    "tanh": (tt.tanh, normal(4, 3)),
    "gelu": (tt.gelu, normal(4, 3)),
    "softmax": (lambda a: tt.softmax(a, 0), normal(4, 3)),
    "log_softmax": (lambda a: tt.log_softmax(a, 1), normal(4, 3)),
    "linear": (lambda x, w, b: apply(layers.linear, x, w, b), normal(4, 3), normal(2, 3), normal(2)),
    "linear without bias": (lambda x, w: apply(layers.linear, x, w), normal(4, 3), normal(2, 3)),
    "linear on 3-D": (lambda x, w, b: apply(layers.linear, x, w, b), normal(2, 4, 3), normal(2, 3), normal(2)),
    "linear on 1-D": (lambda x, w, b: apply(layers.linear, x, w, b), normal(3), normal(2, 3), normal(2)),
    "cross_entropy": (lambda x: tt.cross_entropy(x, LABELS), normal(3, 4)),
    "cross_entropy smoothed": (lambda x: tt.cross_entropy(x, LABELS, 0.1), normal(3, 4)),
    "bce": (lambda x: tt.binary_cross_entropy_with_logits(x, np.array([0.0, 1, 0.4])), normal(3)),
    "mse": (tt.mse_loss, normal(3, 2), normal(3, 2)),
    "one tensor used three times": (lambda a: a * a + a, normal(3)),
    "diamond": (lambda a: (a * 2) * (a * 3).exp(), normal(3)),
}


@pytest.mark.parametrize("name", OPS)
def test_derivative_agrees_with_central_differences(name: str) -> None:
    function, *inputs = OPS[name]
    autograd.check_grads(function, *inputs)


def test_every_op_of_modules_02_to_05_has_a_derivative() -> None:
    rooms = (tensor, activations, layers, losses)
    ops = [value for room in rooms for value in vars(room).values() if isinstance(value, Op)]
    assert len(ops) > 25
    assert [op.name for op in ops if op not in autograd.DERIVATIVES] == []


def test_wrong_derivative_is_detected() -> None:
    wrong = Op("wrong", lambda x: x * x)
    autograd.derivative(wrong, lambda g, y, x: 3 * g * x)
    try:
        with pytest.raises(GradientError, match=r"input 0 at \(\d,\): backward returned"):
            autograd.check_grads(lambda x: apply(wrong, x), positive(3))
    finally:
        del autograd.DERIVATIVES[wrong]


@settings(max_examples=60)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), st.integers(0, 9))
def test_broadcasting_is_undone_for_every_pair_of_shapes(pair: hnp.BroadcastableShapes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    autograd.check_grads(lambda a, b: a * b, *(rng.standard_normal(shape) for shape in pair.input_shapes))


def test_equal_largest_values_share_the_gradient() -> None:
    x = Tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    assert x.grad is not None
    assert x.grad.data.tolist() == [0, 0.5, 0.5]


def test_gradients_accumulate_over_calls_and_only_leaves_keep_them() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    middle = x * 3
    middle.sum().backward()
    (x * 2).sum().backward()
    assert x.grad is not None
    assert x.grad.data.tolist() == [5, 5]
    assert middle.grad is None


def test_residual_chain_of_depth_200_visits_each_node_once() -> None:
    visits = 0

    def forward(x: np.ndarray) -> np.ndarray:
        return x * 0.5

    def rule(g: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        nonlocal visits
        visits += 1
        return g * 0.5

    half = Op("half", forward)
    autograd.derivative(half, rule)
    try:
        x = Tensor(np.ones(1), requires_grad=True)
        y = x
        for _ in range(200):
            y = y + apply(half, y)  # two paths through each block: 2^200 paths in total
        y.backward()
    finally:
        del autograd.DERIVATIVES[half]
    assert visits == 200
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data, 1.5**200)


def test_depth_is_not_limited_by_recursion() -> None:
    x = Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + 0.0
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 1


def test_interior_tensors_are_freed_during_the_backward_pass() -> None:
    x = Tensor(np.ones(4), requires_grad=True)
    middle = x * 2
    alive = weakref.ref(middle)
    loss = (middle * 3).sum()
    del middle
    loss.backward()
    gc.collect()
    assert alive() is None


def test_no_grad_records_nothing_and_recording_resumes_after_an_error() -> None:
    x = Tensor([1.0], requires_grad=True)
    with tt.no_grad():
        assert not (x * 2).requires_grad
    with pytest.raises(ShapeError), tt.no_grad():
        tt.zeros(2) + tt.zeros(3)
    assert (x * 2).requires_grad

    @tt.no_grad()
    def f() -> Tensor:
        return x * 2

    assert not f().requires_grad


def test_constants_and_integer_inputs_get_no_gradient() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    other, whole = Tensor([3.0, 4.0]), Tensor([1, 2])
    (x * other * whole).sum().backward()
    assert other.grad is whole.grad is None
    assert not x.to(np.int64).requires_grad


def test_the_callers_gradient_is_copied() -> None:
    x, g = Tensor([1.0, 2.0], requires_grad=True), np.ones(2, np.float32)
    (x + 0.0).backward(g)
    g[:] = 7
    assert x.grad is not None
    assert x.grad.data.tolist() == [1, 1]


def test_no_grad_nests_recurses_and_affects_only_its_thread() -> None:
    x = Tensor([1.0], requires_grad=True)
    seen: list[bool] = []

    @tt.no_grad()
    def recurse(depth: int) -> None:
        if depth:
            recurse(depth - 1)
        seen.append((x * 2).requires_grad)

    recurse(3)
    assert seen == [False] * 4
    assert (x * 2).requires_grad
    with tt.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen[-1]


def test_gradients_of_mixed_dtypes_keep_each_inputs_dtype() -> None:
    a = Tensor(np.ones(2, np.float32), requires_grad=True)
    b = Tensor(np.ones(2, np.float64), requires_grad=True)
    (a * b).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert a.grad.dtype == np.float32
    assert b.grad.dtype == np.float64


def test_errors_state_the_problem() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(GradientError, match="depends on nothing"):
        Tensor([1.0]).backward()
    with pytest.raises(GradientError, match=r"shape \(2,\) is not a single number"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match=r"gradient of shape \(3,\) for a tensor of shape \(2,\)"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(GradientError, match="backward: op 'mystery' has no derivative"):
        apply(Op("mystery", lambda a: a.sum()), x).backward()
    with pytest.raises(GradientError, match="'where' has no derivative for its input 0"):
        apply(tensor.where_, x, 1.0, 2.0).sum().backward()


def test_second_backward_is_rejected_unless_the_graph_was_kept() -> None:
    x = Tensor([2.0], requires_grad=True)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 8
    with pytest.raises(GradientError, match="retain_graph=True"):
        y.backward()


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["exp", "tanh", "mul", "add", "slice", "sum"]), min_size=1, max_size=8))
def test_random_compositions_agree_with_central_differences(names: list[str]) -> None:
    def function(x: Tensor) -> Tensor:
        y = x
        for name in names:
            y = {
                "exp": lambda y: (y * 0.1).exp(),
                "tanh": lambda y: tt.tanh(y),
                "mul": lambda y: y * x,
                "add": lambda y: y + x * 2,
                "slice": lambda y: tt.cat([y[:1], y[1:]], dim=0),
                "sum": lambda y: y - y.sum(0, keepdim=True) * 0.1,
            }[name](y)
        return y

    autograd.check_grads(function, np.array([0.3, -0.7, 0.2]), tolerance=1e-5)
