"""Where the time of sampled stacks went: shares of BLAS, NumPy, Python, and others, and the functions themselves.

A sample counts for its innermost frame only: a function's own time, without what it calls. Pure functions of a record.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from tito.bench.record import Stacks

MOST = 10  # functions that are listed

ALLOCATING = re.compile(
    r"^_*(int_)?(malloc|free|calloc|realloc|memalign|posix_memalign|mmap|munmap|mremap|madvise|brk|sbrk)\w*$"
    r"|^(sysmalloc|systrim|arena_get\w*|unlink_chunk|PyDataMem_\w+|npy_(alloc|free)\w*|default_(malloc|free|calloc)"
    r"|_?Py(Object|Mem)_(Raw)?(Malloc|Free|Calloc|Realloc)|pymalloc\w*|tcache\w*)(\.\w+)*$"
)
# The kind of code by its library, first match; a frame without a library is a Python function.
LIBRARIES = (
    ("BLAS", re.compile(r"blas|mkl|libblis|accelerate|veclib", re.IGNORECASE)),
    ("oneDNN", re.compile(r"dnnl")),
    ("OpenMP", re.compile(r"lib[gi]?omp")),
    ("NumPy", re.compile(r"(^|/)numpy/|_multiarray_umath|_umath_linalg|pocketfft")),
    # The interpreter, its C modules (the only compiled code here that names its source files), and libffi of ctypes
    ("Python", re.compile(r"libpython|(^|/)python[\d.]*$|\.(py|[ch])(:\d+)?$|^<(?!generated)|lib-dynload|libffi")),
    ("libc", re.compile(r"lib(c|m|pthread|rt|dl)[-.\d]*\.so|ld-linux|ld-musl|libsystem|\[vdso\]")),
    ("generated code", re.compile("^<generated>$")),  # as by oneDNN, which compiles its kernels when it needs them
    ("other compiled code", re.compile("")),
)
ALLOCATION = "allocation"
FRAME = re.compile(r"^(?P<function>.*?) \((?P<file>[^()]*)\)$")


@dataclass(frozen=True)
class OwnTime:
    """A function's share of the samples, without what it calls."""

    function: str
    file: str  # its library, or the file of a Python function
    kind: str
    share: float


def shares(stacks: Stacks) -> dict[str, float]:
    """Return the share of each kind of code in the samples, largest first; empty without frames of compiled code."""
    if not stacks.native:
        return {}
    counts: Counter[str] = Counter()
    for stack, n in stacks.collapsed:
        counts[kind_of(stack.rpartition(";")[2])] += n
    total = counts.total()
    return {kind: n / total for kind, n in counts.most_common()}


def functions(stacks: Stacks, most: int = MOST) -> list[OwnTime]:
    """Return the functions with the most time of their own, longest first."""
    counts: Counter[str] = Counter()
    for stack, n in stacks.collapsed:
        counts[stack.rpartition(";")[2]] += n
    total = counts.total()
    return [_own_time(frame, n / total) for frame, n in counts.most_common(most)]


def kind_of(frame: str) -> str:
    """Return the kind of code that a frame runs.

    >>> kind_of("sgemm_kernel_SKYLAKEX (libscipy_openblas64_-32a4b2a6.so)")
    'BLAS'
    >>> kind_of("_int_malloc (libc.so.6)")
    'allocation'
    """
    function, file = _parts(frame)
    if ALLOCATING.match(function) and not file.endswith(".py"):
        return ALLOCATION
    return next(kind for kind, pattern in LIBRARIES if pattern.search(file))


def _own_time(frame: str, share: float) -> OwnTime:
    function, file = _parts(frame)
    return OwnTime(function, re.sub(r":\d+$", "", file), kind_of(frame), share)


def _parts(frame: str) -> tuple[str, str]:
    match = FRAME.match(frame)
    return (match["function"], match["file"]) if match else (frame, "")
