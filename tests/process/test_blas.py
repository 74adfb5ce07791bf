"""The choice of OpenBLAS's kernel: faster ones are taken, wrong, crashing and pointless ones are refused."""

from __future__ import annotations

import math
import platform
import subprocess
import sys

import numpy as np
import pytest

from tinytorch.environment import BlasInfo, MachineInfo
from tinytorch.environment import blas as present_blas
from tito.errors import RunError
from tito.process import blas, blas_probe
from tito.process.blas import Probe, choose_kernel, decide, run_probe

INHERITED = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512"}
OTHER = "Nehalem" if platform.machine() in ("x86_64", "AMD64") else "ARMV8"  # every such CPU can run it


def probes(kernel: str, *gflops: float, error: float = 5e-5) -> list[Probe]:
    """One that checked, and one for each figure that timed."""
    return [Probe(kernel, error=error), *(Probe(kernel, gflops=value) for value in gflops)]


HASWELL = probes("Haswell", 200.0, 190.0, 210.0)


@pytest.fixture(autouse=True)
def _inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own settings, which must reach the children if they are kept and must not if they are not."""
    for name, value in INHERITED.items():
        monkeypatch.setenv(name, value)


def test_a_faster_kernel_with_right_products_is_used() -> None:
    choice = decide(HASWELL, probes("SkylakeX", 380.0))
    assert choice.record.used == "SkylakeX"
    assert choice.record.default == "Haswell"
    assert choice.record.speedup == pytest.approx(1.9)
    assert choice.record.why == "SkylakeX is 1.9 times as fast as Haswell on one thread, and its products are correct"
    assert choice.environment == {"OPENBLAS_CORETYPE": "SkylakeX"}


def test_speed_is_the_median_so_that_one_busy_moment_decides_nothing() -> None:
    told = probes("SkylakeX", 380.0, 20.0, 390.0)
    assert decide(HASWELL, told).record.speedup == pytest.approx(1.9)


@pytest.mark.parametrize("gflops", [150.0, 200.0, 209.0])
def test_a_kernel_that_gains_less_than_5_percent_is_not_used(gflops: float) -> None:
    choice = decide(HASWELL, probes("SkylakeX", gflops))
    assert (choice.record.used, choice.record.speedup, choice.environment) == ("Haswell", None, INHERITED)
    assert "too little" in choice.record.why


@pytest.mark.parametrize("error", [0.5, math.nan, math.inf])
def test_a_fast_kernel_with_wrong_products_is_refused(error: float) -> None:
    choice = decide(HASWELL, probes("SkylakeX", error=error))
    assert (choice.record.used, choice.environment) == ("Haswell", INHERITED)
    assert "rejected: it computes wrong products" in choice.record.why


def test_a_kernel_that_crashes_is_refused_with_the_reason() -> None:
    choice = decide(HASWELL, [Probe(problem="crashed (SIGILL)")])
    assert choice.record.used == "Haswell"
    assert choice.record.why == "SkylakeX was rejected: it crashed (SIGILL)"


def test_a_present_kernel_with_wrong_products_gives_way() -> None:
    choice = decide(probes("Haswell", error=0.7), probes("SkylakeX"))
    assert choice.record.used == "SkylakeX"
    assert "wrong products" in choice.record.why
    assert choice.record.speedup is None


def test_no_right_kernel_is_an_error() -> None:
    with pytest.raises(RunError, match=r"no BLAS kernel can be used.*wrong products.*SkylakeX crashed"):
        decide(probes("Haswell", error=0.7), [Probe(problem="crashed (SIGSEGV)")])


def test_inherit_leaves_everything_and_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYTORCH_BLAS_KERNEL", "inherit")
    monkeypatch.setattr(blas, "run_probe", _not_called)
    choice = choose_kernel()
    assert choice.environment == INHERITED
    assert choice.record.used == choice.record.default == present_blas().kernel


@pytest.mark.parametrize(
    ("info", "features", "why"),
    [
        (BlasInfo("accelerate", "unknown", "unknown", None), ("avx512f",), "accelerate, which has no choice"),
        (BlasInfo("OpenBLAS", "0.3", "Haswell", 2), ("avx2",), "no AVX-512"),
    ],
)
def test_where_nothing_can_be_gained_nothing_is_measured(
    info: BlasInfo, features: tuple[str, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(monkeypatch, info, features)
    monkeypatch.setattr(blas, "run_probe", _not_called)
    choice = choose_kernel()
    assert choice.record.speedup is None
    assert choice.environment == INHERITED
    assert why in choice.record.why


def test_a_kernel_that_needs_no_rival_is_still_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, BlasInfo("OpenBLAS", "0.3", "SkylakeX", 2), ("avx512f",))
    monkeypatch.setattr(blas, "run_probe", lambda variables, question: Probe("SkylakeX", error=5e-5))
    assert "already in use" in choose_kernel().record.why
    monkeypatch.setattr(blas, "run_probe", lambda variables, question: Probe("SkylakeX", error=0.5))
    with pytest.raises(RunError, match=r"SkylakeX computes wrong products.*TINYTORCH_BLAS_KERNEL=Haswell"):
        choose_kernel()


def test_checks_come_first_and_timed_probes_are_interleaved(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = "Haswell", "SkylakeX"
    asked: list[tuple[str, str]] = []

    def probe(variables: dict[str, str], question: blas.Question) -> Probe:
        kernel = variables["OPENBLAS_CORETYPE"]
        asked.append((kernel, question))
        return Probe(kernel, gflops=400.0 if kernel == new else 200.0)

    _pretend(monkeypatch, BlasInfo("OpenBLAS", "0.3", "Haswell", 2), ("avx512f",))
    monkeypatch.setattr(blas, "run_probe", probe)
    assert choose_kernel().record.speedup == pytest.approx(2.0)
    assert asked[:2] == [(old, "error"), (new, "error")]
    assert asked[2:] == [(kernel, "gflops") for kernel in (old, new, new, old, old, new)]


def test_a_kernel_with_wrong_products_is_not_even_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def probe(variables: dict[str, str], question: blas.Question) -> Probe:
        asked.append(question)
        return Probe("any", error=1.0 if variables["OPENBLAS_CORETYPE"] == "SkylakeX" else 0.0)

    _pretend(monkeypatch, BlasInfo("OpenBLAS", "0.3", "Haswell", 2), ("avx512f",))
    monkeypatch.setattr(blas, "run_probe", probe)
    assert choose_kernel().environment == INHERITED
    assert asked == ["error", "error"]


def test_a_forced_kernel_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYTORCH_BLAS_KERNEL", "Skylark")
    monkeypatch.setattr(blas, "run_probe", lambda variables, question: Probe("Haswell", 5e-5))
    with pytest.raises(RunError, match="TINYTORCH_BLAS_KERNEL=Skylark: OpenBLAS used Haswell instead"):
        choose_kernel()


def test_a_forced_kernel_with_wrong_products_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYTORCH_BLAS_KERNEL", "SkylakeX")
    monkeypatch.setattr(blas, "run_probe", lambda variables, question: Probe("SkylakeX", 0.3))
    with pytest.raises(RunError, match="it computes wrong products"):
        choose_kernel()


@pytest.mark.skipif(present_blas().threads is None, reason="NumPy's BLAS here is not its bundled OpenBLAS")
def test_a_forced_kernel_is_the_one_the_children_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYTORCH_BLAS_KERNEL", present_blas().kernel)
    choice = choose_kernel()
    told = run_probe(choice.environment, "gflops")
    assert told.problem is None
    assert told.kernel == choice.record.used == present_blas().kernel
    assert told.gflops > 0


@pytest.mark.parametrize("exit_line", ["import os; os.kill(os.getpid(), 4)", "raise SystemExit('no kernel')"])
def test_a_probe_that_dies_says_how(exit_line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run
    command = [sys.executable, "-c", exit_line]
    monkeypatch.setattr(subprocess, "run", lambda _, **options: run(command, **options))
    assert run_probe({}, "error").problem in ("crashed (Illegal instruction)", "exited with code 1 (no kernel)")


def test_a_probe_that_a_real_time_signal_ends_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 40)"]
    monkeypatch.setattr(subprocess, "run", lambda _, **options: run(command, **options))
    assert (run_probe({}, "error").problem or "").startswith("crashed (")


def test_a_probe_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run
    monkeypatch.setattr(blas, "SECONDS", 0.2)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(subprocess, "run", lambda _, **options: run(command, **options))
    assert "did not answer" in (run_probe({}, "error").problem or "")


@pytest.mark.skipif(present_blas().threads is None, reason="NumPy's BLAS here is not its bundled OpenBLAS")
def test_a_probe_has_none_of_the_inherited_kernel_variables() -> None:
    """The fixture's OPENBLAS_L2_SIZE and Haswell would reach the process otherwise."""
    told = run_probe({"OPENBLAS_CORETYPE": OTHER}, "error")
    assert told.kernel == OTHER


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_right_products_pass_the_check() -> None:
    assert blas_probe.worst_error() < blas.TOLERANCE


@pytest.mark.parametrize("wrong", [0.5, -3.0, np.nan])
def test_one_wrong_entry_in_a_product_fails_the_check(wrong: float) -> None:
    class Faulty(np.ndarray):
        """A matrix whose products are wrong in one entry."""

        def __matmul__(self, other: np.ndarray) -> np.ndarray:  # type: ignore[override]
            product = np.asarray(self) @ other
            product[17, 33] += wrong
            return product

    A, B = normal(60, 70), normal(70, 80)
    assert blas_probe.relative_error(A, B) < blas.TOLERANCE
    assert not blas_probe.relative_error(A.view(Faulty), B) <= 10 * blas.TOLERANCE


def _pretend(monkeypatch: pytest.MonkeyPatch, info: BlasInfo, features: tuple[str, ...]) -> None:
    """As if on such a machine."""
    monkeypatch.delenv("TINYTORCH_BLAS_KERNEL", raising=False)
    monkeypatch.setattr(blas, "blas", lambda: info)
    monkeypatch.setattr(blas, "machine", lambda: MachineInfo("CPU", 2, 2**33, "Linux", features, "0" * 12))


def _not_called(variables: dict[str, str], question: blas.Question) -> Probe:
    raise AssertionError("nothing should be measured here")
