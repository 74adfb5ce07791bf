"""tinytorch.onnx.session: what is not installed or not a model is said in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import tinytorch as tt
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


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("0", usable_cores()), ("many", usable_cores())])
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
