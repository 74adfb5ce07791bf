"""Module 02: values and shapes of every tensor operation, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinytorch.base.errors import GradientError, SettingError, ShapeError
from tinytorch.base.random import get_rng_state, manual_seed, set_rng_state
from tinytorch.tensor import Op, Tensor, apply, cat, ones, rand, randn, set_grad_enabled, stack, where, zeros

A = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3)
B = np.array([[3.0], [-1.0]], np.float32)
CUBE = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)

Case = tuple[Callable[[Tensor, Tensor], Any], Any]  # Any: NumPy's types say that `array + tensor` is an array


def agrees(case: Case) -> None:
    """Run an operation on A and B, and compare its values, shape, and dtype with NumPy's."""
    operation, expected = case
    result = operation(Tensor(A), Tensor(B))
    assert type(result) is Tensor
    assert isinstance(result.data, np.ndarray)
    assert result.dtype == np.asarray(expected).dtype
    assert result.shape == np.shape(expected)
    np.testing.assert_allclose(result.data, expected, rtol=1e-6)


# A tensor from numbers ----------------------------------------------------------------------------------


def test_python_floats_are_float32_and_arrays_keep_their_dtype() -> None:
    assert Tensor([1.0, 2.0]).dtype == np.float32
    assert Tensor(2.5).dtype == np.float32
    assert Tensor([1, 2]).dtype == np.int64
    assert Tensor([True, False]).dtype == np.bool_
    assert Tensor(np.array([1.0])).dtype == np.float64
    assert Tensor(np.float64(1)).dtype == np.float64
    assert Tensor([1.0], dtype=np.float64).dtype == np.float64
    assert Tensor(np.array([1.5]), dtype=np.float32).dtype == np.float32


def test_array_is_shared_not_copied() -> None:
    array = np.zeros(3, np.float32)
    assert Tensor(array).data is array
    assert Tensor(Tensor(array)).data is array


def test_data_is_always_an_array() -> None:
    for data, shape in ((2.5, ()), (np.float32(1), ()), ([1.0], (1,)), ([[1, 2, 3], [4, 5, 6]], (2, 3))):
        assert isinstance(Tensor(data).data, np.ndarray)
        assert Tensor(data).shape == shape


def test_new_tensor_is_a_leaf_without_a_gradient() -> None:
    x, weight = Tensor([1.0, 2.0]), Tensor([1.0], requires_grad=True)
    assert (x.requires_grad, x.grad, x.node) == (False, None, None)
    assert (weight.requires_grad, weight.grad, weight.node) == (True, None, None)
    assert weight.is_leaf


def test_data_that_are_not_numbers_in_a_grid_are_rejected() -> None:
    with pytest.raises(SettingError, match="dtype"):
        Tensor(["a"])
    with pytest.raises(ShapeError, match="different lengths"):
        Tensor([[1.0, 2.0], [3.0]])


def test_only_floating_point_tensors_can_require_a_gradient() -> None:
    with pytest.raises(GradientError, match="int64"):
        Tensor([1, 2], requires_grad=True)


def test_numpy_reads_a_tensor_as_an_array() -> None:
    np.testing.assert_array_equal(np.asarray(Tensor(A)), A)


def test_item_length_and_text_of_a_tensor() -> None:
    x = Tensor([6.0], requires_grad=True)
    assert float(x) == x.item() == 6
    assert len(x) == x.numel() == 1
    assert "requires_grad=True" in repr(x)
    assert not x.detach().requires_grad


def test_factories_return_float32() -> None:
    assert zeros(2, 3).shape == ones(2, 3).shape == (2, 3)
    assert zeros(1).dtype == ones(1).dtype == rand(1).dtype == np.float32


def test_seed_repeats_the_numbers_and_saved_state_continues_them() -> None:
    manual_seed(5)
    first = randn(3).data
    state = get_rng_state()
    second = rand(3).data
    manual_seed(5)
    np.testing.assert_array_equal(randn(3).data, first)
    set_rng_state(state)
    np.testing.assert_array_equal(rand(3).data, second)
    with pytest.raises(SettingError, match="seed -1"):
        manual_seed(-1)


# Recording ----------------------------------------------------------------------------------------------


