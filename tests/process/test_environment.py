"""tito.process.environment: pinned settings reach the child; the shell's settings of the same libraries do not."""

from __future__ import annotations

import doctest

import pytest

from tito.process import environment
from tito.process.environment import child_environment, inherited_names, pinned_environment, recorded_environment


def test_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(environment).failed == 0


def test_the_kernel_choice_is_merged_into_the_environment() -> None:
    pinned = pinned_environment({})
    assert pinned_environment({"OPENBLAS_CORETYPE": "Haswell"}) == pinned | {"OPENBLAS_CORETYPE": "Haswell"}
    assert pinned["PYTHONHASHSEED"] == "0"


def test_inherited_settings_of_the_libraries_are_dropped_and_the_rest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("SOMETHING_ELSE", "kept")
    monkeypatch.setenv("PYTHONPATH", "one")
    found = child_environment({"OMP_NUM_THREADS": "2"})
    assert "OPENBLAS_CORETYPE" not in found
    assert (found["OMP_NUM_THREADS"], found["SOMETHING_ELSE"]) == ("2", "kept")
    assert found["PYTHONPATH"].endswith("one")


def test_settings_that_change_a_figure_do_not_reach_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    changing: tuple[str, ...] = (
        "GLIBC_TUNABLES",
        "PYTHONTRACEMALLOC",
        "PYTHONMALLOC",
        "PYTHONDEVMODE",
        "NPY_DISABLE_CPU_FEATURES",
    )
    changing += ("COVERAGE_PROCESS_START", "COV_CORE_SOURCE", "PYDEVD_USE_FRAME_EVAL")
    for name in (*changing, "PYTHONPATH", "PYTHONUTF8", "LD_LIBRARY_PATH", "HOME"):
        monkeypatch.setenv(name, "1")
    given = child_environment({})
    assert not set(changing) & given.keys()
    assert {"PYTHONPATH", "PYTHONUTF8", "LD_LIBRARY_PATH", "HOME"} <= given.keys()
    assert recorded_environment() == {"LD_LIBRARY_PATH": "1"}


@pytest.mark.parametrize(
    "name",
    [
        "NUMEXPR_MAX_THREADS",
        "TCMALLOC_RELEASE_RATE",
        "TORCH_NUM_THREADS",
        "NVPL_BLAS_DEBUG_CPU_TYPE",
        "ATEN_CPU_CAPABILITY",
    ],
)
def test_settings_of_other_allocators_and_of_the_rival_do_not_reach_a_child(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert name not in child_environment({})


def test_what_else_a_child_inherits_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOME_LIBRARY_THREADS", "LC_ALL", "https_proxy", "XDG_CACHE_HOME", "PYTHONMALLOC", "LD_PRELOAD"):
        monkeypatch.setenv(name, "secret")
    found = inherited_names()
    assert "SOME_LIBRARY_THREADS" in found
    assert not {"LC_ALL", "https_proxy", "XDG_CACHE_HOME", "PYTHONMALLOC", "LD_PRELOAD", "PATH", "HOME"} & set(found)
    assert set(found) <= child_environment({}).keys()
