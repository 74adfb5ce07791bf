"""tito.bench.owntime: whose code ran, by library and function, from stacks as py-spy writes them."""

from __future__ import annotations

import doctest

import pytest

from tito.bench import owntime
from tito.bench.owntime import functions, kind_of, shares
from tito.bench.record import Stacks

UMATH = "numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so"
BLAS = "libscipy_openblas64_-32a4b2a6.so"


def stacks(*collapsed: tuple[str, int], native: bool = True) -> Stacks:
    return Stacks(tool="py-spy", rate_hz=200, seconds=1.0, collapsed=list(collapsed), native=native)


def test_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(owntime).failed == 0


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (f"inner_thread ({BLAS})", "BLAS"),
        ("cblas_sgemm (libmkl_rt.so.2)", "BLAS"),
        ("dnnl::impl::cpu::x64::execute(int) const (libdnnl.so.3)", "oneDNN"),
        ("gomp_barrier_wait_end (libgomp.so.1)", "OpenMP"),
        (f"FLOAT_maximum_X86_V4 ({UMATH})", "NumPy"),
        (f"PyDataMem_UserNEW ({UMATH})", "allocation"),
        ("malloc (libc.so.6)", "allocation"),
        ("_int_free (libc-2.31.so)", "allocation"),
        ("memcpy (libc.so.6)", "libc"),
        ("in libc.so.6 (libc.so.6)", "libc"),
        ("served (workload.py:9)", "Python"),
        ("free (workload.py)", "Python"),
        ("<lambda> (tinytorch/layers.py)", "Python"),
        ("inner (<frozen posixpath>)", "Python"),
        ("gc_collect_main (libpython3.11.so.1.0)", "Python"),
        ("ffi_call (libffi.so.8.1.2)", "Python"),
        ("c_void_p_from_param (_ctypes.c:943)", "Python"),
        ("generated code (<generated>)", "generated code"),
        ("something (libjpeg.so.8)", "other compiled code"),
    ],
)
def test_a_frame_belongs_to_the_library_that_it_is_in(frame: str, kind: str) -> None:
    assert kind_of(frame) == kind


def test_a_sample_counts_for_its_innermost_frame_only() -> None:
    seen = stacks(
        (f"train (workload.py);matmul ({UMATH});sgemm_kernel ({BLAS})", 60),
        (f"train (workload.py);other (workload.py);sgemm_kernel ({BLAS})", 10),
        ("train (workload.py)", 20),
        ("train (workload.py);malloc (libc.so.6)", 10),
    )
    assert shares(seen) == {"BLAS": 0.7, "Python": 0.2, "allocation": 0.1}
    found = functions(seen)
    assert [(own.function, own.file, own.kind, own.share) for own in found] == [
        ("sgemm_kernel", BLAS, "BLAS", 0.7),
        ("train", "workload.py", "Python", 0.2),
        ("malloc", "libc.so.6", "allocation", 0.1),
    ]
    assert len(functions(seen, most=1)) == 1


def test_without_compiled_frames_there_are_no_shares() -> None:
    assert shares(stacks(("train (workload.py)", 5), native=False)) == {}