def test_apply_returns_the_result_as_a_tensor() -> None:
    made = apply(Op("double", lambda x: 2 * x), Tensor([1.0, 2.0]))
    assert type(made) is Tensor
    assert made.data.tolist() == [2, 4]
    assert made.grad is None
    single = apply(Op("total", lambda x: x.sum()), Tensor([1.0, 2.0]))
    assert isinstance(single.data, np.ndarray)
    assert single.shape == ()
    assert single.dtype == np.float32


def test_apply_records_the_op_only_if_a_gradient_is_required() -> None:
    double = Op("double", lambda x: 2 * x)
    plain = apply(double, Tensor([1.0]))
    assert plain.node is None
    assert not plain.requires_grad
    made = apply(double, Tensor([1.0], requires_grad=True))
    assert made.requires_grad
    assert made.node is not None
    assert made.node.op is double
    assert made.node.kept is made.data


def test_apply_records_if_any_of_several_inputs_requires_a_gradient() -> None:
    total = Op("total", lambda a, b, c: a + b + c)
    x, constant = Tensor([1.0], requires_grad=True), Tensor([2.0])
    for inputs in ((x, constant, 3.0), (constant, x, 3.0), (3.0, constant, x)):
        made = apply(total, *inputs)
        assert made.requires_grad
        assert made.node is not None
        assert all(recorded is given for recorded, given in zip(made.node.inputs, inputs, strict=True))
    assert not apply(total, constant, 3.0, constant).requires_grad


def test_apply_records_the_ops_settings() -> None:
    power = Op("power", lambda x, exponent: x**exponent)
    made = apply(power, Tensor([3.0], requires_grad=True), exponent=2)
    assert made.item() == 9
    assert made.node is not None
    assert made.node.attrs == {"exponent": 2}


def test_apply_keeps_what_the_forward_pass_returns_for_the_backward_pass() -> None:
    op = Op("square", lambda x: (x * x, "kept"))
    made = apply(op, Tensor([3.0], requires_grad=True))
    assert made.item() == 9
    assert made.node is not None
    assert made.node.kept == "kept"


def test_apply_records_nothing_while_recording_is_off() -> None:
    double, x = Op("double", lambda x: 2 * x), Tensor([1.0], requires_grad=True)
    set_grad_enabled(False)
    try:
        made = apply(double, x)
    finally:
        set_grad_enabled(True)
    assert made.data.tolist() == [2]
    assert not made.requires_grad
    assert made.node is None


GIVEN: dict[str, Case] = {
    "pow": (lambda a, b: a**3, A**3),
    "square": (lambda a, b: a**2, A**2),
    "sqrt": (lambda a, b: a.sqrt(), np.sqrt(A)),
    "exp": (lambda a, b: a.exp(), np.exp(A)),
    "log": (lambda a, b: a.log(), np.log(A)),
    "abs": (lambda a, b: b.abs(), np.abs(B)),
    "maximum": (lambda a, b: a.maximum(b), np.maximum(A, B)),
    "where": (lambda a, b: where(a > 2, a, b), np.where(A > 2, A, B)),
    "expand": (lambda a, b: b.expand(2, 3), np.broadcast_to(B, (2, 3))),
    "argmax": (lambda a, b: a.argmax(1), A.argmax(1)),
    "less": (lambda a, b: a < 3, A < 3),
    "at least": (lambda a, b: a >= b, A >= B),
    "equal": (lambda a, b: a == 2, A == 2),
    "cast": (lambda a, b: a.to(np.float64), A.astype(np.float64)),
}


@pytest.mark.parametrize("name", GIVEN)
def test_given_operations_run_through_apply(name: str) -> None:
    agrees(GIVEN[name])


def test_shape_error_of_an_op_states_all_shapes() -> None:
    with pytest.raises(ShapeError, match=r"greater: shapes \(2, 3\) and \(4,\)"):
        _ = Tensor(A) > zeros(4)
    with pytest.raises(ShapeError, match=r"argmax: shapes \(2, 3\)"):
        Tensor(A).argmax(5)
    assert (Tensor(A) > zeros(3)).shape == (2, 3)


# Arithmetic ---------------------------------------------------------------------------------------------

