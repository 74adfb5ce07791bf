"""Module 06: every derivative against central differences, and the backward pass over the graph."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinytorch import activations, autograd, layers, losses, tensor
from tinytorch.activations import gelu, log_softmax, relu, sigmoid, softmax, tanh
from tinytorch.autograd import (
    DERIVATIVES,
    backward,
    check_grads,
    derivative,
    input_gradients,
    joint_derivative,
    no_grad,
    topological_order,
    unbroadcast,
)
from tinytorch.base.errors import GradientError, ShapeError
from tinytorch.losses import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from tinytorch.tensor import Array, Op, Tensor, apply, cat, is_grad_enabled, set_grad_enabled, stack, where, zeros

RNG = np.random.default_rng(6)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2, shape)


LABELS = np.array([2, 0, 1])
CONDITION = np.array([[True, False, True], [False, True, False]])

# Checks against central differences that use nothing of module 06 but the rules, or `backward` -----------

EPS = 1e-6


def central_differences(f: Callable[..., Array], arrays: list[Array], i: int, g: Array) -> Array:
    """Return d sum(g * f) / d arrays[i], for each element, from two evaluations of f."""
    arrays = [np.array(array) for array in arrays]
    x, gradient = arrays[i], np.zeros_like(arrays[i])
    for index in np.ndindex(x.shape):
        value = x[index]
        x[index] = value + EPS
        above = (g * f(*arrays)).sum()
        x[index] = value - EPS
        gradient[index] = (above - (g * f(*arrays)).sum()) / (2 * EPS)
        x[index] = value
    return gradient


def rules_agree(op: Op, *arrays: Array, **attrs: Any) -> None:
    """Call an op's rules directly, and compare each gradient with central differences."""

    def forward(*inputs: Array) -> Array:
        result = op.forward(*inputs, **attrs)
        return result[0] if isinstance(result, tuple) else result

    result = op.forward(*arrays, **attrs)
    kept = result[1] if isinstance(result, tuple) else result
    g, rules = normal(*np.shape(forward(*arrays))), DERIVATIVES[op]
    assert isinstance(rules, tuple)
    for i in range(len(arrays)):
        rule = rules[i]
        assert rule is not None
        expected = central_differences(forward, list(arrays), i, g)
        actual = rule(g, kept, *arrays, **attrs)
        np.testing.assert_allclose(
            actual, expected, rtol=1e-6, atol=1e-7, err_msg=f"rule of {op.name} for its input {i}"
        )


def backward_agrees(function: Callable[..., Tensor], *arrays: Array) -> None:
    """Compare the gradients of `backward` with central differences, for every input."""
    tensors = [Tensor(np.array(array), requires_grad=True) for array in arrays]
    output = function(*tensors)
    g = normal(*output.shape)
    backward(output, g)
    for i, x in enumerate(tensors):
        assert x.grad is not None, f"input {i} has no gradient"
        expected = central_differences(lambda *inputs: function(*map(Tensor, inputs)).data, list(arrays), i, g)
        np.testing.assert_allclose(x.grad.data, expected, rtol=1e-5, atol=1e-6, err_msg=f"gradient of input {i}")


def gradient(x: Tensor) -> Array:
    assert x.grad is not None, "the tensor has no gradient"
    return x.grad.data


# Rules of the arithmetic --------------------------------------------------------------------------------


def test_rules_of_mul() -> None:
    rules_agree(tensor.mul, normal(2, 3), normal(2, 3))


def test_rules_of_div() -> None:
    rules_agree(tensor.div, normal(2, 3), positive(2, 3))


def test_rule_of_exp() -> None:
    rules_agree(tensor.exp, normal(2, 3))


def test_rule_of_log() -> None:
    rules_agree(tensor.log, positive(2, 3))


@pytest.mark.parametrize("exponent", [3, 2, 1.7, 0.5, -1])
def test_rule_of_power(exponent: float) -> None:
    rules_agree(tensor.power, positive(2, 3), exponent=exponent)


def test_power_of_zero_is_constant() -> None:
    x = Tensor([0.0, 2.0], requires_grad=True)
    rules = DERIVATIVES[tensor.power]
    assert isinstance(rules, tuple)
    (rule,) = rules
    assert rule is not None
    assert rule(np.ones(2), x.data**0, x.data, exponent=0).tolist() == [0, 0]


