"""tinytorch.onnx.session: what is not installed or not a model is said in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.models import gpt
from tests.onnx.sample import session
from tinytorch.environment import usable_cores
from tinytorch.layers import Linear
from tinytorch.onnx.export import export
from tinytorch.onnx.session import default_threads

X = np.ones((2, 3), np.float32)


def test_file_and_model_return_the_same(tmp_path: Path) -> None:
    model = Linear(3, 2)
    path = export(model, tmp_path / "model.onnx")
    np.testing.assert_array_equal(session(path, threads=1)(X), session(model, threads=1)(X))
    np.testing.assert_array_equal(session(str(path), threads=1)(X.astype(np.float64)), session(path)(X))


@pytest.mark.parametrize(
    ("given", "expected"),
    [("3", 3), *((text, usable_cores()) for text in ("0", "many", "\u00b2", "-1", "99999999999"))],
)
def test_threads_are_those_of_openmp(given: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert default_threads() == expected


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(tt.SettingError, match="ONNX Runtime refuses the model") as caught:
        session(path, threads=1)
    assert "\n" not in str(caught.value)


def test_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        tt.SettingError,
        match=r"^ONNX Runtime is not installed \(.*\): `python -m pip install -e '\.\[onnx\]'` in the checkout",
    ):
        session(Linear(3, 2))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        tt.SettingError, match=r"^ONNX export needs the package onnx \(.*\): `python -m pip install -e '"
    ):
        tt.onnx.export(Linear(3, 2), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("package", "expected"), [("onnx", "The package onnx"), ("onnxruntime", "ONNX Runtime")])
def test_broken_package_cannot_be_loaded(
    package: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{package}.py").write_text("raise ImportError('libfoo.so: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package)
    with pytest.raises(tt.SettingError, match=rf"^{expected} cannot be loaded \(libfoo.so: cannot open\): `"):
        session(Linear(3, 2))


@pytest.mark.parametrize("threads", ["2", 1.5, True, 2**40, -1, 0])
def test_other_numbers_of_threads_are_refused(threads: Any) -> None:
    with pytest.raises(tt.SettingError, match=f"session: threads is {threads!r}: expected"):
        session(Linear(3, 2), threads=threads)


def test_settings_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    path = export(Linear(3, 2), tmp_path / "model.onnx")
    with pytest.raises(tt.SettingError, match="session: the setting nonsense, opset: expected a model"):
        session(path, opset=99, nonsense=1)
    with pytest.raises(tt.SettingError, match="session: the setting nonsense: expected the arguments of export"):
        session(Linear(3, 2), nonsense=1)


@pytest.mark.parametrize("model", [None, 5, tt.Tensor(X), b"model.onnx", "", "a\0", "\ud800"])
def test_what_is_neither_model_nor_path_is_refused(model: Any) -> None:
    with pytest.raises(tt.SettingError, match=r"^session: model is .*: expected (a Module or )?the path of a file$"):
        session(model)


@pytest.mark.parametrize(
    ("x", "problem"),
    [
        (X.tolist(), "the input is a list: expected an array"),
        (tt.Tensor(X), "the input is a Tensor: expected an array"),
        (X[0], r"an input of shape \(3,\): expected \(batch, 3\)"),
        (X[:, :2], r"an input of shape \(2, 2\): expected \(batch, 3\)"),
        (X.astype(str), "an input of dtype <U.*: expected numbers"),
        (X.astype(complex), "an input of dtype complex128: expected numbers"),
    ],
)
def test_other_inputs_are_refused(x: Any, problem: str) -> None:
    with pytest.raises(tt.TinyTorchError, match=f"^ONNX Runtime: {problem}$"):
        session(Linear(3, 2), threads=1)(x)


def test_tokens_are_checked_as_the_model_checks_them(tmp_path: Path) -> None:
    model = gpt()
    run, of_file = session(model, threads=1), session(export(model, tmp_path / "gpt.onnx"), threads=1)
    for token in (-1, 30):
        with pytest.raises(tt.SettingError, match=rf"token {token} at \(0, 0\): expected 0 to 29"):
            run(np.array([[token]]))
    for one in (run, of_file):
        with pytest.raises(tt.SettingError, match="an input of dtype float64: expected integers, as tokens are"):
            one(np.array([[1.5]]))
    with pytest.raises(tt.SettingError, match="ONNX Runtime refuses the input: ") as caught:
        of_file(np.array([[30]]))
    assert "\n" not in str(caught.value)
