"""tito.versus.rivals: each rival has a title, and says what it needs."""

from __future__ import annotations

import pytest

from tito.process.environment import pinned_environment
from tito.versus import rivals


@pytest.mark.parametrize("rival", rivals.TITLES)
def test_packages_of_each_rival_have_names(rival: str) -> None:
    assert all(rivals.NAMES[package] for package in rivals.packages(rival))


def test_without_a_compiler_only_torch_compile_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    why = "torch.compile needs a C++ compiler, and no-such-compiler is not installed here"
    assert [rivals.lacks_compiler(rival) for rival in ("pytorch_compiled", "pytorch", "onnxruntime")] == [
        why,
        None,
        None,
    ]


def test_rivals_get_the_same_threads_and_not_our_tuning() -> None:
    pinned = pinned_environment({"TINYTORCH_BACKEND": "numpy"})
    assert set(rivals.OWN_SETTINGS) < set(pinned)
    assert rivals.settings("tinytorch", pinned) == pinned
    found = rivals.settings("pytorch_compiled", pinned)
    assert found == {name: value for name, value in pinned.items() if name not in rivals.OWN_SETTINGS}
    assert found[rivals.THREADS] == pinned[rivals.THREADS]


def test_own_library_says_version_backend_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    name, threads = rivals.library("tinytorch")
    assert name.startswith("TinyTorch ")
    assert name.endswith((" with onednn", " with numpy"))
    assert threads == 3
