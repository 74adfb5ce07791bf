"""What the doctor says of a machine, good or bad, and what it advises."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tinytorch.base.errors import SettingError
from tinytorch.environment import BlasInfo, MachineInfo, machine
from tinytorch.native.library import NOT_INSTALLED
from tito import doctor
from tito.data import DataState
from tito.errors import RunError
from tito.process.backend import BackendChoice
from tito.process.blas import BlasChoice, KernelChoice
from tito.process.neighbors import Neighbors


def choice(used: str, default: str, why: str) -> KernelChoice:
    return KernelChoice(BlasChoice(used=used, default=default, speedup=None, why=why), {})


def test_a_machine_that_runs_these_tests_has_nothing_bad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINYTORCH_BLAS_KERNEL", "inherit")
    monkeypatch.setenv("TINYTORCH_DATA", str(tmp_path))
    findings = list(doctor.examine())
    assert not [finding for finding in findings if finding.state == "bad"]
    names = {finding.name for finding in findings}
    assert {"Python", "NumPy", "machine", "cores", "memory", "BLAS kernel", "backend", "stacks", "disk"} <= names
    assert {"data: mnist", "data: cifar10", "data: shakespeare"} <= names


def test_a_busy_machine_is_a_note_that_names_the_process() -> None:
    busy = {"seconds": 0.5, "load_average": 1.0, "others": 0.5, "steal": 0.0, "cores": 2.0}
    finding = doctor.load_finding(Neighbors(busy, ("yes (process 7) 99%",)))
    assert (finding.state, finding.value) == (
        "note",
        "load average 1.00; other processes use 50% of the cores' time: yes (process 7) 99%",
    )
    assert "noisy" in finding.advice
    idle = doctor.load_finding(Neighbors(busy | {"others": 0.01}, ()))
    assert (idle.state, idle.value, idle.advice) == (
        "ok",
        "load average 1.00; other processes use 1% of the cores' time",
        "",
    )


@pytest.mark.parametrize("version", [(3, 10, 9), (2, 7, 18)])
def test_an_old_python_is_bad(version: tuple[int, ...]) -> None:
    finding = doctor.python_finding(version)
    assert finding.state == "bad"
    assert "3.11" in finding.advice


def test_an_old_numpy_is_bad() -> None:
    assert doctor.numpy_finding("1.26.4").state == "bad"
    assert doctor.numpy_finding("2.0.0rc1").state == "ok"


def test_a_faster_kernel_is_a_note_with_its_measured_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "SkylakeX is 1.9 times as fast as Haswell"
    monkeypatch.setattr(doctor, "choose_kernel", lambda: choice("SkylakeX", "Haswell", why))
    finding = doctor.kernel_finding()
    assert (finding.state, finding.value) == ("note", f"Haswell; {why} (measured just now)")
    assert "OPENBLAS_CORETYPE=SkylakeX" in finding.advice


def test_the_fastest_kernel_needs_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "choose_kernel", lambda: choice("SkylakeX", "SkylakeX", "in use already"))
    assert doctor.kernel_finding() == doctor.Finding("BLAS kernel", "ok", "SkylakeX; in use already")


def test_kernels_with_wrong_products_are_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> KernelChoice:
        raise RunError("no BLAS kernel can be used")

    monkeypatch.setattr(doctor, "choose_kernel", refuse)
    assert doctor.kernel_finding().state == "bad"


def backend(name: Literal["numpy", "onednn"], why: str) -> BackendChoice:
    native = name == "onednn"
    return BackendChoice(name=name, version="3.2.0" if native else None, native=["int8"] if native else [], why=why)


@pytest.mark.parametrize(
    ("choice", "state", "value"),
    [
        (backend("onednn", "it is installed"), "ok", "oneDNN 3.2.0, native int8 (it is installed)"),
        (backend("numpy", "TINYTORCH_BACKEND=numpy"), "ok", "NumPy (TINYTORCH_BACKEND=numpy)"),
        (backend("numpy", "no oneDNN package exists for X"), "ok", "NumPy (no oneDNN package exists for X)"),
        (backend("numpy", NOT_INSTALLED), "note", "NumPy; oneDNN is not installed"),
    ],
)
def test_the_backend_is_told_and_how_to_get_a_faster_one(
    monkeypatch: pytest.MonkeyPatch, choice: BackendChoice, state: str, value: str
) -> None:
    monkeypatch.setattr(doctor, "choose_backend", lambda: choice)
    finding = doctor.backend_finding()
    assert (finding.state, finding.value) == (state, value)
    assert ("pip install -e '.[onednn]'" in finding.advice) == (state == "note")


def test_a_backend_that_is_forced_and_not_there_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> BackendChoice:
        raise SettingError("backend 'cuda': expected one of numpy, onednn")

    monkeypatch.setattr(doctor, "choose_backend", refuse)
    finding = doctor.backend_finding()
    assert (finding.state, finding.value) == ("bad", "backend 'cuda': expected one of numpy, onednn")


def test_threads_other_than_cores_are_told() -> None:
    info = dataclasses.replace(machine(), cores=4)
    assert doctor.cores_finding(info, 4).state == "ok"
    assert doctor.cores_finding(info, None).state == "ok"
    assert "1 BLAS threads" in doctor.cores_finding(info, 1).advice


@pytest.mark.parametrize(("count", "state"), [(0, "note"), (10**9, "note"), (8 * 10**9, "ok")])
def test_little_memory_is_told(count: int, state: str) -> None:
    assert doctor.memory_finding(count).state == state


def test_missing_py_spy_is_a_note_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_py_spy", lambda: None)
    finding = doctor.stacks_finding()
    assert finding.state == "note"
    assert "`python -m pip install -e .` in the checkout" in finding.advice


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_a_py_spy_that_is_refused_is_a_note_with_its_own_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused = tmp_path / "py-spy"
    refused.write_text("#!/bin/sh\necho 'Error: Permission denied (os error 13)' >&2\nexit 1\n")
    refused.chmod(0o755)
    monkeypatch.setattr(doctor, "find_py_spy", lambda: str(refused))
    finding = doctor.stacks_finding()
    assert finding.state == "note"
    assert finding.value == "py-spy cannot read processes: Permission denied (os error 13)"
    assert "the flame graph is left out" in finding.advice


def test_a_py_spy_that_does_not_start_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "find_py_spy", lambda: str(tmp_path / "py-spy"))
    assert "could not be started" in doctor.stacks_finding().value


def test_data_that_is_missing_is_a_note_with_the_command_to_fetch_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    states = [DataState("mnist", "digits", tmp_path, False, 0), DataState("cifar10", "photos", tmp_path, True, 9)]
    monkeypatch.setattr(doctor, "list_data", lambda: states)
    missing, present = doctor.data_findings()
    assert (missing.state, present.state) == ("note", "ok")
    assert "tito data fetch mnist" in missing.advice


def test_disk_is_asked_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    finding = doctor.disk_finding(tmp_path / "not" / "there" / "yet")
    assert "free" in finding.value


def test_a_cache_that_is_no_folder_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = doctor.disk_finding(tmp_path / "file" / "data")
    assert (finding.state, finding.value) == ("bad", f"{tmp_path / 'file'}: not a folder")


def test_little_disk_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "LITTLE_DISK", 2**80)
    finding = doctor.disk_finding(tmp_path)
    assert finding.state == "note"
    assert "TINYTORCH_DATA" in finding.advice


def test_findings_come_as_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A doctor that dies at one finding has told those before it."""

    def bad_machine() -> MachineInfo:
        return MachineInfo("CPU", 1, 2**33, "System", (), "0" * 12)

    def stop() -> Iterator[doctor.Finding]:
        raise RunError("stop")

    monkeypatch.setattr(doctor, "machine", bad_machine)
    monkeypatch.setattr(doctor, "blas", lambda: BlasInfo("accelerate", "unknown", "unknown", None))
    monkeypatch.setattr(doctor, "kernel_finding", stop)
    findings = doctor.examine()
    assert [next(findings).name for _ in range(6)] == ["Python", "NumPy", "machine", "cores", "load", "memory"]
