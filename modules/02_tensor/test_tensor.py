"""Module 02: values and shapes of every tensor operation, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinytorch as tt
from tinytorch.base.errors import GradientError, SettingError, ShapeError
from tinytorch.tensor import Op, Tensor, apply

A = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3)
B = np.array([[3.0], [-1.0]], np.float32)

VALUES = {
    "add": (lambda a, b: a + b, A + B),
    "add a number": (lambda a, b: 2 + a + 1, A + 3),
    "add an array on the left": (lambda a, b: A + a, A + A),
    "sub": (lambda a, b: a - b, A - B),
    "sub from a number": (lambda a, b: 1 - a, 1 - A),
    "mul": (lambda a, b: a * b, A * B),
    "div": (lambda a, b: b / a, B / A),
    "div by a number": (lambda a, b: a / 4, A / 4),
    "div of a number": (lambda a, b: 6 / a, 6 / A),
    "sub an array of bytes": (lambda a, b: a - np.array([1, 2, 3], np.uint8), A - np.array([1, 2, 3], np.float32)),
    "sub booleans": (lambda a, b: 1.5 - a * (a > 2), 1.5 - A * (A > 2)),
    "div by an integer tensor": (lambda a, b: a / Tensor([2, 3, 4]), A / np.array([2, 3, 4], np.float32)),
    "div of integers": (lambda a, b: Tensor([6, 3]) / Tensor([4, 2]), np.array([1.5, 1.5], np.float32)),
    "mul by a NumPy scalar": (lambda a, b: a * np.float64(2), A * 2),
    "rows by iteration": (lambda a, b: tt.cat([row.unsqueeze(0) for row in a], dim=0), A),
    "permute from the end": (lambda a, b: a.permute(-1, 0), A.T),
    "neg": (lambda a, b: -a, -A),
    "pow": (lambda a, b: a**3, A**3),
    "square": (lambda a, b: a**2, A**2),
    "sqrt": (lambda a, b: a.sqrt(), np.sqrt(A)),
    "exp": (lambda a, b: a.exp(), np.exp(A)),
    "log": (lambda a, b: a.log(), np.log(A)),
    "abs": (lambda a, b: b.abs(), np.abs(B)),
    "maximum": (lambda a, b: a.maximum(b), np.maximum(A, B)),
    "where": (lambda a, b: tt.where(a > 2, a, b), np.where(A > 2, A, B)),
    "matmul": (lambda a, b: a.T @ b, A.T @ B),
    "matmul with an array on the left": (lambda a, b: A.T @ b, A.T @ B),
    "sum": (lambda a, b: a.sum(), A.sum()),
    "sum over a dimension": (lambda a, b: a.sum(1, keepdim=True), A.sum(1, keepdims=True)),
    "mean": (lambda a, b: a.mean(0), A.mean(0)),
    "max": (lambda a, b: a.max(), A.max()),
    "max along a dimension": (lambda a, b: a.max(1).values, A.max(1)),
    "place of the max": (lambda a, b: a.max(dim=0, keepdim=True)[1], A.argmax(0, keepdims=True)),
    "amax": (lambda a, b: a.amax(1), A.max(1)),
    "min": (lambda a, b: a.min(), A.min()),
    "min along a dimension": (lambda a, b: a.min(0)[0], A.min(0)),
    "amin": (lambda a, b: a.amin((0, 1), keepdim=True), A.min((0, 1), keepdims=True)),
    "var": (lambda a, b: a.var(1), A.var(1, ddof=1)),
    "reshape": (lambda a, b: a.reshape(3, 2), A.reshape(3, 2)),
    "reshape by a tuple": (lambda a, b: a.reshape((3, -1)), A.reshape(3, -1)),
    "flatten": (lambda a, b: a.flatten(), A.ravel()),
    "permute": (lambda a, b: a.unsqueeze(0).permute(2, 0, 1), A[None].transpose(2, 0, 1)),
    "transpose": (lambda a, b: a.transpose(0, -1), A.T),
    "expand": (lambda a, b: b.expand(2, 3), np.broadcast_to(B, (2, 3))),
    "unsqueeze": (lambda a, b: a.unsqueeze(-1), A[..., None]),
    "squeeze": (lambda a, b: b.squeeze(1), B[:, 0]),
    "slice": (lambda a, b: a[1:, ::2], A[1:, ::2]),
    "index by an array": (lambda a, b: a[:, np.array([0, 0, 2])], A[:, [0, 0, 2]]),
    "index by a tensor": (lambda a, b: a[tt.Tensor([1, 0])], A[[1, 0]]),
    "cat": (lambda a, b: tt.cat([a, b], dim=1), np.concatenate([A, B], axis=1)),
    "stack": (lambda a, b: tt.stack([a, a], dim=1), np.stack([A, A], axis=1)),
    "argmax": (lambda a, b: a.argmax(1), A.argmax(1)),
    "less": (lambda a, b: a < 3, A < 3),
    "at least": (lambda a, b: a >= b, A >= B),
    "equal": (lambda a, b: a == 2, A == 2),
    "cast": (lambda a, b: a.to(np.float64), A.astype(np.float64)),
}


@pytest.mark.parametrize("name", VALUES)
def test_operation_matches_numpy(name: str) -> None:
    operation, expected = VALUES[name]
    result = operation(Tensor(A), Tensor(B)).data
    assert result.dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_python_floats_are_float32_and_arrays_keep_their_dtype() -> None:
    assert Tensor([1.0, 2.0]).dtype == np.float32
    assert Tensor([1, 2]).dtype == np.int64
    assert Tensor(np.array([1.0])).dtype == np.float64
    assert (Tensor([1.0]) * 2.5).dtype == np.float32


def test_array_is_shared_not_copied() -> None:
    array = np.zeros(3, np.float32)
    assert Tensor(array).data is array


def test_shape_error_states_both_shapes() -> None:
    with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\) and \(4,\)"):
        Tensor(A) + tt.zeros(4)
    with pytest.raises(ShapeError, match=r"matmul: shapes \(2, 3\) and \(2, 3\)"):
        Tensor(A) @ Tensor(A)
    with pytest.raises(ShapeError, match=r"reshape: shapes \(2, 3\), shape=\(4,\)"):
        Tensor(A).reshape(4)
    with pytest.raises(ShapeError, match=r"getitem: index 5 is not valid for shape \(2, 3\)"):
        Tensor(A)[5]
    with pytest.raises(ShapeError, match="size 3, not 1"):
        Tensor(A).squeeze(1)
    with pytest.raises(ShapeError, match=r"dimension 7 for shape \(2, 3\): expected -3 to 2"):
        Tensor(A).unsqueeze(7)
    with pytest.raises(ShapeError, match=r"dimension 2 for shape"):
        Tensor(A).transpose(0, 2)
    with pytest.raises(ShapeError, match=r"greater: shapes \(2, 3\) and \(4,\)"):
        _ = Tensor(A) > tt.zeros(4)
    with pytest.raises(ShapeError, match=r"argmax: shapes \(2, 3\)"):
        Tensor(A).argmax(5)
    with pytest.raises(SettingError, match="dtype"):
        Tensor(["a"])
    with pytest.raises(ShapeError, match="different lengths"):
        Tensor([[1.0, 2.0], [3.0]])


def test_division_by_zero_is_infinite_as_in_numpy() -> None:
    with np.errstate(divide="ignore"):
        assert (Tensor([1.0]) / 0).item() == np.inf


def test_numpy_reads_a_tensor_as_an_array() -> None:
    np.testing.assert_array_equal(np.asarray(Tensor(A)), A)


def test_only_floating_point_tensors_can_require_a_gradient() -> None:
    with pytest.raises(GradientError, match="int64"):
        Tensor([1, 2], requires_grad=True)


def test_apply_records_the_op_only_if_a_gradient_is_required() -> None:
    double = Op("double", lambda x: 2 * x)
    assert apply(double, Tensor([1.0])).node is None
    made = apply(double, Tensor([1.0], requires_grad=True))
    assert made.requires_grad
    assert made.node is not None
    assert made.node.op is double
    assert made.node.kept is made.data


def test_apply_keeps_what_the_forward_pass_returns_for_the_backward_pass() -> None:
    op = Op("square", lambda x: (x * x, "kept"))
    made = apply(op, Tensor([3.0], requires_grad=True))
    assert made.item() == 9
    assert made.node is not None
    assert made.node.kept == "kept"


def test_seed_repeats_the_numbers_and_saved_state_continues_them() -> None:
    tt.manual_seed(5)
    first = tt.randn(3).data
    state = tt.get_rng_state()
    second = tt.rand(3).data
    tt.manual_seed(5)
    np.testing.assert_array_equal(tt.randn(3).data, first)
    tt.set_rng_state(state)
    np.testing.assert_array_equal(tt.rand(3).data, second)
    with pytest.raises(SettingError, match="seed -1"):
        tt.manual_seed(-1)


def test_factories_return_float32() -> None:
    assert tt.zeros(2, 3).shape == tt.ones(2, 3).shape == (2, 3)
    assert tt.zeros(1).dtype == tt.ones(1).dtype == tt.rand(1).dtype == np.float32


def test_detach_stops_gradients_and_item_returns_a_number() -> None:
    x = Tensor([2.0], requires_grad=True) * 3
    assert not x.detach().requires_grad
    assert float(x) == x.item() == 6
    assert len(x) == x.numel() == 1
    assert "requires_grad=True" in repr(x)


shapes = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4)


@given(shapes, st.integers(0, 99))
def test_broadcasting_follows_numpy_for_every_pair_of_shapes(pair: hnp.BroadcastableShapes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(shape) for shape in pair.input_shapes)
    np.testing.assert_array_equal((Tensor(a) * Tensor(b)).data, a * b)
    assert (Tensor(a) - Tensor(b)).shape == pair.result_shape
