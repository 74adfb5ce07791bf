"""Module 01, Setup: the machine, its BLAS, and the tuned environment."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

from tinytorch import environment
from tinytorch.base import openblas
from tinytorch.environment import BlasInfo, MachineInfo, blas, machine, parse_cpuinfo, tuned_environment

X86 = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd i8mm\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


# The cores ----------------------------------------------------------------------------------------------


def cores_on_linux(monkeypatch: pytest.MonkeyPatch, affinity: int, quota: str) -> int:
    """Return the cores that a Linux process may use, given how many it may run on and the text of its quota."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    monkeypatch.setattr(environment, "_read", lambda path: quota if path == "/sys/fs/cgroup/cpu.max" else "")
    return environment.usable_cores()


@pytest.mark.parametrize("affinity", [1, 3])
def test_cores_are_those_of_the_affinity(affinity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cores_on_linux(monkeypatch, affinity, "") == affinity


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("50000 100000", 1), ("150000 100000", 2), ("200000 100000", 2), ("max 100000", 8), ("1600000 100000", 8)],
)
def test_cores_are_limited_by_a_containers_quota(quota: str, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cores_on_linux(monkeypatch, 8, f"{quota}\n") == cores


@pytest.mark.parametrize(("count", "cores"), [(6, 6), (None, 1)])
def test_cores_of_other_systems_are_counted(count: int | None, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert environment.usable_cores() == cores


@pytest.mark.beyond
@pytest.mark.skipif(sys.platform != "linux", reason="affinity is read on Linux only")
def test_cores_are_limited_by_affinity() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from tinytorch.environment import machine; print(machine().cores)"
    )
    assert _python(code).strip() == "1"


# The processor ------------------------------------------------------------------------------------------


def test_cpuinfo_of_x86_gives_model_and_flags() -> None:
    assert parse_cpuinfo(X86) == ("Some CPU @ 2.0GHz", {"fpu", "avx2", "avx512f", "avx512_bf16"})


def test_cpuinfo_describes_the_first_of_several_cores() -> None:
    second = X86.replace("Some", "Other").replace("avx2", "avx")
    assert parse_cpuinfo(f"{X86}\n{second}") == parse_cpuinfo(X86)


def test_cpuinfo_of_arm_gives_part_and_features() -> None:
    assert parse_cpuinfo(ARM) == ("CPU implementer 0x41 CPU part 0xd40", {"fp", "asimd", "i8mm"})


def test_cpuinfo_without_a_model_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert parse_cpuinfo("") == ("unknown", set())
    monkeypatch.setattr(platform, "processor", lambda: "some processor")
    assert parse_cpuinfo("processor\t: 0\n") == ("some processor", set())


# The machine --------------------------------------------------------------------------------------------


def test_machine_has_cores_memory_and_a_name() -> None:
    info = machine()
    assert isinstance(info, MachineInfo)
    assert info.cores == environment.usable_cores() >= 1
    assert info.cpu
    assert info.system == f"{platform.system()} {platform.machine()}"
    assert set(info.features) <= set(environment.FEATURES)


def test_machine_has_the_known_features_from_narrow_to_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"avx512f", "fpu", "avx2", "sse4_2", "something"}
    monkeypatch.setattr(environment, "_read_cpu", lambda: ("CPU", flags, 2**33))
    info = machine()
    assert info.features == ("sse4_2", "avx2", "avx512f")
    assert (info.cpu, info.memory_bytes) == ("CPU", 2**33)


def test_fingerprint_is_stable_and_short() -> None:
    assert machine().fingerprint == machine().fingerprint
    assert len(machine().fingerprint) == 12
    int(machine().fingerprint, 16)