SUMS: dict[str, Case] = {
    "add": (lambda a, b: a + b, A + B),
    "add a number": (lambda a, b: 2 + a + 1, A + 3),
    "add an array on the left": (lambda a, b: A + a, A + A),
    "mul": (lambda a, b: a * b, A * B),
    "mul by a float": (lambda a, b: a * 2.5, A * 2.5),
    "mul by a NumPy scalar": (lambda a, b: a * np.float64(2), A * 2),
    "mul on the right of a number": (lambda a, b: 3 * a, A * 3),
    "neg": (lambda a, b: -a, -A),
}
DIFFERENCES: dict[str, Case] = {
    "sub": (lambda a, b: a - b, A - B),
    "sub from a number": (lambda a, b: 1 - a, 1 - A),
    "sub from an array": (lambda a, b: A - b, A - B),
    "div": (lambda a, b: b / a, B / A),
    "div by a number": (lambda a, b: a / 4, A / 4),
    "div of a number": (lambda a, b: 6 / a, 6 / A),
    "sub an array of bytes": (lambda a, b: a - np.array([1, 2, 3], np.uint8), A - np.array([1, 2, 3], np.float32)),
    "sub booleans": (lambda a, b: 1.5 - a * (a > 2), 1.5 - A * (A > 2)),
    "div by an integer tensor": (lambda a, b: a / Tensor([2, 3, 4]), A / np.array([2, 3, 4], np.float32)),
    "div of integers": (lambda a, b: Tensor([6, 3]) / Tensor([4, 2]), np.array([1.5, 1.5], np.float32)),
}
PRODUCTS: dict[str, Case] = {
    "matmul": (lambda a, b: Tensor(A.T) @ b, A.T @ B),
    "matmul with an array on the right": (lambda a, b: a @ A.T, A @ A.T),
    "matmul with an array on the left": (lambda a, b: A.T @ b, A.T @ B),
    "matmul of vectors": (lambda a, b: Tensor(A[0]) @ Tensor(A[1]), A[0] @ A[1]),
    "matmul of batches": (lambda a, b: Tensor(CUBE) @ Tensor(CUBE[:, 0, :, None]), CUBE @ CUBE[:, 0, :, None]),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_and_products_match_numpy(name: str) -> None:
    agrees(SUMS[name])


@pytest.mark.parametrize("name", DIFFERENCES)
def test_differences_and_quotients_match_numpy(name: str) -> None:
    agrees(DIFFERENCES[name])


@pytest.mark.parametrize("name", PRODUCTS)
def test_matrix_products_match_numpy(name: str) -> None:
    agrees(PRODUCTS[name])


def test_each_operator_records_its_op() -> None:
    x = Tensor([4.0], requires_grad=True)
    made: dict[str, Any] = {
        "add": x + 1,
        "mul": x * 2,
        "neg": -x,
        "sub": 1 - x,
        "div": 1 / x,
        "matmul": np.ones(1, np.float32) @ x,
    }
    assert {name: y.node.op.name for name, y in made.items()} == {name: name for name in made}


def test_shape_error_states_both_shapes() -> None:
    with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\) and \(4,\)"):
        Tensor(A) + zeros(4)
    with pytest.raises(ShapeError, match=r"matmul: shapes \(2, 3\) and \(2, 3\)"):
        Tensor(A) @ Tensor(A)


def test_division_by_zero_is_infinite_as_in_numpy() -> None:
    with np.errstate(divide="ignore"):
        assert (Tensor([1.0]) / 0).item() == np.inf


def test_detach_forgets_how_a_tensor_was_computed() -> None:
    x = Tensor([2.0], requires_grad=True) * 3
    assert not x.is_leaf
    assert x.detach().is_leaf
    assert x.detach().data is x.data


shapes = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4)


@given(shapes, st.integers(0, 99))
def test_broadcasting_follows_numpy_for_every_pair_of_shapes(pair: hnp.BroadcastableShapes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(shape) for shape in pair.input_shapes)
    np.testing.assert_array_equal((Tensor(a) * Tensor(b)).data, a * b)
    assert (Tensor(a) - Tensor(b)).shape == pair.result_shape


# Reductions ---------------------------------------------------------------------------------------------

