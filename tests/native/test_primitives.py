"""Module 15: oneDNN's primitives are freed when they are no longer used, by any thread; a forked child may run them;
and they read only arrays of a supported dtype and layout.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base import dtypes
from tinytorch.native import bf16, images, kept, library, products
from tinytorch.native import primitives as dnn
from tinytorch.spatial import conv2d, slide

ROOT = Path(__file__).parents[2]
BFLOAT16 = library.why_not() == "" and "bfloat16" in library.native_dtypes()
pytestmark = [
    pytest.mark.skipif(bool(library.why_not()), reason=library.why_not() or "available"),
    pytest.mark.usefixtures("onednn"),
]
with_bfloat16 = pytest.mark.skipif(not BFLOAT16, reason="no native bfloat16 kernels here")


def printed(program: str) -> str:
    """Return the output of a fresh process, which isolates a crash or a deadlock."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_primitive_is_freed_without_the_garbage_collector() -> None:
    packed = products.pack(np.eye(4, dtype=np.float32))
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
def test_number_of_kernels_stays_bounded_without_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: weakref.WeakSet[dnn.Primitive] = weakref.WeakSet()
    prepare = dnn.Primitive.__init__

    def counted(self: dnn.Primitive, *settings: object) -> None:
        alive.add(self)
        prepare(self, *settings)  # type: ignore[arg-type]

    monkeypatch.setattr(dnn.Primitive, "__init__", counted)
    monkeypatch.setattr(kept, "KEPT", 4)
    kept._mine.made.clear()
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
from tinytorch.native.backend import use_backend
from tinytorch.spatial import conv2d

use_backend("onednn")
gc.disable()
same = []

def train(width):
    x = tt.Tensor(np.ones((2, 4, 4, width), np.float32), requires_grad=True)
    w = tt.Tensor(np.ones((8, 4, 2, 5), np.float32), requires_grad=True)
    with tt.autocast():
        y = conv2d(x, w, stride=(1, 3), dilation=(1, 2))
    y.backward(np.ones(y.shape, np.float32))
    return w.grad.data

def train_while_kernels_of_another_thread_are_freed():
    before = train(17)
    gc.collect()
    same.append(np.array_equal(train(17), before))

for work in (lambda: [train(width) for width in range(17, 24)], train_while_kernels_of_another_thread_are_freed):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
print(same)
"""


@with_bfloat16
def test_kernels_can_be_freed_by_another_thread() -> None:
    assert printed(FREED_BY_ANOTHER_THREAD) == "[True]"


def test_scratch_memory_belongs_to_the_thread_and_grows() -> None:
    scratch = dnn._Scratch()
    scratch.grow(10)
    own = scratch.room
    assert own.ctypes.data % 64 == 0
    scratch.grow(9)
    assert scratch.room is own
    scratch.grow(11)
    assert scratch.room.size == 20
    others: list[int] = []
    thread = threading.Thread(target=lambda: others.append(scratch.room.size))
    thread.start()
    thread.join()
    assert others == [0]


FORKED = """
import os
import numpy as np
import tinytorch as tt
from tinytorch.native.backend import use_backend
from tinytorch.native.products import pack
from tinytorch.quantized.layers import QuantizedConv2d

use_backend("onednn")
ones = np.ones((512, 512), np.float32)
old, conv = pack(ones), QuantizedConv2d(64, 64, (3, 3), input_dtype="uint8")
conv.weight.data[:] = 1

def work():
    images = conv.accumulators(np.ones((8, 64, 32, 32), np.uint8))
    with tt.autocast():
        y = tt.Tensor(ones) @ tt.Tensor(ones)
    new = pack(np.ones((600, 700), np.int8)).product(np.ones((300, 700), np.int8))
    return [int(np.unique(part.astype(np.float32)).item()) for part in (old.product(ones), images, new, y.data)]

before = work()
child = os.fork()
if child == 0:
    os._exit(0 if work() == work() == before == [512, 576, 700, 512] else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), work() == before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no fork")
def test_child_forked_after_use_computes_the_same_values() -> None:
    assert printed(FORKED) == "0 True"


