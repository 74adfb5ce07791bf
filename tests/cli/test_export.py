"""`tito export` as a process: a saved model becomes an ONNX file, or one line says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinytorch as tt
from tests.cli.running import tito
from tests.models import DIGITS, mlp, outputs
from tinytorch.saved import save_model

pytest.importorskip("onnx", reason="the package onnx is not installed: models cannot be exported")


def test_saved_model_is_exported_and_runs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: exported models cannot be run")
    model = mlp()
    save_model(model, tmp_path / "digits")
    done = tito(tmp_path, "export", "digits", "--input-shape", "4x6", "--opset", "18")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "digits.onnx"
    assert done.stdout.split()[1:] == [f"{path.stat().st_size:,}", "bytes,", "opset", "18"]
    np.testing.assert_allclose(tt.onnx.session(path, threads=1)(DIGITS), outputs(model, DIGITS), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["digits"], 1, "tito: ONNX export: model: the first layer, Flatten, does not say the shape of an input"),
        (["digits", "--input-shape", "4x0"], 2, "'4x0': expected sizes such as 28x28"),
        (["digits", "--input-shape", "4x6", "--opset", "3"], 1, "tito: ONNX export: opset 3: expected 17 to 21"),
        (["digits", "--next-token"], 1, "tito: ONNX export: next_token with a Sequential: expected a GPT"),
        (["nothing"], 1, "tito: nothing"),
        ([], 2, "Missing argument 'MODEL'"),
        (["digits", "digits", "--input-shape", "4x6"], 1, "tito: "),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path: Path, arguments: list[str], code: int, problem: str) -> None:
    save_model(mlp(), tmp_path / "digits")
    done = tito(tmp_path, "export", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
    assert code == 2 or done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
