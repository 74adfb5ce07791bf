"""Module 15: oneDNN's primitives are freed when nobody needs them, by whichever thread, and a forked child may run."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tinytorch as tt
from tinytorch import kernels, onednn, onednn_bf16
from tinytorch.spatial import conv2d

ROOT = Path(__file__).parents[2]
BFLOAT16 = onednn.why_not() == "" and "bfloat16" in onednn.native_dtypes()
pytestmark = pytest.mark.skipif(bool(onednn.why_not()), reason=onednn.why_not() or "it is there")
with_bfloat16 = pytest.mark.skipif(not BFLOAT16, reason="no bfloat16 kernels here")


@pytest.fixture(autouse=True)
def _by_oneDNN() -> Iterator[None]:  # noqa: N802 (its name)
    before = kernels.backend()
    kernels.use_backend("onednn")
    yield
    kernels.use_backend(before)


def printed(program: str) -> str:
    """What a fresh process prints: a crash or a wait without end stays there."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_a_primitive_is_freed_without_the_garbage_collector() -> None:
    packed = kernels.pack(np.eye(4, dtype=np.float32))
    gc.collect()
    gc.disable()
    try:
        packed.product(np.ones((3, 4), np.float32))
        primitives = [weakref.ref(primitive) for primitive, _ in packed._prepared.values()]
        del packed
        assert [ref() for ref in primitives] == [None]
    finally:
        gc.enable()


@with_bfloat16
def test_kernels_for_ever_new_shapes_stay_bounded_without_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: weakref.WeakSet[onednn.Primitive] = weakref.WeakSet()
    prepare = onednn.Primitive.__init__

    def counted(self: onednn.Primitive, *settings: object) -> None:
        alive.add(self)
        prepare(self, *settings)  # type: ignore[arg-type]

    monkeypatch.setattr(onednn.Primitive, "__init__", counted)
    monkeypatch.setattr(onednn_bf16, "KEPT", 4)
    onednn_bf16._mine.made.clear()
    weight = tt.Tensor(np.ones((4, 3, 3, 3), np.float32), requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        for size in range(5, 30):
            with tt.autocast():
                y = conv2d(tt.Tensor(np.ones((1, 3, size, size), np.float32)), weight)
            y.backward(np.ones(y.shape))
        assert 4 <= len(alive) <= 4 * 6  # forward, two backward, three copiers
    finally:
        gc.enable()


FREED_BY_ANOTHER_THREAD = """
import gc, threading
import numpy as np
import tinytorch as tt
from tinytorch import kernels
from tinytorch.spatial import conv2d

kernels.use_backend("onednn")
gc.disable()
same = []

def train(width):
    x = tt.Tensor(np.ones((2, 4, 4, width), np.float32), requires_grad=True)
    w = tt.Tensor(np.ones((8, 4, 2, 5), np.float32), requires_grad=True)
    with tt.autocast():
        y = conv2d(x, w, stride=(1, 3), dilation=(1, 2))
    y.backward(np.ones(y.shape, np.float32))
    return w.grad.data

def train_while_anothers_kernels_are_freed():
    before = train(17)
    gc.collect()
    same.append(np.array_equal(train(17), before))

for work in (lambda: [train(width) for width in range(17, 24)], train_while_anothers_kernels_are_freed):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
print(same)
"""


@with_bfloat16
def test_kernels_may_be_freed_by_another_thread() -> None:
    assert printed(FREED_BY_ANOTHER_THREAD) == "[True]"


def test_scratch_memory_is_this_threads_and_grows() -> None:
    own = onednn._scratch.of_size(10)
    assert own.ctypes.data % 64 == 0
    assert onednn._scratch.of_size(own.size) is own
    larger = onednn._scratch.of_size(own.size + 1)
    assert larger.size >= 2 * own.size
    others: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: others.append(onednn._scratch.of_size(1)))
    thread.start()
    thread.join()
    assert not np.shares_memory(others[0], larger)


FORKED = """
import os
import numpy as np
import tinytorch as tt
from tinytorch import kernels
from tinytorch.quantized import QuantizedConv2d

kernels.use_backend("onednn")
ones = np.ones((512, 512), np.float32)
old, conv = kernels.pack(ones), QuantizedConv2d(64, 64, (3, 3), input_dtype="uint8")
conv.weight.data[:] = 1

def work():
    images = conv.accumulators(np.ones((8, 64, 32, 32), np.uint8))
    with tt.autocast():
        y = tt.Tensor(ones) @ tt.Tensor(ones)
    new = kernels.pack(np.ones((600, 700), np.int8)).product(np.ones((300, 700), np.int8))
    return [int(np.unique(part.astype(np.float32)).item()) for part in (old.product(ones), images, new, y.data)]

before = work()
child = os.fork()
if child == 0:
    os._exit(0 if work() == work() == before == [512, 576, 700, 512] else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), work() == before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_child_forked_after_use_gives_the_same_numbers() -> None:
    assert printed(FORKED) == "0 True"


@with_bfloat16
def test_one_owner_sets_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16's kernels and small products run on one thread, a large one on all, in whatever order."""
    threads = onednn.library()._openmp.omp_get_max_threads
    large, small = (kernels.pack(np.ones((size, size), np.float32)) for size in (512, 8))
    x = np.ones((512, 512), np.float32)
    seen: list[int] = []
    run = onednn.Primitive.run

    def watched(self: onednn.Primitive, *arrays: object) -> None:
        run(self, *arrays)  # type: ignore[arg-type]
        seen.append(threads())

    monkeypatch.setattr(onednn.Primitive, "run", watched)
    all_threads = onednn.library()._all_threads

    def half() -> None:
        with tt.autocast():
            tt.Tensor(x[:8]) @ tt.Tensor(x)

    large.product(x)  # which lays out its weight, too
    for work, expected in [(half, 1), (lambda: large.product(x), all_threads), (lambda: small.product(x[:8, :8]), 1),
                           (half, 1), (lambda: large.product(x), all_threads), (half, 1)]:  # fmt: skip
        seen.clear()
        work()
        assert seen
        assert set(seen) == {expected}
