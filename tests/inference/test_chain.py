"""Module 17: a predictor returns the outputs of its model, for every kind of quantized and float layer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.inference import predictor
from tinytorch.layers import Flatten, Linear, Module, Sequential
from tinytorch.quantized import quantize_dynamic, quantize_static
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT

pytestmark = pytest.mark.usefixtures("backend")
random = np.random.default_rng(0)
IMAGES = random.standard_normal((40, 3, 8, 8)).astype(np.float32)
DIGITS = random.random((64, 4, 6)).astype(np.float32)
TOKENS = random.integers(0, 30, (4, 8))


def mlp() -> Sequential:
    tt.manual_seed(0)
    return Sequential(Flatten(), Linear(24, 32), tt.ReLU(), Linear(32, 16), tt.relu, Linear(16, 5))


def cnn() -> Sequential:
    tt.manual_seed(0)
    first = [Conv2d(3, 8, 3, padding=1, bias=False), MaxPool2d(2), BatchNorm2d(8), tt.ReLU()]
    second = [Conv2d(8, 6, 2, 2, 1, 1, 2), tt.ReLU(), MaxPool2d(2, 1), Flatten(), Linear(24, 5), tt.Sigmoid()]
    return Sequential(*first, *second)  # type: ignore[arg-type]


def resnet() -> Sequential:
    tt.manual_seed(0)
    layers = [Conv2d(3, 8, 3, 1, 1), BatchNorm2d(8), tt.ReLU(), BasicBlock(8, 8), BasicBlock(8, 16, 2)]
    return Sequential(*layers, AdaptiveAvgPool2d(1), Flatten(), Linear(16, 5))  # type: ignore[arg-type]


def gpt() -> GPT:
    tt.manual_seed(0)
    return GPT(vocab_size=30, block_size=8, n_layer=2, n_head=2, n_embd=16)


def partly_float() -> Any:
    """Build an INT8 model with a float block and a float layer, an unfolded batch norm, and a signed pool."""
    tt.manual_seed(0)
    negative = BatchNorm2d(8)
    negative.weight.data[::2] = -1
    layers = [Conv2d(3, 8, 3, 1, 1), MaxPool2d(2), negative, BasicBlock(8, 8), tt.GELU(), Conv2d(8, 8, 1), MaxPool2d(2)]
    model: Any = quantize_static(Sequential(*layers, Conv2d(8, 4, 2), Flatten(), Linear(4, 5)), [IMAGES])  # type: ignore[arg-type]
    model.layers[3] = BasicBlock(8, 8).eval()
    return model


def static_mlp() -> Any:
    return quantize_static(mlp(), [DIGITS])


MODELS: dict[str, tuple[Callable[[], Module], Array]] = {
    "mlp": (static_mlp, DIGITS),
    "cnn": (lambda: quantize_static(cnn(), [IMAGES]), IMAGES),
    "resnet": (lambda: quantize_static(resnet(), [IMAGES]), IMAGES),
    "float parts": (lambda: partly_float(), IMAGES),
    "dynamic mlp": (lambda: quantize_dynamic(mlp()), DIGITS),
    "dynamic cnn": (lambda: quantize_dynamic(cnn()), IMAGES),
    "gpt": (lambda: quantize_dynamic(gpt()), TOKENS),
    "dynamic": (lambda: quantize_dynamic(mlp()), DIGITS),
    "one": (lambda: quantize_static(Linear(6, 3), [DIGITS]), DIGITS),
    "float": (mlp, DIGITS),
}


def outputs(model: Module, x: Array) -> Array:
    with tt.no_grad():
        return model.eval()(Tensor(x)).data


@pytest.mark.parametrize("name", MODELS)
def test_predictor_matches_the_model(name: str) -> None:
    make, x = MODELS[name]
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
