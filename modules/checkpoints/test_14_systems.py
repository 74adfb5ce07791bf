"""Checkpoint 14: can I profile performance? Half the bytes, 10 times the speed, a quarter of the file, 90% zeros."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinytorch.acceleration import blocked, inner_products, loops, trace
from tinytorch.activations import ReLU
from tinytorch.autograd import no_grad
from tinytorch.base.random import manual_seed
from tinytorch.caching import generate
from tinytorch.compression import GradualPruning, sparsity_of
from tinytorch.layers import Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.mixed_precision import GradScaler, autocast
from tinytorch.optimizers import Adam
from tinytorch.quantized.models import quantize_dynamic
from tinytorch.saved.folder import saved_bytes
from tinytorch.saved.writing import save_model
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT


def clusters(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 64) around four centers, and the number of the center."""
    centers = np.random.default_rng(0).standard_normal((4, 64))
    labels = np.arange(count) % 4
    noise = np.random.default_rng(seed).normal(0, 0.7, (count, 64))
    return (centers[labels] + noise).astype(np.float32), labels


def network() -> Sequential:
    manual_seed(0)
    return Sequential(Linear(64, 64), ReLU(), Linear(64, 4))  # equal fan-in: weights of comparable size


def train(model: Sequential, steps: int, after: Callable[[], None] = lambda: None) -> Sequential:
    x, labels = clusters(200, seed=1)
    optimizer = Adam(model.parameters(), lr=0.003)
    for _ in range(steps):
        optimizer.zero_grad()
        CrossEntropyLoss()(model(Tensor(x)), labels).backward()
        optimizer.step()
        after()
    return model.eval()


def accuracy(model: Callable[[Tensor], Tensor]) -> float:
    x, labels = clusters(200, seed=2)
    with no_grad():
        return float((model(Tensor(x)).numpy().argmax(axis=1) == labels).mean())


def test_mixed_precision_needs_half_the_bytes_for_activations() -> None:
    model, (x, labels) = network(), clusters(200, seed=1)
    optimizer, scaler = Adam(model.parameters(), lr=0.003), GradScaler()
    hidden = model[0](Tensor(x)).data.nbytes
    with autocast("float16"):
        assert model[0](Tensor(x)).data.nbytes == hidden / 2
    for _ in range(20):
        optimizer.zero_grad()
        with autocast("float16"):
            loss = CrossEntropyLoss()(model(Tensor(x)), labels)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    assert all(parameter.dtype == np.float32 for parameter in model.parameters())
    assert accuracy(model.eval()) >= 0.97


def seconds(f: Callable[[np.ndarray, np.ndarray], np.ndarray], a: np.ndarray, b: np.ndarray) -> float:
    """Return the shortest of three times, after a call that warms up."""
    f(a, b)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        f(a, b)
        times.append(time.perf_counter() - began)
    return min(times)


def test_a_product_without_python_loops_is_ten_times_as_fast() -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal((96, 96)).astype(np.float32) for _ in range(2))
    for f in (loops, inner_products, blocked):
        np.testing.assert_allclose(f(a, b), a @ b, rtol=1e-3, atol=1e-3)
    assert seconds(loops, a, b) > 10 * seconds(blocked, a, b)


def test_a_traced_network_returns_what_the_network_does() -> None:
    model, (x, _) = train(network(), 5), clusters(8, seed=4)
    predict = trace(model)
    with no_grad():
        np.testing.assert_allclose(predict(x), model(Tensor(x)).numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(predict(x + 1), model(Tensor(x + 1)).numpy(), rtol=1e-5, atol=1e-6)


def test_eight_bits_need_27_percent_of_the_file(tmp_path: Path) -> None:
    wide = Sequential(Linear(256, 512), ReLU(), Linear(512, 256))  # the biases and the description count little
    save_model(wide, tmp_path / "float32")
    save_model(quantize_dynamic(wide), tmp_path / "int8")
    assert saved_bytes(tmp_path / "int8") <= 0.27 * saved_bytes(tmp_path / "float32")


def test_eight_bits_answer_as_well() -> None:
    model = train(network(), 30)
    assert accuracy(quantize_dynamic(model).eval()) >= accuracy(model) - 0.01


def test_a_network_with_90_percent_zeros_still_answers() -> None:
    model = train(network(), 20)
    before = accuracy(model)
    assert before >= 0.97
    optimizer = GradualPruning(Adam(model.parameters(), lr=0.003), model, 0.9, steps=60, every=5)
    x, labels = clusters(200, seed=1)
    for _ in range(100):
        optimizer.zero_grad()
        CrossEntropyLoss()(model.train()(Tensor(x)), labels).backward()
        optimizer.step()
    assert sparsity_of(model) == pytest.approx(0.9, abs=1e-3)
    assert accuracy(model.eval()) >= before - 0.01


def test_a_cache_writes_the_same_tokens() -> None:
    manual_seed(0)
    model = GPT(20, block_size=16, n_layer=2, n_head=2, n_embd=16).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data * 4  # clear differences between logits
    prompt = np.array([3, 1, 4])
    for settings in ({"temperature": 0.0}, {"temperature": 0.8, "top_k": 5, "seed": 1, "hop": 4}):
        cached = generate(model, prompt, 30, **settings)  # type: ignore[arg-type]
        np.testing.assert_array_equal(cached, model.generate(prompt, 30, **settings))  # type: ignore[arg-type]
