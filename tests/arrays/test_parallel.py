"""Module 09: splitting a batch between threads, with a fake BLAS that records its thread settings."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tinytorch.arrays import parallel
from tinytorch.base.random import manual_seed
from tinytorch.layers import Sequential
from tinytorch.spatial import BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Tensor

LARGE = np.empty((21, parallel.SMALLEST // 8), np.uint8)
HALVES = [(0, 10), (10, 21)]


class Blas:
    """A fake BLAS with two threads. `log` records its thread settings, and the entries that a test adds."""

    def __init__(self) -> None:
        self.threads = 2
        self.log: list[object] = []

    def set_threads(self, count: int) -> None:
        self.log.append(count)


@pytest.fixture
def blas(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blas]:
    fake = Blas()
    monkeypatch.setattr(parallel, "_blas", lambda: fake)
    monkeypatch.setattr(parallel, "_turn", threading.Lock())
    parallel._pool.cache_clear()
    yield fake
    parallel._pool.cache_clear()


def part(begin: int, end: int) -> tuple[int, int]:
    return begin, end


def test_parts_are_returned_in_order_and_cover_the_batch(blas: Blas) -> None:
    assert parallel.in_parallel(LARGE, part) == HALVES
    values = np.arange(21 * parallel.SMALLEST // 8).reshape(21, -1)
    assert sum(parallel.in_parallel(values, lambda begin, end: values[begin:end].sum())) == values.sum()


def test_each_part_runs_in_its_own_thread_with_single_threaded_blas(blas: Blas) -> None:
    def work(begin: int, end: int) -> int:
        blas.log.append("work")
        return threading.get_ident()

    assert len(set(parallel.in_parallel(LARGE, work))) == 2
    assert blas.log == [1, "work", "work", 2]
    assert not parallel._turn.locked()


def test_small_batch_is_one_part_with_single_threaded_blas(blas: Blas) -> None:
    assert parallel.in_parallel(np.empty((21, 2)), part) == [(0, 21)]
    assert blas.log == [1, 2]


def test_fewer_samples_than_threads_are_left_to_blas(blas: Blas) -> None:
    assert parallel.in_parallel(np.empty((1, parallel.SMALLEST)), part) == [(0, 1)]
    assert blas.log == []


def test_parts_are_the_same_when_nested_and_while_another_thread_is_running(blas: Blas) -> None:
    assert parallel.in_parallel(LARGE, lambda begin, end: parallel.in_parallel(LARGE, part)) == [HALVES, HALVES]
    assert blas.log == [1, 2]
    assert parallel._turn.acquire(blocking=False)
    assert parallel.in_parallel(LARGE, part) == HALVES
    assert blas.log == [1, 2]


@pytest.mark.parametrize("failing", [0, 10])
def test_error_is_raised_after_all_parts_finish_and_the_threads_are_restored(blas: Blas, failing: int) -> None:
    failed = threading.Event()

    def work(begin: int, end: int) -> None:
        if begin == failing:
            failed.set()
            raise ValueError(f"part from {begin}")
        failed.wait()
        time.sleep(0.05)
        blas.log.append("finished")

    with pytest.raises(ValueError, match=f"part from {failing}"):
        parallel.in_parallel(LARGE, work)
    assert blas.log == [1, "finished", 2]
    assert not parallel._turn.locked()


FORK = """
import os, signal, sys, threading, types
import numpy as np
from tinytorch.arrays import parallel

parallel._blas = lambda: types.SimpleNamespace(threads=2, set_threads=lambda count: None)
batch = np.empty((2, parallel.SMALLEST), np.uint8)
threads = lambda: len(set(parallel.in_parallel(batch, lambda begin, end: threading.get_ident())))
assert threads() == 2
if sys.argv[1] == "held":
    parallel._turn.acquire(blocking=False)
child = os.fork()
if not child:
    signal.alarm(20)  # terminates a child that hangs
    os._exit(0 if threads() == 2 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("lock", ["free", "held"])
def test_forked_child_has_its_own_pool_and_lock(lock: str) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, lock], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("channels", [2, 16])
def test_layers_return_the_same_values_in_two_parts(blas: Blas, monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    def results() -> list[np.ndarray]:
        manual_seed(0)
        rng = np.random.default_rng(9)
        net = Sequential(
            Conv2d(2, channels, 3, padding=1), Conv2d(channels, channels, 3), MaxPool2d(2), BatchNorm2d(channels)
        )
        x = Tensor(rng.standard_normal((9, 2, 10, 10)), requires_grad=True)
        y = net(x)
        y.backward(rng.standard_normal(y.shape))
        tensors = [x, *net.parameters()]
        gradients = [tensor.grad.data for tensor in tensors if tensor.grad is not None]
        assert len(gradients) == len(tensors)
        return [y.data, *gradients]

    whole = results()
    monkeypatch.setattr(parallel, "SMALLEST", 0)
    for one, split in zip(whole, results(), strict=True):
        np.testing.assert_allclose(split, one, atol=1e-5 * np.abs(one).max() + 1e-12)