def test_rules_accept_numbers_as_constants() -> None:
    rules = DERIVATIVES[tensor.mul]
    assert isinstance(rules, tuple)
    assert rules[0] is not None
    g, x = normal(3), normal(3)
    np.testing.assert_array_equal(rules[0](g, x * 4, x, 4), g * 4)


def test_every_op_of_modules_02_to_05_has_a_derivative() -> None:
    rooms = (tensor, activations, layers, losses)
    ops = [value for room in rooms for value in vars(room).values() if isinstance(value, Op)]
    assert len(ops) > 25
    assert [op.name for op in ops if op not in DERIVATIVES] == []


# Broadcasting, undone -----------------------------------------------------------------------------------


def test_gradient_of_an_input_that_was_not_broadcast_stays_as_it_is() -> None:
    g = normal(2, 3)
    np.testing.assert_array_equal(unbroadcast(g, np.zeros((2, 3))), g)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((3,), (0,)), ((), (0, 1)), ((2, 1), (1,)), ((1, 3), (0,)), ((1, 1), (0, 1)), ((1,), (0, 1))],
    ids=str,
)
def test_gradients_of_repeated_values_are_summed(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    g = normal(2, 3)
    result = unbroadcast(g, np.zeros(shape))
    assert result.shape == shape
    np.testing.assert_allclose(result, g.sum(axes).reshape(shape), rtol=1e-12)


def test_gradients_over_added_and_repeated_dimensions_are_summed() -> None:
    g = normal(4, 2, 3, 5)
    np.testing.assert_allclose(unbroadcast(g, np.zeros((2, 1, 5))), g.sum((0, 2), keepdims=True)[0], rtol=1e-12)


def test_gradient_gets_the_dtype_of_its_input() -> None:
    assert unbroadcast(normal(2, 3), np.zeros((2, 3), np.float32)).dtype == np.float32
    assert unbroadcast(normal(2, 3), np.zeros(3, np.float32)).dtype == np.float32


# The order of the walk ----------------------------------------------------------------------------------


def positions(order: list[Tensor]) -> dict[int, int]:
    assert len({id(x) for x in order}) == len(order), "a tensor is in the list twice"
    return {id(x): i for i, x in enumerate(order)}


def test_every_tensor_comes_after_its_inputs() -> None:
    a, b = Tensor([1.0], requires_grad=True), Tensor([2.0], requires_grad=True)
    c = a * b
    d = c + a
    e = d * c
    place = positions(topological_order(e))
    assert place.keys() == {id(x) for x in (a, b, c, d, e)}
    for result, inputs in ((c, (a, b)), (d, (c, a)), (e, (d, c))):
        assert all(place[id(x)] < place[id(result)] for x in inputs)


def test_a_leaf_that_is_needed_early_and_late_comes_first() -> None:
    x = Tensor([1.0], requires_grad=True)
    first = x * 2
    second = first * 3
    for y in (x + second, second + x):
        place = positions(topological_order(y))
        assert place[id(x)] < place[id(first)] < place[id(second)] < place[id(y)]


def test_constants_are_not_visited() -> None:
    x, constant = Tensor([1.0], requires_grad=True), Tensor([2.0])
    y = x * constant * np.ones(1, np.float32) * 3
    assert id(constant) not in positions(topological_order(y))
    assert len(topological_order(y)) == 4
    assert topological_order(x) == [x]


def test_order_of_a_graph_with_very_many_paths() -> None:
    y = Tensor([1.0], requires_grad=True)
    for _ in range(100):
        y = y + y * 1  # 2^100 paths
    assert len(topological_order(y)) == 201


def test_order_of_a_graph_deeper_than_the_recursion_limit() -> None:
    y = Tensor([1.0], requires_grad=True)
    for _ in range(20_000):
        y = y + 0.0
    assert len(topological_order(y)) == 20_001


# The gradients of one op's inputs -----------------------------------------------------------------------


def test_gradients_of_one_op_follow_its_rules() -> None:
    a, b = Tensor(normal(2, 3), requires_grad=True), Tensor(normal(3), requires_grad=True)
    y, g = a * b, normal(2, 3)
    assert y.node is not None
    found = list(input_gradients(y.node, g))
    assert [x for x, _ in found] == [a, b]
    np.testing.assert_allclose(found[0][1], g * b.data, rtol=1e-12)
    np.testing.assert_allclose(found[1][1], (g * a.data).sum(0), rtol=1e-12)


def test_constants_get_no_gradient() -> None:
    x, constant = Tensor(normal(3), requires_grad=True), Tensor(normal(3))
    for y in (x * constant, constant * x, x * 2.0, 2.0 * x):
        assert y.node is not None
        assert [x for x, _ in input_gradients(y.node, normal(3))] == [x]


def test_settings_and_what_was_kept_reach_the_rules() -> None:
    seen: list[Any] = []

    def rule(g: Array, kept: object, x: Array, *, factor: float) -> Array:
        seen.append((kept, type(x), factor))
        return g * factor

    op = Op("scaled", lambda x, factor: (x * factor, "kept"))
    derivative(op, rule)
    try:
        y = apply(op, Tensor([1.0], requires_grad=True), factor=3)
        assert y.node is not None
        ((_, found),) = input_gradients(y.node, np.ones(1, np.float32))
    finally:
        del DERIVATIVES[op]
    assert found.tolist() == [3]
    assert seen == [("kept", np.ndarray, 3)]


def test_joint_rule_is_called_once_for_all_inputs() -> None:
    calls = 0

    def rule(g: Array, y: Array, *arrays: Array) -> list[Array]:
        nonlocal calls
        calls += 1
        return [g * i for i in range(len(arrays))]

    op = Op("joint", lambda a, b, c: a + b + c)
    joint_derivative(op, rule)
    try:
        a, c = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
        y = apply(op, a, Tensor([1.0]), c)
        assert y.node is not None
        found = list(input_gradients(y.node, np.ones(1, np.float32)))
    finally:
        del DERIVATIVES[op]
    assert calls == 1
    assert [x for x, _ in found] == [a, c]
    assert [g.tolist() for _, g in found] == [[0], [2]]


def test_missing_rules_are_named() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    mystery, choice = apply(Op("mystery", lambda a: a.sum()), x), apply(tensor.where_, x, 1.0, 2.0)
    assert mystery.node is not None
    assert choice.node is not None
    with pytest.raises(GradientError, match="backward: op 'mystery' has no derivative"):
        list(input_gradients(mystery.node, np.ones(())))
    with pytest.raises(GradientError, match="'where' has no derivative for its input 0"):
        list(input_gradients(choice.node, np.ones(2)))


# The backward pass --------------------------------------------------------------------------------------

# One line per op: the function, then its inputs
Ops = dict[str, tuple[Callable[..., Tensor], *tuple[np.ndarray, ...]]]
ELEMENTWISE: Ops = {
    "add": (lambda a, b: a + b, normal(2, 3), normal(2, 3)),
    "add broadcast": (lambda a, b: a + b, normal(2, 3), normal(3)),
    "add broadcast both": (lambda a, b: a + b, normal(2, 1), normal(1, 3)),
    "add scalar tensor": (lambda a, b: a + b, normal(2, 3), normal()),
    "sub": (lambda a, b: a - b, normal(2, 3), normal(2, 1)),
    "sub from an array": (lambda a: np.arange(3.0) - a, normal(2, 3)),
    "mul": (lambda a, b: a * b, normal(2, 3), normal(3)),
    "mul by a constant array": (lambda a: np.arange(3.0) * a, normal(2, 3)),
    "div": (lambda a, b: a / b, normal(2, 3), positive(2, 1)),
    "number over tensor": (lambda a: 2 / a, positive(2, 3)),
    "neg": (lambda a: -a, normal(3)),
    "pow 3": (lambda a: a**3, normal(3)),
    "pow 2": (lambda a: a**2, normal(3)),
    "pow fraction": (lambda a: a**1.7, positive(3)),
    "sqrt": (lambda a: a.sqrt(), positive(3)),
    "reciprocal": (lambda a: a**-1, positive(3)),
    "exp": (lambda a: a.exp(), normal(3)),
    "log": (lambda a: a.log(), positive(3)),
    "abs": (lambda a: a.abs(), positive(3) * [1, -1, 1]),
    "maximum": (lambda a, b: a.maximum(b), normal(4, 3), normal(3)),
    "where": (lambda a, b: where(CONDITION, a, b), normal(2, 3), normal(3)),
    "where by a number": (lambda a, b: where(np.array([2, 0, 1]), a, b), normal(2, 3), normal(3)),
    "gelu": (gelu, normal(4, 3)),
    "log_softmax": (lambda a: log_softmax(a, 1), normal(4, 3)),
    "bce": (lambda x: binary_cross_entropy_with_logits(x, np.array([0.0, 1, 0.4])), normal(3)),
    "one tensor used three times": (lambda a: a * a + a, normal(3)),
    "diamond": (lambda a: (a * 2) * (a * 3).exp(), normal(3)),
}
SHAPES: Ops = {
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
    "cat": (lambda a, b: cat([a, b, a], dim=1), normal(2, 1), normal(2, 3)),
    "stack": (lambda a, b: stack([a, b], dim=1), normal(2, 3), normal(2, 3)),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivative_of_elementwise_ops(name: str) -> None:
    backward_agrees(*ELEMENTWISE[name])


@pytest.mark.parametrize("name", SHAPES)
def test_derivative_of_changed_shapes(name: str) -> None:
    backward_agrees(*SHAPES[name])


@settings(max_examples=60)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), st.integers(0, 9))
def test_broadcasting_is_undone_for_every_pair_of_shapes(pair: hnp.BroadcastableShapes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    backward_agrees(lambda a, b: a * b, *(rng.standard_normal(shape) for shape in pair.input_shapes))


def test_gradients_accumulate_over_calls_and_only_leaves_keep_them() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    middle = x * 3
    middle.backward(np.ones(2))
    first = gradient(x)
    (x * 2).backward(np.ones(2))
    assert gradient(x).tolist() == [5, 5]
    assert first.tolist() == [3, 3]  # a gradient may be shared, so it is replaced and not written into
    assert middle.grad is None


def test_gradients_that_share_an_array_do_not_change_each_other() -> None:
    for order in (lambda total, more: total + more, lambda total, more: more + total):
        x, w = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
        order(x + w, x * 3).backward(np.ones(2))  # the rule of add returns g itself, for both of its inputs
        assert gradient(x).tolist() == [4, 4]
        assert gradient(w).tolist() == [1, 1]


def test_each_leaf_gets_an_array_of_its_own() -> None:
    x, w, g = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True), np.ones(2)
    (x + w).backward(g)
    for other in (gradient(w), g):
        assert not np.shares_memory(gradient(x), other)


