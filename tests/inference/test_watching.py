"""A prepared model follows every change of its module, hides no NaN, and refuses what is not an array."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.models import outputs
from tinytorch.base.errors import InputTypeError
from tinytorch.caching import Decoder, KVCache
from tinytorch.inference import predictor
from tinytorch.inference.plan import is_finite
from tinytorch.layers import Dropout, Linear, Module, Parameter, Sequential
from tinytorch.quantized import quantize_static
from tinytorch.spatial import BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT

pytestmark = pytest.mark.usefixtures("backend")


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_follows(model: Module, x: Array, change: Callable[[], object]) -> None:
    """Assert that a prepared model computes what the module does, before and after a change."""
    predict = predictor(model)
    np.testing.assert_allclose(predict(x), outputs(model, x), rtol=1e-4, atol=1e-5)
    change()
    np.testing.assert_allclose(predict(x), outputs(model, x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(predict(x), outputs(model, x), rtol=1e-4, atol=1e-5)


def small() -> Sequential:
    tt.manual_seed(0)
    return Sequential(Linear(4, 5), tt.ReLU(), Linear(5, 3))


def doubled(module: Module, inputs: Any, output: Tensor) -> Tensor:
    return 2 * output


CHANGES: dict[str, Callable[[Any], object]] = {
    "another parameter": lambda m: setattr(m.layers[0], "weight", Parameter(numbers(5, 4, seed=3))),
    "no bias": lambda m: setattr(m.layers[0], "bias", None),
    "a hook": lambda m: m.layers[0].register_forward_hook(doubled),
    "a hook of the whole": lambda m: m.register_forward_hook(doubled),
    "a hook before": lambda m: m.layers[2].register_forward_pre_hook(lambda module, inputs: 3 * inputs[0]),
    "another layer": lambda m: setattr(m, "layers", [*m.layers[:2], Linear(5, 3)]),
    "a forward of its own": lambda m: setattr(m.layers[2], "forward", lambda x: x * 0 + 1),
    "a cast": lambda m: m.layers[0].double(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_a_module_are_noticed(name: str) -> None:
    model = small()
    if name == "a cast":
        model.layers[1:] = [Linear(5, 3).double()]
    assert_follows(model, numbers(2, 4), lambda: CHANGES[name](model))


def test_changed_settings_are_noticed() -> None:
    model = Sequential(Conv2d(2, 3, 3, padding=1), BatchNorm2d(3), MaxPool2d(2))
    assert_follows(model, numbers(2, 2, 6, 6), lambda: setattr(model.layers[1], "eps", 0.5))
    assert_follows(model, numbers(2, 2, 6, 6), lambda: setattr(model.layers[0], "padding", 2))


def test_a_layer_that_notes_something_at_each_call_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(Module):
        def __init__(self) -> None:
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x

    predict = predictor(Sequential(Linear(4, 5), Counting()))
    predict(numbers(2, 4))
    monkeypatch.setattr(predict, "_prepare", lambda: pytest.fail("it was prepared again"))
    for _ in range(3):
        predict(numbers(2, 4))


class Doubling(Module):
    """A root of unknown type: its operations are traced."""

    def __init__(self) -> None:
        self.layer, self.factor = Linear(4, 3), 2.0

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.layer(x)


def test_a_traced_model_follows_its_settings() -> None:
    model = Doubling()
    assert_follows(model, numbers(2, 4), lambda: setattr(model, "factor", 5.0))


@pytest.mark.parametrize("scale", [1.0, 1e-8])
@pytest.mark.parametrize("decide", [lambda x: float(np.abs(x).max()), lambda x: 1.0 if np.abs(x).max() < 10 else 0.0,
                                    lambda x: float(np.sign(x.sum()))])  # fmt: skip
def test_a_model_that_looks_at_its_numbers_is_not_frozen(decide: Callable[[Array], float], scale: float) -> None:
    class Looking(Module):
        def __init__(self) -> None:
            self.layer = Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) * (scale * decide(x.data))

    model, x = Looking(), np.abs(numbers(3, 4))
    predict = predictor(model)
    for given in (x, 50 * x, -x, 5 * x):
        expected = outputs(model, given)
        np.testing.assert_allclose(predict(given), expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


# Values that must not be hidden -----------------------------------------------------------------------


def log(x: Tensor) -> Tensor:
    return x.log()


def spoiled(layer: Any) -> Any:
    layer.weight.data[0] = np.nan
    return layer


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Sequential(log, Linear(4, 5), tt.ReLU()), (2, 4)),
        (Sequential(log, Conv2d(1, 1, 1), MaxPool2d(2)), (2, 1, 4, 4)),
        (Sequential(spoiled(Linear(4, 4)), Linear(4, 5), tt.ReLU()), (2, 4)),
        (Sequential(spoiled(Conv2d(2, 4, 3)), Conv2d(4, 3, 3), tt.Tanh(), MaxPool2d(2)), (2, 2, 8, 8)),
    ],
)
def test_nan_from_within_is_not_hidden(model: Sequential, shape: tuple[int, ...]) -> None:
    x, predict = -1 - np.abs(numbers(*shape)), predictor(model)
    for _ in range(3):
        np.testing.assert_array_equal(np.isnan(predict(x)), np.isnan(outputs(model, x)))
    assert np.isnan(predict(x)).any()


def test_nan_is_found_by_every_plan_of_a_layer() -> None:
    predict = predictor(Sequential(Linear(2, 2), tt.ReLU()))
    for rows in (1, 2, 3, 100):
        assert not np.isnan(predict(np.zeros((rows, 2), np.float32))).any()
        assert np.isnan(predict(np.full((rows, 2), np.nan, np.float32))).all()


def test_a_layer_whose_result_depends_on_the_numbers_runs_as_they_say() -> None:
    def chosen(x: Tensor) -> Tensor:
        return x[x.data[:, 0] > 0]

    def first(x: Tensor) -> Tensor:
        return x[:1] if x.data.sum() > 0 else x

    def wide(x: Tensor) -> Tensor:
        return Tensor(x.data.astype(np.float64)) if x.data.sum() > 0 else x

    for layer in (chosen, first, wide):
        model = Sequential(Linear(4, 4), layer)
        predict = predictor(model)
        for seed in range(8):
            found, expected = predict(numbers(3, 4, seed=seed)), outputs(model, numbers(3, 4, seed=seed))
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_layer_that_refuses_zeros_runs_with_other_numbers() -> None:
    def strict(x: Tensor) -> Tensor:
        if not x.data.any():
            raise ValueError("only zeros")
        return x

    model = Sequential(strict, Linear(4, 3))
    np.testing.assert_allclose(predictor(model)(numbers(2, 4)), outputs(model, numbers(2, 4)), rtol=1e-4, atol=1e-5)


@dataclass
class Scale:
    """A callable without a hash."""

    factor: float

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.factor


def test_a_callable_without_a_hash_is_a_layer() -> None:
    model = Sequential(Linear(4, 3), Scale(2.0))
    np.testing.assert_allclose(predictor(model)(numbers(2, 4)), outputs(model, numbers(2, 4)), rtol=1e-4, atol=1e-5)


# GPTs -------------------------------------------------------------------------------------------------


def gpt() -> GPT:
    tt.manual_seed(0)
    return GPT(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=16)


PARTS: dict[str, Callable[[GPT], Module]] = {
    "the model": lambda m: m,
    "a block": lambda m: m.transformer.h[0],
    "attention": lambda m: m.transformer.h[0].attn,
    "a product": lambda m: m.transformer.h[0].mlp.c_fc,
    "a norm": lambda m: m.transformer.ln_f,
    "the tokens": lambda m: m.transformer.wte,
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("part", PARTS)
def test_hooks_of_a_gpt_are_called(part: str, when: str) -> None:
    model, tokens = gpt(), np.array([[1, 2, 3]])
    predict = predictor(model)
    predict(tokens)
    PARTS[part](model).register_forward_hook(doubled)
    predict = predictor(model) if when == "before" else predict
    np.testing.assert_allclose(predict(tokens), model(tokens).data, rtol=1e-4, atol=1e-5)


def test_a_decoder_calls_hooks() -> None:
    model = gpt().eval()
    model.transformer.h[0].mlp.register_forward_hook(doubled)
    decoder = Decoder(model, KVCache(model))
    decoder.next_logits([[1, 2]])
    np.testing.assert_allclose(
        decoder.next_logits([[3]]), model(np.array([[1, 2, 3]])).data[:, -1], rtol=1e-4, atol=1e-5
    )


def test_a_gpt_in_float16_returns_float16() -> None:
    model, tokens = gpt().half(), np.array([[1, 2, 3]])
    found = predictor(model)(tokens)
    assert found.dtype == model(tokens).data.dtype == np.float16


# What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [[[1.0, 2.0]], None, 1.5, "text", {}, Tensor([[1.0] * 4])])
@pytest.mark.parametrize("make", [small, gpt])
def test_an_input_that_is_not_an_array_is_refused(make: Callable[[], Module], wrong: Any) -> None:
    with pytest.raises(InputTypeError, match="expected a NumPy array"):
        predictor(make())(wrong)


@pytest.mark.parametrize("wrong", [None, 3, [Linear(1, 1)], np.tanh, Linear, tt.ReLU()])
def test_what_is_not_a_model_is_refused(wrong: Any) -> None:
    with pytest.raises(InputTypeError, match=r"predictor: model is .*: expected a Module"):
        predictor(wrong)


def test_a_subclass_of_array_is_an_array() -> None:
    model = small()
    x = numbers(2, 4).view(np.recarray)
    np.testing.assert_allclose(predictor(model)(x), outputs(model, numbers(2, 4)), rtol=1e-4, atol=1e-5)


def test_threads_leave_the_modes_of_a_model_alone() -> None:
    """Inputs that are not float32 run in the module itself, whose mode is one for all threads."""
    tt.manual_seed(0)
    model = Sequential(Linear(4, 64), Dropout(0.9), Linear(64, 3))
    predict, x, wrong = predictor(model), numbers(2, 4).astype(np.float64), []
    expected = outputs(model, x)
    model.train()

    def work() -> None:
        for _ in range(100):
            if not np.allclose(predict(x), expected, rtol=1e-4, atol=1e-5):
                wrong.append(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    assert all(part.training for part in model.modules())


def test_a_block_with_a_forward_of_its_own_is_called() -> None:
    block = BasicBlock(2, 2)
    model = Sequential(block)
    block.forward = lambda x: x * 0 + 7  # type: ignore[method-assign]
    np.testing.assert_array_equal(predictor(model)(numbers(1, 2, 4, 4)), np.full((1, 2, 4, 4), 7, np.float32))


def test_int8_saturates_as_the_module_does() -> None:
    layer = Linear(1, 1, bias=False)
    layer.weight.data[:] = 1
    model = quantize_static(Sequential(layer).eval(), [np.array([[-1.0], [1.0]], np.float32)])
    x = np.array([[-2], [-1], [2], [np.nan], [-np.inf], [np.inf], [0.3]], np.float32)
    np.testing.assert_array_equal(predictor(model)(x), outputs(model, x))


@pytest.mark.parametrize("size", [1, 5, 8191, 8192, 8193, 20_000, 24_576])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_every_number_is_looked_at(size: int) -> None:
    x = np.full(size, 3e38, np.float32)
    assert is_finite(x)
    for place in {0, size // 2, size - 1}:
        for value in (np.nan, np.inf, -np.inf):
            x[place] = value
            assert not is_finite(x)
        x[place] = -3e38
    assert is_finite(x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_checking_a_trace_warns_of_nothing(dtype: Any) -> None:
    """Its numbers are larger than the given ones: here, their exponentials overflow."""

    class Exponential(Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.exp() + x.bfloat16().float()

    x = np.array([[2000.0, -2.0, 3.0]]).astype(dtype) / 400
    np.testing.assert_allclose(predictor(Exponential())(x), outputs(Exponential(), x), rtol=1e-2)