@with_bfloat16
def test_kernels_set_their_own_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 kernels and small products run on one thread, large products on all, in any order."""
    threads = library.library()._openmp.omp_get_max_threads
    large, small = (products.pack(np.ones((size, size), np.float32)) for size in (512, 8))
    x = np.ones((512, 512), np.float32)
    counts: list[int] = []
    run = dnn.Primitive.run

    def watched(self: dnn.Primitive, *arrays: object) -> None:
        run(self, *arrays)  # type: ignore[arg-type]
        counts.append(threads())

    monkeypatch.setattr(dnn.Primitive, "run", watched)
    all_threads = library.library()._all_threads

    def half() -> None:
        with tt.autocast():
            tt.Tensor(x[:8]) @ tt.Tensor(x)

    large.product(x)  # also packs the weight
    for work, expected in [(half, 1), (lambda: large.product(x), all_threads), (lambda: small.product(x[:8, :8]), 1),
                           (half, 1), (lambda: large.product(x), all_threads), (half, 1)]:  # fmt: skip
        counts.clear()
        work()
        assert counts
        assert set(counts) == {expected}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Return values around 1 that bfloat16 and float16 represent exactly."""
    values = 1 + np.random.default_rng(seed).standard_normal(shape, np.float32) / 4
    return dtypes.to_float32(dtypes.to_bfloat16(values))


def with_parameters(layer: tt.Module, dtype: Any, first: bool) -> tt.Module:
    """Set parameters and statistics to values of this dtype; the first tensor stays float32 unless `first`."""
    for i, tensor in enumerate(layer.state_dict().values()):
        if tensor.data.dtype.kind == "f":
            tensor.data = numbers(*tensor.shape, seed=i).astype(dtype if i or first else np.float32)
    return layer


@with_bfloat16
@pytest.mark.parametrize("other", ["float64", "float16", ">f4"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: tt.Linear(8, 5), (4, 8)),
        (lambda: tt.Conv2d(3, 4, 3), (2, 3, 8, 8)),
        (lambda: tt.Conv2d(16, 16, 1), (2, 16, 4, 4)),
        (lambda: tt.BatchNorm2d(4), (2, 4, 6, 6)),
    ],
)
def test_parameters_of_other_dtypes_are_read_correctly(
    layer: Callable[[], tt.Module], shape: tuple[int, ...], training: bool, first: bool, other: str
) -> None:
    """A kernel that reads raw bytes would read a float64 as two float32, and read past the end of a float16 array."""
    found = []
    for dtype in ("float32", other):
        one = with_parameters(layer(), dtype, first).train(training)
        x = tt.Tensor(numbers(*shape, seed=9).astype(dtypes.bfloat16()), requires_grad=True)
        with tt.autocast():
            y = one(x)
        y.backward(numbers(*y.shape, seed=8))
        gradients = [tensor.grad.data for tensor in (x, *one.parameters()) if tensor.grad is not None]
        found.append([array.astype(np.float32) for array in (y.data, *gradients)])
    assert len(found[0]) == len(found[1]) == 4
    for expected, actual in zip(*found, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0.02, atol=0.02 * np.abs(expected).max() + 1e-3)


@with_bfloat16
def test_overlapping_rows_are_multiplied_correctly() -> None:
    """Row i begins at element i: oneDNN has no layout for rows that share memory."""
    line, other = (numbers(*shape).astype(dtypes.bfloat16()) for shape in ((40,), (16, 5)))
    windows = np.lib.stride_tricks.sliding_window_view(line, 16)
    for a, b in ((windows, other), (other.T, windows.T), (np.stack([windows] * 2), np.stack([other] * 2))):
        np.testing.assert_array_equal(bf16.product(a, b), bf16.product(a.copy(), b.copy()))


@with_bfloat16
def test_missing_bias_has_zero_gradient_not_uninitialized_memory() -> None:
    x, w = numbers(2, 5, 5, 3).astype(dtypes.bfloat16()), numbers(4, 3, 3, 3)
    window = slide("conv2d", tt.Tensor(x.transpose(0, 3, 1, 2)), (3, 3), (1, 1), (0, 0), (1, 1))
    np.full(4, 3e38, np.float32)  # freed at once: the next array of this size may reuse its memory
    _, _, db = images.convolution_backward(x[:, 1:4, 1:4], x, w, False, window, 1, False)
    np.testing.assert_array_equal(db, np.zeros(4, np.float32))
