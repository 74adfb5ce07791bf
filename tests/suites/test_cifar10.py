"""The suite 2012_cifar10: each model trained and evaluated on a few random images, and the optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tito.bench.record import SeedRun
from tito.bench.statistics import is_share_of
from tito.bench.suites import load_suite
from tito.bench.workload import check_raw, load_workload

FOLDER = Path(__file__).parents[2] / "suites" / "2012_cifar10"
COMMON = {
    "epochs": 2, "batch_size": 16, "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0005, "warmup": 0.25,
    "label_smoothing": 0.1, "shift": 1, "views": 6, "last": 0.01, "edge": "reflect", "activation": "gelu",
    "side": 24, "small_epochs": 1,
}  # fmt: skip
WIDTHS = {"cnn": [4, 8], "resnet8": [], "airbench": [24, 24, 24]}


@pytest.fixture(scope="module")
def work() -> Any:
    return load_workload(FOLDER / "workload.py")


def data(work: Any) -> Any:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (64, 3, 32, 32), np.uint8), rng.integers(0, 10, 64)
    return work.Data(images, labels, images[:32], labels[:32], tuple("abcdefghij"))


@pytest.mark.parametrize("name", WIDTHS)
def test_small_training_end_to_end(work: Any, name: str) -> None:
    parameters = {**COMMON, "model": name, "widths": WIDTHS[name]}
    model, images = work.build(parameters, 1), data(work)
    before = {key: value.data.copy() for key, value in model.state_dict().items()}
    curve = work.train(model, images, parameters, 1, lambda *done, **figures: None)
    assert len(curve) == 2
    moved = [key for key, value in model.state_dict().items() if (value.data != before[key]).any()]
    assert len(moved) >= len([p for p in model.parameters() if p.requires_grad])
    trained = {key: value.data.copy() for key, value in model.state_dict().items()}
    if name == "airbench":
        assert model[-4].kernel_size == 3  # the small images needed 2
        assert not model[0].bias.requires_grad
        assert model[0].bias.data.any()
    answer = work.evaluate(model, images, parameters)
    assert all(np.array_equal(value.data, trained[key]) for key, value in model.state_dict().items())
    SeedRun(seed=1, metrics=answer["metrics"], curve=curve, exhibits=answer["exhibits"])
    assert set(answer["metrics"]) == set(load_suite(FOLDER).suite.metrics)
    assert answer["metrics"]["accuracy_single"] == curve[-1]["accuracy"]
    assert is_share_of(check_raw(answer["raw"]), answer["metrics"]["accuracy"])
    assert np.sum(answer["exhibits"][0]["counts"]) == 32
    queries = work.queries(images, parameters)
    assert work.predictor(model)(queries[:3]).shape == (3, 10)


def test_airbench_sees_small_images_first(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {**COMMON, "model": "airbench", "widths": WIDTHS["airbench"]}
    model, seen = work.build(parameters, 1), []
    forward = type(model).forward

    def watched(self: tt.Sequential, x: tt.Tensor) -> tt.Tensor:
        seen.append((self.training, x.shape))
        return forward(self, x)

    monkeypatch.setattr(type(model), "forward", watched)
    steps = []
    work.train(model, data(work), parameters, 1, lambda done, total, **figures: steps.append((done, total)))
    assert [shape[2:] for training, shape in seen if training] == [(24, 24)] * 4 + [(32, 32)] * 4
    assert {shape[2:] for training, shape in seen[:5]} == {(24, 24)}, "the curve of these epochs"
    assert steps == [(done, 8) for done in range(1, 9)]


@pytest.mark.parametrize("side", [8, 16, 20, 24, 25, 31, 32])
def test_shrinking_takes_means_of_areas(work: Any, side: int) -> None:
    images = np.random.default_rng(side).random((2, 3, 32, 32), np.float32)
    small = work.shrink(images, side)
    assert small.shape == (2, 3, side, side)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small.mean(axis=(2, 3)), images.mean(axis=(2, 3)), rtol=1e-5)
    fine = images.repeat(side, axis=2).repeat(side, axis=3)  # each pixel divided into side x side parts
    np.testing.assert_allclose(small, fine.reshape(2, 3, side, 32, side, 32).mean(axis=(3, 5)), rtol=1e-5)


def test_lookahead_pulls_the_weights_back_every_five_steps_and_keeps_them_at_the_end(work: Any) -> None:
    weight = tt.Parameter(np.zeros(1))
    optimizer = work.Lookahead([{"params": [weight], "lr": 1.0}], total=7, momentum=1e-9)
    seen = []
    for _ in range(7):
        weight.grad = tt.Tensor(np.array([-1.0]))
        optimizer.step()
        seen.append(weight.data.item())
    drawn = 5 * (1 - 0.95**5 * (5 / 7) ** 3)
    np.testing.assert_allclose(seen, [1, 2, 3, 4, drawn, drawn + 1, drawn])
