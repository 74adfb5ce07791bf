"""What TinyTorch is compared with: the rivals' names in a work and in the table, and what each of them needs."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

# The functions of a work, in the order of the table. Their names begin with the package's key.
TITLES = {
    "onnxruntime": "ONNX Runtime",
    "pytorch": "PyTorch",
    "pytorch_channels_last": "PyTorch, channels-last",
    "pytorch_compiled": "PyTorch, torch.compile",
    "pytorch_autocast": "PyTorch, bfloat16",
    "tinytorch_float32": "TinyTorch, FP32",
}
PACKAGES = {"onnxruntime": ("onnx", "onnxruntime"), "pytorch": ("torch",), "tinytorch": ()}
NAMES = {"onnx": "ONNX", "onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
THREADS = "OMP_NUM_THREADS"  # pinned for every contender, and read by each library or passed to it


# Settings that suit TinyTorch's own mix of OpenBLAS and oneDNN. They would slow PyTorch down, whose threads wait by
# spinning: with GOMP_SPINCOUNT, an MLP took 194 to 202 µs for one image, and 37 to 40 µs with PyTorch's default.
OWN_SETTINGS = ("GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT")


def settings(contender: str, pinned: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a contender: a rival gets the same threads and allocator, and else its own defaults.

    >>> settings("pytorch", {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "2000"})
    {'OMP_NUM_THREADS': '2'}
    """
    own = contender.startswith("tinytorch")
    return {name: value for name, value in pinned.items() if own or name not in OWN_SETTINGS}


def packages(rival: str) -> tuple[str, ...]:
    """Return the packages that a rival imports.

    >>> packages("pytorch_channels_last")
    ('torch',)
    """
    return PACKAGES[rival.partition("_")[0]]


def lacks_compiler(rival: str) -> str | None:
    """Return why `torch.compile` cannot be used, in one line; None if it can, or if the rival does not use it."""
    compiler = os.environ.get("CXX", "g++")
    if rival != "pytorch_compiled" or shutil.which(compiler):
        return None
    return f"torch.compile needs a C++ compiler, and {compiler} is not installed here"


def threads() -> int:
    """Return the number of threads that the parent pinned for this process."""
    return int(os.environ[THREADS])


def library(contender: str) -> tuple[str, int]:
    """Return the library of a contender with its version, and the threads that it uses. Call it where it was timed."""
    if contender.startswith("pytorch"):
        torch = importlib.import_module("torch")
        return f"PyTorch {torch.__version__}", int(torch.get_num_threads())
    if contender.startswith("onnxruntime"):
        return f"ONNX Runtime {version('onnxruntime')}", threads()
    from tinytorch.native import backend

    return f"TinyTorch {_own_version()} with {backend.backend()}", threads()


def _own_version() -> str:
    try:
        return version("tinytorch-bench")
    except PackageNotFoundError:
        import tinytorch

        return tinytorch.__version__