@pytest.mark.parametrize("changed", [("Other", set(), 2**33), ("CPU", {"avx2"}, 2**33), ("CPU", set(), 2**35)])
def test_fingerprint_distinguishes_machines(
    changed: tuple[str, set[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_read_cpu", lambda: ("CPU", set(), 2**33))
    before = machine().fingerprint
    monkeypatch.setattr(environment, "_read_cpu", lambda: changed)
    assert machine().fingerprint != before


def test_fingerprint_distinguishes_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine().fingerprint
    monkeypatch.setattr(platform, "system", lambda: "Plan 9")
    monkeypatch.setattr(environment, "_read_cpu", lambda: ("CPU", set(), 2**33))
    assert machine().fingerprint != before


def test_fingerprint_ignores_a_few_megabytes_for_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_read_cpu", lambda: ("CPU", set(), 2**33))
    before = machine()
    monkeypatch.setattr(environment, "_read_cpu", lambda: ("CPU", set(), 2**33 - 2**23))
    assert machine().fingerprint == before.fingerprint
    assert machine().memory_bytes < before.memory_bytes


def test_fingerprint_depends_on_the_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine()
    monkeypatch.setattr(environment, "usable_cores", lambda: before.cores + 1)
    assert machine().cores == before.cores + 1
    assert machine().fingerprint != before.fingerprint


@pytest.mark.beyond
def test_machine_reports_its_memory() -> None:
    assert machine().memory_bytes > 2**28


@pytest.mark.beyond
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="compares x86 features")
def test_features_agree_with_numpy() -> None:
    features = import_module("numpy._core._multiarray_umath").__cpu_features__
    assert ("avx2" in machine().features) == features["AVX2"]
    assert ("avx512f" in machine().features) == features["AVX512F"]


def test_unsupported_systems_are_described_as_far_as_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    info = machine()
    assert isinstance(info, MachineInfo)
    assert info.memory_bytes == 0
    assert info.features == ()


def test_macos_is_read_through_sysctl(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "machdep.cpu.brand_string": "Apple M9",
        "hw.memsize": str(2**34),
        "hw.optional.arm.FEAT_BF16": "1",
        "hw.optional.arm.FEAT_I8MM": "0",
    }
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(environment, "_sysctl", lambda name: values.get(name, ""))
    info = machine()
    assert (info.cpu, info.memory_bytes, info.features) == ("Apple M9", 2**34, ("neon", "asimd", "bf16"))


def test_blas_names_the_library() -> None:
    info = blas()
    assert info.library
    assert info.kernel
    assert info.threads is None or info.threads >= 1


@pytest.mark.beyond
def test_blas_reports_the_requested_kernel_and_threads() -> None:
    if blas().threads is None:
        pytest.skip("NumPy does not use its bundled OpenBLAS here")
    code = "from tinytorch.environment import blas; b = blas(); print(b.library, b.kernel, b.threads)"
    told = _python(code, OPENBLAS_CORETYPE=_other_kernel(), OPENBLAS_NUM_THREADS="1").split()
    assert told == ["OpenBLAS", _other_kernel(), "1"]


def _other_kernel() -> str:
    """Return a kernel that every CPU of this architecture can run and that is rarely the default."""
    return "Nehalem" if platform.machine() in ("x86_64", "AMD64") else "ARMV8"


def test_another_blas_is_unknown_rather_than_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openblas, "bundled", list)
    config = {"Build Dependencies": {"blas": {"name": "accelerate", "version": "unknown"}}}
    monkeypatch.setattr(np, "show_config", lambda mode: config)
    assert blas() == BlasInfo("accelerate", "unknown", "unknown", None)


def test_library_that_cannot_be_opened_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    broken = environment.Path(str(tmp_path)) / "libscipy_openblas64_.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(openblas, "bundled", lambda: [broken])
    assert blas().kernel == "unknown"


# The tuned environment ----------------------------------------------------------------------------------

TUNED = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "3"),
    "VECLIB_MAXIMUM_THREADS": "3",
    "OPENBLAS_THREAD_TIMEOUT": "20",
    "GOMP_SPINCOUNT": "2000",
}


def test_tuned_threads_equal_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    assert tuned_environment(3) == TUNED


def test_tuned_allocator_is_set_only_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    tuned = tuned_environment(3)
    assert tuned.keys() - TUNED.keys() == {
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
        "MALLOC_TOP_PAD_",
    }
    assert all(isinstance(value, str) for value in tuned.values())
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not any(name.startswith("MALLOC") for name in tuned_environment(3))


def test_tuned_environment_needs_at_least_one_core() -> None:
    with pytest.raises(ValueError, match="cores must be at least 1, not 0"):
        tuned_environment(0)
    assert tuned_environment(1)["OMP_NUM_THREADS"] == "1"


@pytest.mark.beyond
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the thresholds are glibc's")
def test_tuned_allocator_avoids_page_faults() -> None:
    """The purpose of the thresholds: allocating an 8 MB array 20 times causes its page faults only once."""
    code = (
        "import numpy as np, resource; f = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt;"
        "x = np.ones(2**21, np.float32); y = x * 2; del y; before = f()\n"
        "for _ in range(20): y = x * 2; del y\n"
        "print(f() - before)"
    )
    usual = int(_python(code, MALLOC_MMAP_THRESHOLD_="131072"))
    tuned = int(_python(code, **tuned_environment(1)))
    assert tuned * 10 < usual


@pytest.mark.beyond
def test_import_starts_no_process_and_needs_only_numpy() -> None:
    code = (
        "import sys; seen = ('subprocess.Popen', 'os.fork', 'os.posix_spawn')\n"
        "sys.addaudithook(lambda event, _: print(event) if event in seen else None)\n"
        "import tinytorch.environment\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'tito', 'rich', 'pydantic', 'psutil'}))"
    )
    assert _python(code).strip() == "[]"


def _python(code: str, **variables: str) -> str:
    """Return the output of a fresh Python process started with these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS", "MALLOC"))}
    path = os.pathsep.join(entry for entry in (kept.get("PYTHONPATH", ""), *sys.path) if entry)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"PYTHONPATH": path} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