def test_gradient_of_a_single_number_is_one() -> None:
    x = Tensor([3.0], requires_grad=True)
    backward(x * x)
    assert gradient(x).tolist() == [6]
    x.grad = None
    backward(x)
    assert gradient(x).tolist() == [1]


def test_each_op_is_differentiated_once_after_all_that_use_its_result() -> None:
    visits = 0

    def rule(g: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        nonlocal visits
        visits += 1
        return g * 0.5

    half = Op("half", lambda x: x * 0.5)
    derivative(half, rule)
    try:
        x = Tensor(np.ones(1), requires_grad=True)
        y = x
        for _ in range(200):
            y = y + apply(half, y)  # two paths through each block: 2^200 paths in total
        y.backward()
    finally:
        del DERIVATIVES[half]
    assert visits == 200
    np.testing.assert_allclose(gradient(x), 1.5**200)


def test_depth_is_not_limited_by_recursion() -> None:
    x = Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + 0.0
    y.backward()
    assert gradient(x).item() == 1


@pytest.mark.beyond
def test_interior_tensors_are_freed_during_the_backward_pass() -> None:
    x = Tensor(np.ones(4), requires_grad=True)
    middle = x * 2
    alive = weakref.ref(middle)
    loss = (middle * 3).sum()
    del middle
    loss.backward()
    gc.collect()
    assert alive() is None


def test_constants_and_integer_inputs_get_no_gradient() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    other, whole = Tensor([3.0, 4.0]), Tensor([1, 2])
    (x * other * whole).backward(np.ones(2))
    assert gradient(x).tolist() == [3, 8]
    assert other.grad is whole.grad is None
    assert not x.to(np.int64).requires_grad


def test_the_callers_gradient_is_copied() -> None:
    x, g = Tensor([1.0, 2.0], requires_grad=True), np.ones(2, np.float32)
    (x + 0.0).backward(g)
    g[:] = 7
    assert gradient(x).tolist() == [1, 1]


def test_gradients_of_mixed_dtypes_keep_each_inputs_dtype() -> None:
    a = Tensor(np.ones(2, np.float32), requires_grad=True)
    b = Tensor(np.ones(2, np.float64), requires_grad=True)
    (a * b).backward(np.ones(2))
    assert gradient(a).dtype == np.float32
    assert gradient(b).dtype == np.float64


def test_second_backward_is_rejected_unless_the_graph_was_kept() -> None:
    x = Tensor([2.0], requires_grad=True)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert gradient(x).item() == 8
    with pytest.raises(GradientError, match="retain_graph=True"):
        y.backward()


def test_errors_state_the_problem() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(GradientError, match="depends on nothing"):
        Tensor([1.0]).backward()
    with pytest.raises(GradientError, match=r"shape \(2,\) is not a single number"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match=r"gradient of shape \(3,\) for a tensor of shape \(2,\)"):
        (x * 2).backward(np.ones(3))


# Reductions ---------------------------------------------------------------------------------------------

REDUCTIONS: Ops = {
    "max": (lambda a: a.max(1).values, normal(4, 5)),
    "max keepdim": (lambda a: a.max(0, keepdim=True)[0], normal(4, 5)),
    "amax": (lambda a: a.amax((0, 2)), normal(2, 3, 4)),
    "amin": (lambda a: a.amin(-1, keepdim=True), normal(2, 3, 4)),
    "max of all": (lambda a: a.max(), normal(4, 5)),
    "min": (lambda a: a.min(0, keepdim=True).values, normal(4, 5)),
    "var": (lambda a: a.var(1, keepdim=True), normal(3, 4)),
    "mse": (mse_loss, normal(3, 2), normal(3, 2)),
    "mean of nothing": (lambda a: a[:0].sum() + a.mean(), normal(3)),
}


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [None, 1, -1, (0, 2)])
@pytest.mark.parametrize("op", ["sum_", "mean"])
def test_rule_of_reductions(op: str, dim: int | tuple[int, ...] | None, keepdim: bool) -> None:
    rules_agree(getattr(tensor, op), normal(2, 3, 2), dim=dim, keepdim=keepdim)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_derivative_of_reductions(name: str) -> None:
    backward_agrees(*REDUCTIONS[name])


