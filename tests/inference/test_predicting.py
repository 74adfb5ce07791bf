"""`predictor(model)` returns the outputs of its model, for every kind of layer, input, and change of the model."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import tinytorch as tt
from tests.models import (
    DIGITS,
    IMAGES,
    QUANTIZED,
    cnn,
    mlp,
    normed_cnn,
    outputs,
    perceptron,
    resnet,
    static_mlp,
    with_statistics,
)
from tinytorch.base.dtypes import numpy_dtype
from tinytorch.base.errors import NonFiniteError, SettingError, ShapeError
from tinytorch.inference import predictor
from tinytorch.layers import Flatten, Linear, Module, Sequential
from tinytorch.quantized import quantize_dynamic, quantize_static
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("name", QUANTIZED)
def test_predictor_matches_the_model(name: str) -> None:
    make, x = QUANTIZED[name]
    model = make()
    predict = predictor(model)
    for part in (x[:1], x[1:2], x[:3], x, x[5:6], x[::-1][:2], x[:1]):
        given = part.copy()
        y = predict(part)
        np.testing.assert_allclose(y, outputs(model, part), rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(part, given)
    first = predict(x[:1])
    copied = first.copy()
    predict(x[1:2])
    np.testing.assert_array_equal(first, copied)  # an output is not overwritten by the next one


def test_predictor_saturates_and_accepts_other_layouts() -> None:
    model = static_mlp()
    predict = predictor(model)
    for x in (
        DIGITS * 1e38,
        -DIGITS,
        np.full_like(DIGITS, np.inf),
        DIGITS.transpose(0, 2, 1).copy().transpose(0, 2, 1),
    ):
        np.testing.assert_allclose(predict(x), outputs(model, x), rtol=1e-4, atol=1e-4)


def test_block_with_differently_scaled_branches_matches_the_model() -> None:
    model: Any = quantize_static(resnet(), [IMAGES])
    expected = outputs(model, IMAGES)
    np.testing.assert_allclose(predictor(model)(IMAGES), expected, rtol=1e-4, atol=1e-4)
    shortcut = model[2].shortcut
    shortcut.input_scale.data = shortcut.input_scale.data * np.float32(3)
    other = outputs(model, IMAGES)
    assert np.abs(other - expected).max() > 1e-3
    np.testing.assert_allclose(predictor(model)(IMAGES), other, rtol=1e-4, atol=1e-4)


def test_many_batch_sizes_match_the_model() -> None:
    model = static_mlp()
    predict = predictor(model)
    for n in (*range(1, 40), 1, 40):
        np.testing.assert_allclose(predict(DIGITS[:n]), outputs(model, DIGITS[:n]), rtol=1e-4, atol=1e-4)


def test_two_threads_do_not_mix_their_outputs() -> None:
    model = static_mlp()
    predict, wrong = predictor(model), []
    expected = [outputs(model, DIGITS[i : i + 1]) for i in range(8)]

    def work(i: int) -> None:
        for _ in range(300):
            if not np.allclose(predict(DIGITS[i : i + 1]), expected[i], atol=1e-4):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Random models ------------------------------------------------------------------------------------------


class Doubled(Module):
    """A layer that the predictor does not know."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def image_layers(draw: Any, channels: int, depth: int = 0) -> tuple[Any, int]:
    """Draw a layer for images, and return it with its number of output channels."""
    kinds = ["conv", "conv", "norm", "function", "pool", "block", "dropout", "unknown", "sequence"]
    kind = draw(st.sampled_from(kinds[: 8 if depth else 9]))
    if kind == "conv":
        groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if channels % g == 0]))
        out = groups * draw(st.integers(1, 5))
        kernel, stride, padding, dilation = (draw(st.integers(*bounds)) for bounds in ((1, 3), (1, 2), (0, 2), (1, 2)))
        return Conv2d(channels, out, kernel, stride, padding, dilation, groups, draw(st.booleans())), out
    if kind == "norm":
        norm = BatchNorm2d(channels)
        norm.weight.data[:] = np.random.default_rng(channels).uniform(-0.2 if draw(st.booleans()) else 0.5, 1, channels)
        norm.running_mean.data[:] = draw(st.floats(-1, 1, width=32))
        norm.running_var.data[:] = draw(st.floats(0.25, 2, width=32))
        return norm, channels
    if kind == "function":
        return draw(st.sampled_from([tt.ReLU(), tt.relu, tt.relu, tt.GELU(), tt.sigmoid, tt.Tanh()])), channels
    if kind == "pool":
        kernel, padding = draw(st.sampled_from([(2, 0), (2, 1), (3, 1), ((1, 2), 0)]))
        pool = draw(st.sampled_from([MaxPool2d, AvgPool2d]))
        return pool(kernel, draw(st.sampled_from([None, 1, 2])), padding), channels
    if kind == "block":
        out, stride = draw(st.sampled_from([(channels, 1), (channels + 1, 2)]))
        return with_statistics(BasicBlock(channels, out, stride)), out
    if kind == "sequence":
        layers = []
        for _ in range(draw(st.integers(0, 3))):
            layer, channels = image_layers(draw, channels, depth + 1)
            layers.append(layer)
        return Sequential(*layers), channels
    return (tt.Dropout(0.5) if kind == "dropout" else Doubled()), channels


