"""A small stand-in for MNIST, and a way to run a program with it.

    python tests/stand_ins.py examples/train_mnist.py --epochs 1

runs the program as `python examples/train_mnist.py --epochs 1` would, except that `datasets.mnist()` returns what this
file makes up. The real data sets are checked against pinned hashes at every load, so a small copy cannot take their
place in the cache folder. With the stand-in a test needs no network; what it shows is that the program runs, not how
well the real data is learned.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np

from tinytorch import datasets


def mnist(train: int = 3000, test: int = 500) -> datasets.MNIST:
    """Return ten blurred patterns with noise: the types and the axes of MNIST, and fewer images."""
    rng = np.random.default_rng(1986)
    patterns = rng.random((10, 7, 7)).repeat(4, axis=1).repeat(4, axis=2)  # (10, 28, 28)
    labels = rng.integers(0, 10, train + test)
    noise = rng.random((train + test, 28, 28))
    images = (255 * (0.5 * patterns[labels] + 0.5 * noise)).astype(np.uint8)
    return datasets.MNIST(images[:train], labels[:train], images[train:], labels[train:])


if __name__ == "__main__":
    datasets.mnist = lambda *arguments, **named: mnist()
    program = Path(sys.argv[1])
    sys.argv = sys.argv[1:]
    runpy.run_path(str(program), run_name="__main__")
