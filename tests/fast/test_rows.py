"""GELU and layer normalization by oneDNN: NumPy's values and gradients, bit for bit the same from run to run, only
while training is recorded, and never in place of a learner's own functions.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.arrays import parallel
from tinytorch.fast import rows
from tinytorch.native import backend, library
from tinytorch.native import rows as kernels
from tinytorch.tensor import Array, Tensor, apply
from tinytorch.transformers import LayerNorm, layer_norm

pytestmark = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not() or "available")


@pytest.fixture(params=["one thread", "all threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute on one thread, or split each array between two."""
    monkeypatch.setattr(kernels, "SHARED", 2**62 if request.param == "one thread" else 1)
    monkeypatch.setattr(parallel, "SMALLEST", 1)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that were used."""
    found: list[str] = []

    def noting(name: str) -> Callable[..., Any]:
        run = getattr(kernels, name)

        def noted(*arrays: Any) -> Any:
            found.append(name)
            return run(*arrays)

        return noted

    for name in ("gelu", "gelu_gradient", "layer_norm", "layer_norm_gradients"):
        monkeypatch.setattr(kernels, name, noting(name))
    return found


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def derived(f: Callable[..., Tensor], *arrays: Array) -> list[Array]:
    """Return the result of f and the gradients of its inputs."""
    inputs = [Tensor(array, requires_grad=True) for array in arrays]
    y = f(*inputs)
    y.backward(numbers(*y.shape, seed=9))
    return [y.data, *(x.grad.data for x in inputs if x.grad is not None)]


def by_numpy(f: Callable[..., Tensor], *arrays: Array) -> list[Array]:
    backend.use_backend("numpy")
    found = derived(f, *arrays)
    backend.use_backend("onednn")
    return found


def normed(*inputs: Tensor) -> Tensor:
    return apply(layer_norm, *inputs, eps=1e-5)


WORKS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "gelu": (tt.gelu, ((7, 33),)),
    "gelu of a vector": (tt.gelu, ((5,),)),
    "layer_norm": (normed, ((6, 40), (40,), (40,))),
    "layer_norm without a bias": (normed, ((2, 3, 8), (8,))),
    "layer_norm of a vector": (normed, ((8,), (8,), (8,))),
}


@pytest.mark.parametrize("name", WORKS)
def test_values_and_gradients_are_numpys(name: str, threads: None, calls: list[str]) -> None:
    f, shapes = WORKS[name]
    arrays = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
    found = derived(f, *arrays)
    assert len(calls) == 2
    for one, other in zip(found, by_numpy(f, *arrays), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))
    for one, other in zip(found, derived(f, *arrays), strict=True):
        np.testing.assert_array_equal(one, other)  # again the same, to the bit


@pytest.mark.parametrize("name", WORKS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    f, shapes = WORKS[name]
    arrays = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
    _, *found = derived(f, *arrays)
    wide = [array.astype(np.float64) for array in arrays]
    weights = numbers(*f(*map(Tensor, wide)).shape, seed=9)

    def loss() -> float:
        return float((f(*map(Tensor, wide)).data * weights).sum())

    for array, gradient in zip(wide, found, strict=True):
        for i in np.ndindex(array.shape):
            before = array[i]
            array[i] = before + 1e-5
            above = loss()
            array[i] = before - 1e-5
            numeric = (above - loss()) / 2e-5
            array[i] = before
            assert abs(gradient[i] - numeric) < 1e-4 * (1 + abs(numeric))


@pytest.mark.parametrize("axes", [(0, 3, 1, 2), (3, 2, 1, 0), (0, 1, 2, 3)])
@pytest.mark.parametrize("part", [np.s_[:], np.s_[::2], np.s_[:, ::-1], np.s_[..., 1:3]])
def test_gelu_keeps_the_order_of_memory(axes: tuple[int, ...], part: Any, threads: None) -> None:
    x, other = numbers(4, 5, 6, 7).transpose(axes)[part], numbers(4, 5, 6, 7, seed=1)
    for g in (other.transpose(axes)[part], np.ascontiguousarray(other.transpose(axes)[part])):
        tensor = Tensor(x, requires_grad=True)
        y = tt.gelu(tensor)
        y.backward(g)
        backend.use_backend("numpy")
        plain = Tensor(x, requires_grad=True)
        expected = tt.gelu(plain)
        expected.backward(g)
        backend.use_backend("onednn")
        assert tensor.grad is not None
        assert plain.grad is not None
        np.testing.assert_allclose(y.data, expected.data, rtol=0, atol=1e-5)
        np.testing.assert_allclose(tensor.grad.data, plain.grad.data, rtol=0, atol=1e-5)
        if part == np.s_[:]:
            assert y.data.strides == x.strides


def test_a_gradient_may_be_broadcast_or_strided() -> None:
    for f, shapes in WORKS.values():
        arrays = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
        for reduce in (lambda y: y.sum(), lambda y: y[..., ::2].sum()):
            found = [Tensor(array, requires_grad=True) for array in arrays]
            reduce(f(*found)).backward()
            backend.use_backend("numpy")
            others = [Tensor(array, requires_grad=True) for array in arrays]
            reduce(f(*others)).backward()
            backend.use_backend("onednn")
            for one, other in zip(found, others, strict=True):
                assert one.grad is not None
                assert other.grad is not None
                np.testing.assert_allclose(one.grad.data, other.grad.data, rtol=0, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_values_that_are_not_finite_give_what_numpy_gives(value: float) -> None:
    x = numbers(4, 8)
    x[1, 3] = value
    with np.errstate(all="ignore"):
        for f, others in ((tt.gelu, []), (normed, [numbers(8)])):
            found, expected = derived(f, x, *others)[0], by_numpy(f, x, *others)[0]
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_numpy_computes_what_is_not_recorded_or_not_float32(calls: list[str]) -> None:
    with tt.no_grad():
        for f, shapes in WORKS.values():
            f(*[Tensor(numbers(*shape)) for shape in shapes])
    for dtype in (np.float64, np.float16):
        for f, shapes in WORKS.values():
            f(*[Tensor(numbers(*shape).astype(dtype), requires_grad=True) for shape in shapes]).sum().backward()
    backend.use_backend("numpy")
    for f, shapes in WORKS.values():
        f(*[Tensor(numbers(*shape), requires_grad=True) for shape in shapes]).sum().backward()
    assert calls == []


def test_small_arrays_are_numpys(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LEAST_SIZE", 2**15)
    for f, shapes in WORKS.values():
        derived(f, *[numbers(*shape) for shape in shapes])
    assert calls == []


def test_a_backend_changed_between_forward_and_backward_changes_nothing() -> None:
    for f, shapes in WORKS.values():
        arrays = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
        expected = by_numpy(f, *arrays)
        for before, after in (("onednn", "numpy"), ("numpy", "onednn")):
            inputs = [Tensor(array, requires_grad=True) for array in arrays]
            backend.use_backend(before)
            y = f(*inputs)
            backend.use_backend(after)
            y.backward(numbers(*y.shape, seed=9))
            backend.use_backend("onednn")
            for x, other in zip(inputs, expected[1:], strict=True):
                assert x.grad is not None
                np.testing.assert_allclose(x.grad.data, other, rtol=0, atol=1e-4)


def test_wrong_shapes_have_the_same_errors() -> None:
    with pytest.raises(tt.ShapeError):
        derived(normed, numbers(3, 4), numbers(5))
    assert derived(tt.gelu, numbers(0))[0].shape == (0,)
    assert derived(normed, numbers(0, 4), numbers(4))[0].shape == (0, 4)


def test_training_reaches_numpys_numbers() -> None:
    def losses() -> list[float]:
        tt.manual_seed(3)
        model = tt.Sequential(tt.Linear(12, 32), tt.GELU(), LayerNorm(32), tt.Linear(32, 4))
        optimizer = tt.Adam(model.parameters(), lr=0.01)
        x, labels = Tensor(numbers(64, 12)), np.arange(64) % 4
        found = []
        for _ in range(20):
            loss = tt.cross_entropy(model(x), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    own = losses()
    backend.use_backend("numpy")
    np.testing.assert_allclose(own, losses(), rtol=1e-4)


def test_a_learners_functions_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own: ModuleType = SimpleNamespace(__file__=str(tmp_path / "03_activations.py"))  # type: ignore[assignment]
    assert rows._is_references()
    for name in ("tensor", "activations", "autograd"):
        with monkeypatch.context() as patched:
            patched.setattr(rows, name, own)
            assert not rows._is_references()


def test_importing_tinytorch_loads_no_kernels() -> None:
    code = "import sys, tinytorch; print([name for name in sys.modules if name.startswith('tinytorch.native')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sums_over_many_rows_do_not_drift() -> None:
    """Added one by one in float32, a million numbers of 0.1 are wrong by 1%."""
    norm: Any = LayerNorm(16)
    y = norm(Tensor(numbers(2**18, 16)))
    y.backward(np.full(y.shape, 0.1, np.float32))
    np.testing.assert_allclose(norm.bias.grad.data, np.full(16, 2**18 * float(np.float32(0.1))), rtol=1e-4)