REDUCTIONS: dict[str, Case] = {
    "sum": (lambda a, b: a.sum(), A.sum()),
    "sum over a dimension": (lambda a, b: a.sum(1), A.sum(1)),
    "sum that keeps the dimension": (lambda a, b: a.sum(1, keepdim=True), A.sum(1, keepdims=True)),
    "sum over two dimensions": (lambda a, b: Tensor(CUBE).sum((0, 2)), CUBE.sum((0, 2))),
    "sum from the end": (lambda a, b: Tensor(CUBE).sum(-2), CUBE.sum(-2)),
    "mean": (lambda a, b: a.mean(), A.mean()),
    "mean over a dimension": (lambda a, b: a.mean(0), A.mean(0)),
    "mean that keeps the dimension": (lambda a, b: a.mean(0, keepdim=True), A.mean(0, keepdims=True)),
    "amax": (lambda a, b: a.amax(), A.max()),
    "amax over a dimension": (lambda a, b: a.amax(1), A.max(1)),
    "amax that keeps the dimension": (lambda a, b: a.amax(1, keepdim=True), A.max(1, keepdims=True)),
    "amin over two dimensions": (lambda a, b: a.amin((0, 1), keepdim=True), A.min((0, 1), keepdims=True)),
    "max": (lambda a, b: a.max(), A.max()),
    "max over a dimension": (lambda a, b: a.max(1).values, A.max(1)),
    "place of the max": (lambda a, b: a.max(dim=0, keepdim=True)[1], A.argmax(0, keepdims=True)),
    "min": (lambda a, b: a.min(), A.min()),
    "min over a dimension": (lambda a, b: a.min(0)[0], A.min(0)),
}
VARIANCES: dict[str, Case] = {
    "var": (lambda a, b: a.var(), A.var(ddof=1)),
    "var over a dimension": (lambda a, b: a.var(1), A.var(1, ddof=1)),
    "var without correction": (lambda a, b: a.var(0, correction=0), A.var(0)),
    "var that keeps the dimension": (lambda a, b: a.var(1, keepdim=True), A.var(1, ddof=1, keepdims=True)),
    "var over two dimensions": (lambda a, b: Tensor(CUBE).var((0, 2)), CUBE.var((0, 2), ddof=1)),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_match_numpy(name: str) -> None:
    agrees(REDUCTIONS[name])


@pytest.mark.parametrize("name", VARIANCES)
def test_variances_match_numpy(name: str) -> None:
    agrees(VARIANCES[name])


# Shape --------------------------------------------------------------------------------------------------

RESHAPES: dict[str, Case] = {
    "reshape": (lambda a, b: a.reshape(3, 2), A.reshape(3, 2)),
    "reshape by a tuple": (lambda a, b: a.reshape((3, -1)), A.reshape(3, -1)),
    "flatten": (lambda a, b: a.flatten(), A.ravel()),
    "flatten from dimension 1": (lambda a, b: Tensor(CUBE).flatten(1), CUBE.reshape(2, 12)),
    "flatten from dimension 2": (lambda a, b: Tensor(CUBE[None]).flatten(2), CUBE.reshape(1, 2, 12)),
    "flatten an empty tensor": (lambda a, b: zeros(0, 3, 4).flatten(1), np.zeros((0, 12), np.float32)),
}
ORDERS: dict[str, Case] = {
    "permute": (lambda a, b: Tensor(CUBE).permute(2, 0, 1), CUBE.transpose(2, 0, 1)),
    "permute by a tuple": (lambda a, b: Tensor(CUBE).permute((1, 2, 0)), CUBE.transpose(1, 2, 0)),
    "permute from the end": (lambda a, b: a.permute(-1, 0), A.T),
    "transpose": (lambda a, b: Tensor(CUBE).transpose(0, 1), CUBE.swapaxes(0, 1)),
    "transpose from the end": (lambda a, b: Tensor(CUBE).transpose(-1, 0), CUBE.swapaxes(-1, 0)),
    "transpose one dimension with itself": (lambda a, b: a.transpose(1, -1), A),
    "T": (lambda a, b: Tensor(CUBE).T, CUBE.T),
}
ONES: dict[str, Case] = {
    "unsqueeze": (lambda a, b: a.unsqueeze(0), A[None]),
    "unsqueeze in the middle": (lambda a, b: a.unsqueeze(1), A[:, None]),
    "unsqueeze at the end": (lambda a, b: a.unsqueeze(-1), A[..., None]),
    "unsqueeze from the end": (lambda a, b: a.unsqueeze(-2), A[:, None]),
    "squeeze": (lambda a, b: b.squeeze(1), B[:, 0]),
    "squeeze from the end": (lambda a, b: Tensor(CUBE[:, None]).squeeze(-3), CUBE),
}


@pytest.mark.parametrize("name", RESHAPES)
def test_reshaped_values_match_numpy(name: str) -> None:
    agrees(RESHAPES[name])


@pytest.mark.parametrize("name", ORDERS)
def test_reordered_dimensions_match_numpy(name: str) -> None:
    agrees(ORDERS[name])


@pytest.mark.parametrize("name", ONES)
def test_dimensions_of_size_one_match_numpy(name: str) -> None:
    agrees(ONES[name])


def test_reshape_is_a_view() -> None:
    x = Tensor(A.copy())
    assert np.shares_memory(x.reshape(3, 2).data, x.data)
    assert np.shares_memory(x.flatten().data, x.data)


def test_permute_is_a_view() -> None:
    x = Tensor(A.copy())
    assert np.shares_memory(x.permute(1, 0).data, x.data)
    assert np.shares_memory(x.transpose(0, 1).data, x.data)


def test_shapes_that_do_not_fit_are_stated() -> None:
    with pytest.raises(ShapeError, match=r"reshape: shapes \(2, 3\), shape=\(4,\)"):
        Tensor(A).reshape(4)


def test_dimensions_to_swap_must_exist() -> None:
    with pytest.raises(ShapeError, match=r"dimension 2 for shape"):
        Tensor(A).transpose(0, 2)


def test_dimensions_to_insert_or_remove_must_fit() -> None:
    with pytest.raises(ShapeError, match=r"dimension 7 for shape \(2, 3\): expected -3 to 2"):
        Tensor(A).unsqueeze(7)
    with pytest.raises(ShapeError, match="size 3, not 1"):
        Tensor(A).squeeze(1)


# Indexing -----------------------------------------------------------------------------------------------

INDICES: dict[str, Case] = {
    "number": (lambda a, b: a[1], A[1]),
    "one element": (lambda a, b: a[1, -1], A[1, -1]),
    "slice": (lambda a, b: a[1:, ::2], A[1:, ::2]),
    "index by an array": (lambda a, b: a[:, np.array([0, 0, 2])], A[:, [0, 0, 2]]),
    "index by a tensor": (lambda a, b: a[Tensor([1, 0])], A[[1, 0]]),
    "index by booleans": (lambda a, b: a[a > 2], A[A > 2]),
}


@pytest.mark.parametrize("name", INDICES)
def test_indexed_values_match_numpy(name: str) -> None:
    agrees(INDICES[name])


def test_slice_is_a_view() -> None:
    x = Tensor(A.copy())
    for part in (x[1], x[1:, ::2], x[..., 0], x[None]):
        assert np.shares_memory(part.data, x.data)
    x[0].data[:] = 9
    assert x.data[0].tolist() == [9, 9, 9]


def test_iteration_yields_the_rows() -> None:
    assert [row.data.tolist() for row in Tensor(A)] == A.tolist()


def test_index_out_of_range_states_the_shape() -> None:
    with pytest.raises(ShapeError, match=r"getitem: index 5 is not valid for shape \(2, 3\)"):
        Tensor(A)[5]


# Joining ------------------------------------------------------------------------------------------------

JOINS: dict[str, Case] = {
    "cat": (lambda a, b: cat([a, b], dim=1), np.concatenate([A, B], axis=1)),
    "cat along the first dimension": (lambda a, b: cat([a, a * 2, a]), np.concatenate([A, A * 2, A])),
    "cat from the end": (lambda a, b: cat([b, a], dim=-1), np.concatenate([B, A], axis=-1)),
    "stack": (lambda a, b: stack([a, a * 2], dim=1), np.stack([A, A * 2], axis=1)),
    "stack along the first dimension": (lambda a, b: stack([a, a * 2]), np.stack([A, A * 2])),
    "stack at the end": (lambda a, b: stack([a, a * 2], dim=-1), np.stack([A, A * 2], axis=-1)),
}


@pytest.mark.parametrize("name", JOINS)
def test_joined_values_match_numpy(name: str) -> None:
    agrees(JOINS[name])


def test_cat_and_stack_record_every_part() -> None:
    a, b = Tensor(A, requires_grad=True), Tensor(A, requires_grad=True)
    for joined in (cat([a, b]), stack([a, b])):
        assert joined.requires_grad
        assert joined.node is not None
        assert len(joined.node.inputs) == 2
