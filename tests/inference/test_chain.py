"""Module 17: a predictor returns the outputs of its model, for every kind of quantized and float layer."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from tests.models import DIGITS, IMAGES, QUANTIZED, outputs, resnet, static_mlp
from tinytorch.inference import predictor
from tinytorch.quantized import quantize_static

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
