"""The choice of the kernel backend: made in this process, pinned in the children's environment."""

from __future__ import annotations

import pytest

from tinytorch.base.errors import SettingError
from tinytorch.native import backend, library
from tito.process.backend import choose_backend, pinned_backend

native = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not())


@pytest.fixture(autouse=True)
def _nothing_chosen_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_chosen", None)
    monkeypatch.delenv(backend.VARIABLE, raising=False)


@native
def test_the_native_backend_is_taken_where_it_is_there() -> None:
    choice = choose_backend()
    assert (choice.name, choice.version, choice.why) == ("onednn", library.version(), "it is installed")
    assert set(choice.native) == library.native_dtypes()
    assert pinned_backend(choice) == {"TINYTORCH_BACKEND": "onednn"}


def test_without_it_numpy_is_taken_and_the_reason_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "why_not", lambda: "oneDNN is not installed: get it")
    choice = choose_backend()
    assert (choice.name, choice.version, choice.native) == ("numpy", None, [])
    assert choice.line == "NumPy (oneDNN is not installed: get it)"
    assert pinned_backend(choice) == {"TINYTORCH_BACKEND": "numpy"}


def test_the_environment_and_the_option_force_it_and_the_option_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend("numpy").why == "set by --backend"
    monkeypatch.setattr(backend, "_chosen", None)
    monkeypatch.setenv(backend.VARIABLE, "numpy")
    assert choose_backend().line == "NumPy (TINYTORCH_BACKEND=numpy)"
    monkeypatch.setenv(backend.VARIABLE, "abacus")
    assert choose_backend("numpy").name == "numpy"
    monkeypatch.setattr(backend, "_chosen", None)
    with pytest.raises(SettingError, match="'abacus': expected one of numpy, onednn"):
        choose_backend()


def test_one_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "why_not", lambda: "oneDNN is not installed: get it")
    with pytest.raises(SettingError, match="backend 'onednn': oneDNN is not installed: get it"):
        choose_backend("onednn")
