"""A plan on all threads and one on a single thread give the same bits, and a disturbed plan runs on one thread."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import numpy as np
import pytest

import tinytorch as tt
from tests.models import perceptron, with_statistics
from tinytorch.inference import choosing, predictor
from tinytorch.inference.choosing import Choice, same_bits
from tinytorch.layers import Flatten, Linear, Module, Sequential
from tinytorch.native import library
from tinytorch.quantized import quantize_static
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array

pytestmark = [
    pytest.mark.skipif(bool(library.why_not()), reason=library.why_not() or "available"),
    pytest.mark.usefixtures("onednn"),
]
RNG = np.random.default_rng(0)


def resnet8() -> Module:
    tt.manual_seed(0)
    stem = (Conv2d(3, 16, 3, 1, 1), BatchNorm2d(16), tt.ReLU())
    stacks = (BasicBlock(16, 16), BasicBlock(16, 32, stride=2), BasicBlock(32, 64, stride=2))
    return with_statistics(Sequential(*stem, *stacks, AdaptiveAvgPool2d(1), Flatten(), Linear(64, 10)))


def cnn() -> Module:
    tt.manual_seed(0)
    first, second = Conv2d(3, 32, 3, padding=1), Conv2d(32, 64, 3, padding=1)
    return Sequential(first, MaxPool2d(2), tt.relu, second, tt.gelu, MaxPool2d(2), Flatten(), Linear(4096, 10))


IMAGES = RNG.standard_normal((64, 3, 32, 32)).astype(np.float32)
CASES: dict[str, tuple[Callable[[], Module], Array]] = {
    "mlp": (lambda: perceptron(784, 512, 256, 10), RNG.random((64, 784), np.float32)),
    "resnet8": (resnet8, IMAGES),
    "cnn": (cnn, IMAGES),
    "int8 resnet8": (lambda: quantize_static(resnet8(), [IMAGES[:8]]), IMAGES),
}


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("name", CASES)
def test_a_choice_does_not_change_a_bit(name: str, rows: int) -> None:
    make, x = CASES[name]
    predict, part = predictor(make()), x[:rows]
    expected, plan = predict(part), predict._plans[part.shape]
    if isinstance(plan, Choice):
        np.testing.assert_array_equal(plan.alone(part), expected)
        np.testing.assert_array_equal(plan.shared(part), expected)
    np.testing.assert_array_equal(predict(part), expected)


def test_plans_with_other_bits_are_told_apart() -> None:
    one, other = (predictor(perceptron(64, 8))._steps((2, 64), alone=True) for _ in range(2))
    assert not same_bits(one, other)  # two models
    assert same_bits(one, one)


def test_disturbed_plan_rests_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    predict, x = predictor(perceptron(784, 512, 256, 10)), RNG.random((1, 784), np.float32)
    expected, plan = predict(x), predict._plans[x.shape]
    assert isinstance(plan, Choice)
    now, lasts, ran = 1.0, 0.0, []
    alone, shared = plan.alone, plan.shared

    def run_shared(x: Array) -> Array | None:
        nonlocal now
        now += lasts
        ran.append("all")
        return shared(x)

    def run_alone(x: Array) -> Array | None:
        nonlocal now
        now += 0.03
        ran.append("one")
        return alone(x)

    monkeypatch.setattr(choosing, "perf_counter", lambda: now)
    monkeypatch.setattr(plan, "shared", run_shared)
    monkeypatch.setattr(plan, "alone", run_alone)
    monkeypatch.setattr(plan, "_limit", 0.02)
    plan._since = plan._until = 0.0
    plan._rest = choosing.SHORTEST
    for seconds, calls in ((0.01, 3), (0.03, 10), (0.01, 5)):  # undisturbed, then disturbed, then undisturbed
        lasts = seconds
        for _ in range(calls):
            np.testing.assert_array_equal(predict(x), expected)
    runs = [(name, len(list(part))) for name, part in groupby(ran)]
    assert runs == [("all", 5), ("one", 2), ("all", 2), ("one", 4), ("all", 5)]