@st.composite
def models(draw: Any) -> tuple[Sequential, Array]:
    """Draw a model of known and unknown layers, and an input for it."""
    tt.manual_seed(draw(st.integers(0, 99)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    n, layers = draw(st.integers(1, 5)), []
    if draw(st.booleans()):
        channels, size = draw(st.integers(1, 4)), draw(st.integers(5, 9))
        x = rng.standard_normal((n, channels, size, size + 1)).astype(np.float32)
        for _ in range(draw(st.integers(1, 6))):
            layer, channels = image_layers(draw, channels)
            layers.append(layer)
        if draw(st.booleans()):
            layers.append(AdaptiveAvgPool2d(draw(st.sampled_from([1, 2, (1, 3)]))))
        layers.append(Flatten())
        try:
            width = outputs(Sequential(*layers), x).shape[1]
        except ShapeError:
            assume(False)
    else:
        width = draw(st.integers(1, 20))
        x = rng.standard_normal((n, *[3] * draw(st.integers(0, 1)), width)).astype(np.float32)
    for _ in range(draw(st.integers(0, 3))):
        out = draw(st.integers(1, 40))
        layers += [Linear(width, out, draw(st.booleans()))]
        layers += draw(st.sampled_from([[], [tt.ReLU()], [tt.gelu], [tt.Dropout(0.1), tt.Tanh()], [Doubled()]]))
        width = out
    layers += draw(st.sampled_from([[], [tt.Softmax()], [tt.LogSoftmax(1)], [tt.Softmax(0)]]))
    model = Sequential(*layers).eval()
    for tensor in model.parameters() if draw(st.integers(0, 3)) == 0 else []:
        tensor.data = tensor.data.astype(numpy_dtype(draw(st.sampled_from(["float16", "bfloat16"]))))
    if draw(st.integers(0, 3)) == 0:
        x = np.flip(x, axis=-1)  # not contiguous
    return model, x


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(models())
def test_random_models_predict_as_their_modules(case: tuple[Sequential, Array]) -> None:
    model, x = case
    predict = predictor(model)
    for part in (x, x[:1], x):
        expected = outputs(model, part)
        y = predict(part)
        assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5 * max(1, np.abs(expected).max(initial=0)))
    known = not any(isinstance(part, Doubled) for part in model.modules())
    assert (predict.as_modules == ()) == known


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(models(), st.booleans())
def test_random_quantized_models_predict_as_their_modules(case: tuple[Sequential, Array], fixed: bool) -> None:
    model, x = case
    try:
        model = quantize_static(model, [x]) if fixed else quantize_dynamic(model)  # type: ignore[assignment]
    except (SettingError, NonFiniteError):  # a sum with too many products, or nothing to calibrate
        assume(False)
    predict = predictor(model)
    for part in (x, x[:1], x):
        expected = outputs(model, part)
        # a float that is rounded to the neighboring integer moves by 1 in 127, and later layers may enlarge it
        np.testing.assert_allclose(predict(part), expected, atol=0.05 * max(1, np.abs(expected).max(initial=0)))


# What goes around a model -------------------------------------------------------------------------------


def test_unknown_layers_run_as_modules_and_are_named() -> None:
    model = Sequential(Linear(4, 4), Sequential(Doubled(), tt.ReLU()), lambda x: x + 1)
    predict = predictor(model)
    assert predict.as_modules == ("1.0", "2")
    assert "as modules: 1.0, 2" in repr(predict)
    x = np.ones((3, 4), np.float32)
    np.testing.assert_allclose(predict(x), outputs(model, x), rtol=1e-6)


def test_subclass_and_hooked_layer_are_unknown() -> None:
    class Mine(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 3

    hooked = Linear(4, 4)
    hooked.register_forward_hook(lambda module, inputs, output: output + 5)
    model = Sequential(Mine(4, 4), hooked)
    x = np.ones((3, 4), np.float32)
    predict = predictor(model)
    assert predict.as_modules == ("0", "1")
    np.testing.assert_allclose(predict(x), outputs(model, x), rtol=1e-6)


def test_unknown_layer_stays_in_inference_mode() -> None:
    class Noisy(Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 100 if self.training else x

    model = Sequential(Linear(4, 4), Noisy())
    predict, x = predictor(model), np.ones((2, 4), np.float32)
    expected = predict(x)
    model.train()
    np.testing.assert_array_equal(predict(x), expected)
    assert model.training


@pytest.mark.parametrize("make", [mlp, cnn, resnet, static_mlp])
def test_changed_weights_are_prepared_again(make: Callable[[], Sequential]) -> None:
    model = make()
    x = DIGITS if make in (mlp, static_mlp) else IMAGES
    predict = predictor(model)
    before = predict(x)
    state = {name: tensor.data for name, tensor in model.state_dict().items()}
    scaled = {name: array * (2 if array.dtype == np.float32 else 1) for name, array in state.items()}
    model.load_state_dict(scaled)
    expected = outputs(model, x)
    assert np.abs(expected - before).max() > 1e-3
    np.testing.assert_allclose(predict(x), expected, rtol=1e-4, atol=1e-5)


def test_optimizer_step_is_noticed_and_another_models_is_not() -> None:
    model, other = mlp(), mlp()
    predict = predictor(model)
    before, prepared = predict(DIGITS), predict._nodes
    for trained in (other, model):
        trained.train()
        trained(Tensor(DIGITS)).sum().backward()
        tt.SGD(trained.parameters(), lr=0.1).step()
        np.testing.assert_allclose(predict(DIGITS), outputs(model, DIGITS), rtol=1e-4, atol=1e-5)
        assert (predict._nodes is prepared) == (trained is other)
    assert np.abs(predict(DIGITS) - before).max() > 1e-3


def test_inputs_that_no_plan_accepts_are_passed_to_the_model() -> None:
    model = mlp()
    predict = predictor(model)
    for x in (DIGITS.astype(np.float64), DIGITS[:0], DIGITS.astype(np.float16), DIGITS.astype(">f4")):
        expected = outputs(model, x)
        y = predict(x)
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y, expected)
    with pytest.raises(ShapeError, match="does not match weight"):
        predict(DIGITS[:, :2])
    with pytest.raises(ShapeError, match="expected"):
        predictor(resnet())(IMAGES[:, :2])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_input_that_is_not_finite_is_not_hidden_by_relu(value: float) -> None:
    for model, x in ((mlp(), DIGITS.copy()), (resnet(), IMAGES.copy()), (normed_cnn(), IMAGES.copy())):
        predict = predictor(model)
        predict(x)
        x[1].reshape(-1)[3] = value
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(np.isfinite(predict(x)), np.isfinite(outputs(model, x)))


def test_large_batch_is_split() -> None:
    model = perceptron(784, 8, 3)
    x = np.random.default_rng(0).random((3000, 784), np.float32)
    predict = predictor(model)
    np.testing.assert_allclose(predict(x), outputs(model, x), rtol=1e-4, atol=1e-5)
    assert max(shape[0] for shape in predict._plans) < 1500
    mixing = Sequential(Linear(784, 3), tt.Softmax(0))
    np.testing.assert_allclose(predictor(mixing)(x), outputs(mixing, x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [mlp, resnet, static_mlp])
def test_ten_thousand_queries_leak_no_memory(make: Callable[[], Sequential]) -> None:
    x = IMAGES if make is resnet else DIGITS
    predict, process = predictor(make()), psutil.Process()
    queries = [x[:n] for n in (1, 2, 1, 7)]
    for i in range(500):
        predict(queries[i % 4])
    before = process.memory_info().rss
    for i in range(10_000):
        predict(queries[i % 4])
    assert process.memory_info().rss - before < 2**20
    for n in range(1, 41):  # more shapes than are kept
        predict(x[:n])
    before = process.memory_info().rss
    for _ in range(3):
        for n in range(1, 41):
            predict(x[:n])
    assert process.memory_info().rss - before < 4 * 2**20


def test_copy_and_pickle_predict_the_same() -> None:
    predict = predictor(resnet())
    expected = predict(IMAGES)
    for twin in (pickle.loads(pickle.dumps(predict)), copy.deepcopy(predict)):
        np.testing.assert_array_equal(twin(IMAGES), expected)
        assert twin.model is not predict.model


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_predicts_even_if_a_thread_held_the_lock() -> None:
    predict = predictor(resnet())
    expected = predict(IMAGES[:2])
    with predict._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if np.allclose(predict(IMAGES[:2]), expected, rtol=1e-5) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_threads_with_different_batch_sizes_do_not_mix() -> None:
    model = resnet()
    predict, wrong = predictor(model), []
    expected = {n: outputs(model, IMAGES[:n]) for n in (1, 2, 5)}

    def work(n: int) -> None:
        for _ in range(60):
            if not np.allclose(predict(IMAGES[:n]), expected[n], atol=1e-4):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 5, 1, 2, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_input_is_read_from_its_own_memory_only_during_the_call() -> None:
    model = perceptron(784, 16, 3)
    predict, rng = predictor(model), np.random.default_rng(0)
    for _ in range(3):  # large inputs are not copied; a freed one must not be read again
        x = rng.random((64, 784), np.float32)
        np.testing.assert_allclose(predict(x), outputs(model, x), rtol=1e-4, atol=1e-5)
        turned = np.asfortranarray(x)
        np.testing.assert_allclose(predict(turned), outputs(model, x), rtol=1e-4, atol=1e-5)


def test_model_of_a_learners_own_modules_runs_as_a_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys.modules["tinytorch.layers"], "__file__", str(tmp_path / "04_layers.py"))
    model = mlp()
    predict = predictor(model)
    assert predict.as_modules == ("Sequential",)
    np.testing.assert_allclose(predict(DIGITS), outputs(model, DIGITS), rtol=1e-5, atol=1e-6)