def test_equal_largest_values_share_the_gradient() -> None:
    x = Tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    assert gradient(x).tolist() == [0, 0.5, 0.5]


def test_gradients_of_reductions_stay_float32() -> None:
    for make in (lambda x: x.sum(), lambda x: x.mean(), lambda x: x.mean(0).sum()):
        x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
        make(x).backward()
        assert gradient(x).dtype == np.float32


# Matrix products ----------------------------------------------------------------------------------------

PRODUCTS: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "matrices": (normal(2, 3), normal(3, 4)),
    "matrix vector": (normal(2, 3), normal(3)),
    "vector matrix": (normal(3), normal(3, 4)),
    "vector vector": (normal(3), normal(3)),
    "batches": (normal(5, 2, 3), normal(5, 3, 4)),
    "broadcast batches": (normal(2, 1, 2, 3), normal(4, 3, 2)),
    "batch by matrix": (normal(5, 2, 3), normal(3, 4)),
    "batch by vector": (normal(5, 2, 3), normal(3)),
    "vector by batch": (normal(3), normal(5, 3, 2)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_derivative_of_matrix_products(name: str) -> None:
    backward_agrees(lambda a, b: a @ b, *PRODUCTS[name])


# Activations and losses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relu_", "sigmoid_", "tanh_"])
def test_rule_of_activations(name: str) -> None:
    rules_agree(getattr(activations, name), normal(4, 3))


def test_relu_passes_no_gradient_at_zero_and_below() -> None:
    x = Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    relu(x).backward(np.array([5, 5, 5]))
    assert gradient(x).tolist() == [0, 0, 5]


@pytest.mark.parametrize("function", [relu, sigmoid, tanh])
def test_gradients_of_activations_stay_float32(function: Callable[[Tensor], Tensor]) -> None:
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    function(x).backward(np.ones((2, 3)))
    assert gradient(x).dtype == np.float32


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_derivative_of_softmax(dim: int) -> None:
    backward_agrees(lambda x: softmax(x, dim), normal(4, 3))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_derivative_of_cross_entropy(smoothing: float) -> None:
    backward_agrees(lambda x: cross_entropy(x, LABELS, smoothing), normal(3, 4))
    backward_agrees(lambda x: cross_entropy(x * 2, LABELS, smoothing) * 3, normal(3, 4))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_what_cross_entropy_keeps_is_not_written_into(smoothing: float) -> None:
    x = Tensor(normal(3, 4), requires_grad=True)
    loss = cross_entropy(x, LABELS, smoothing)
    loss.backward(retain_graph=True)
    once = gradient(x).copy()
    loss.backward()
    np.testing.assert_allclose(gradient(x), 2 * once, rtol=1e-12)


def test_gradient_of_cross_entropy_stays_float32() -> None:
    x = Tensor(normal(3, 4).astype(np.float32), requires_grad=True)
    cross_entropy(x, LABELS, 0.1).backward()
    assert gradient(x).dtype == np.float32


# Linear layers ------------------------------------------------------------------------------------------

INPUTS: dict[str, np.ndarray] = {"2-D": normal(4, 3), "3-D": normal(2, 4, 3), "1-D": normal(3), "empty": normal(0, 3)}


@pytest.mark.parametrize("name", INPUTS)
def test_derivative_of_the_linear_op(name: str) -> None:
    backward_agrees(lambda x, w, b: apply(layers.linear, x, w, b), INPUTS[name], normal(2, 3), normal(2))
    backward_agrees(lambda x, w: apply(layers.linear, x, w), INPUTS[name], normal(2, 3))


def test_gradients_reach_every_parameter_of_a_network() -> None:
    net = layers.Sequential(layers.Linear(3, 4), activations.Tanh(), layers.Linear(4, 4))
    cross_entropy(net(Tensor(normal(3, 3).astype(np.float32))), LABELS).backward()
    for parameter in net.parameters():
        assert gradient(parameter).shape == parameter.shape
        assert gradient(parameter).dtype == np.float32
        assert np.abs(gradient(parameter)).max() > 0


# Recording, and the check of gradients ------------------------------------------------------------------


def test_no_grad_records_nothing_and_recording_resumes_after_an_error() -> None:
    x = Tensor([1.0], requires_grad=True)
    with no_grad():
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    with pytest.raises(ShapeError), no_grad():
        zeros(2) + zeros(3)
    assert (x * 2).requires_grad

    @no_grad()
    def f() -> Tensor:
        return x * 2

    assert not f().requires_grad


def test_no_grad_nests_and_recurses() -> None:
    x = Tensor([1.0], requires_grad=True)
    seen: list[bool] = []

    @no_grad()
    def recurse(depth: int) -> None:
        if depth:
            recurse(depth - 1)
        seen.append((x * 2).requires_grad)

    recurse(3)
    assert seen == [False] * 4
    assert (x * 2).requires_grad
    set_grad_enabled(False)
    try:
        with no_grad():
            pass
        assert not is_grad_enabled()
    finally:
        set_grad_enabled(True)


@pytest.mark.beyond
def test_no_grad_affects_only_its_thread() -> None:
    x = Tensor([1.0], requires_grad=True)
    seen: list[bool] = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_check_grads_accepts_correct_and_rejects_wrong_derivatives() -> None:
    check_grads(lambda a, b: a * b + a.exp(), normal(2, 3), normal(3))
    wrong = Op("wrong", lambda x: x * x)
    derivative(wrong, lambda g, y, x: 3 * g * x)
    try:
        with pytest.raises(GradientError, match=r"input 0 at \(\d,\): backward returned"):
            check_grads(lambda x: apply(wrong, x), positive(3))
    finally:
        del autograd.DERIVATIVES[wrong]


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["exp", "tanh", "mul", "add", "slice", "sum"]), min_size=1, max_size=8))
def test_random_compositions_agree_with_central_differences(names: list[str]) -> None:
    def function(x: Tensor) -> Tensor:
        y = x
        for name in names:
            y = {
                "exp": lambda y: (y * 0.1).exp(),
                "tanh": lambda y: tanh(y),
                "mul": lambda y: y * x,
                "add": lambda y: y + x * 2,
                "slice": lambda y: cat([y[:1], y[1:]], dim=0),
                "sum": lambda y: y - y.sum(0, keepdim=True) * 0.1,
            }[name](y)
        return y

    check_grads(function, np.array([0.3, -0.7, 0.2]), tolerance=1e-5)
