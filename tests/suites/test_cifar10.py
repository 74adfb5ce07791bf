"""The suite 2012_cifar10: each model trained and evaluated on a few random images, and the optimizer."""

from __future__ import annotations

from itertools import pairwise
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
    "shift_rate": 1.0, "output_rate": 2.0, "filter_momentum": 0.6,
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
    answer = work.evaluate(model, images, parameters)
    assert all(np.array_equal(value.data, trained[key]) for key, value in model.state_dict().items())
    SeedRun(seed=1, metrics=answer["metrics"], curve=curve, exhibits=answer["exhibits"])
    assert set(answer["metrics"]) == set(load_suite(FOLDER).suite.metrics)
    assert answer["metrics"]["accuracy_single"] == curve[-1]["accuracy"]
    assert is_share_of(check_raw(answer["raw"]), answer["metrics"]["accuracy"])
    assert np.sum(answer["exhibits"][0]["counts"]) == 32
    queries = work.queries(images, parameters)
    assert work.predictor(model)(queries[:3]).shape == (3, 10)


def test_the_first_layers_bias_is_trained_in_the_first_epochs_only(work: Any) -> None:
    parameters = {**COMMON, "model": "airbench", "widths": WIDTHS["airbench"], "epochs": 3, "bias_epochs": 1}
    model, biases, steps = work.build(parameters, 1), [], []

    def report(done: int, total: int, **figures: float) -> None:
        biases.append(model[0].bias.data.copy())
        steps.append((done, total))

    work.train(model, data(work), parameters, 1, report)
    assert steps == [(done, 12) for done in range(1, 13)]
    assert all((a != b).any() for a, b in pairwise(biases[:4]))
    assert all((a == biases[3]).all() for a in biases[4:])


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16), (1, 5)])
def test_orthogonal_brings_singular_values_near_one_and_keeps_the_vectors(work: Any, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    left, _, right = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    values = np.linspace(0.5, 1, min(shape))
    found = work.orthogonal(1e3 * (left * values) @ right, steps=5)
    new = np.diag(left.T @ found @ right.T)
    np.testing.assert_allclose((left * new) @ right, found, atol=1e-6)  # the same vectors
    assert 0.6 < new.min() <= new.max() < 1.3
    assert (work.orthogonal(np.zeros(shape)) == 0).all()


@pytest.mark.parametrize("shape", [(64, 216), (64, 576), (256, 576)])
def test_three_steps_suffice_for_random_filters(work: Any, shape: tuple[int, int]) -> None:
    found = np.linalg.svd(work.orthogonal(np.random.default_rng(0).standard_normal(shape)), compute_uv=False)
    assert 0.65 < found.min() <= found.max() < 1.25


def test_muon_steps_are_those_of_its_formula(work: Any) -> None:
    rng = np.random.default_rng(0)
    filters, shift = (tt.Parameter(rng.standard_normal(shape)) for shape in ((4, 2, 3, 3), (4,)))
    groups = [
        {"params": [filters], "lr": 0.1, "momentum": 0.6, "orthogonal": True},
        {"params": [shift], "lr": 2.0, "weight_decay": 0.01},
    ]
    optimizer = work.Muon(groups, momentum=0.9)
    p, q = filters.data.copy(), shift.data.copy()
    v, w = np.zeros_like(p), np.zeros_like(q)
    for _ in range(3):
        g, h = rng.standard_normal(p.shape), rng.standard_normal(q.shape)
        filters.grad, shift.grad = tt.Tensor(g), tt.Tensor(h)
        optimizer.step()
        v = 0.6 * v + g
        step = work.orthogonal((g + 0.6 * v).reshape(4, 18)).reshape(p.shape)
        p = p * 2 / np.sqrt((p**2).sum()) - 0.1 * step
        h = h + 0.01 * q
        w = 0.9 * w + h
        q = q - 2.0 * (h + 0.9 * w)
    np.testing.assert_allclose(filters.data, p, rtol=1e-6)
    np.testing.assert_allclose(shift.data, q, rtol=1e-6)
