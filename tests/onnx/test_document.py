"""tinytorch.onnx.document: a file is checked before it is written, and is no larger than one file may be."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tinytorch as tt
from tests.onnx.sample import loaded
from tinytorch.layers import Linear
from tinytorch.onnx import document
from tinytorch.onnx.document import opened, to_bytes
from tinytorch.onnx.export import OPSETS, exported
from tinytorch.onnx.graph import Graph, Value


def test_graph_that_onnx_refuses_is_refused_in_one_line() -> None:
    graph = Graph(20, {})
    y = Value(graph.add("MatMul", "input", graph.constant(np.ones((3, 2)))), ("batch", 2))
    with pytest.raises(tt.SettingError, match=r"the layers do not fit together: .*MatMul") as caught:
        to_bytes(graph, (Value("input", ("batch", 4)), "float32"), y, "output", {})
    assert "\n" not in str(caught.value)


def test_model_that_one_file_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MOST_BYTES", 47)
    with pytest.raises(tt.SettingError, match="48 bytes of weights: expected at most 47"):
        exported(Linear(3, 3))


@pytest.mark.parametrize("opset", OPSETS)
def test_file_states_its_opset_and_an_old_version_of_the_format(opset: int) -> None:
    file = loaded(Linear(2, 2), opset=opset)
    assert [entry.version for entry in file.opset_import] == [opset]
    assert file.ir_version <= 10


def test_only_open_sizes_of_the_input_have_names() -> None:
    assert opened(("batch", 3, "height", "height_7")) == ["batch", 3, "height", None]


def test_tinytorch_is_imported_without_the_package() -> None:
    program = "import sys, tinytorch, tinytorch.onnx; print({'onnx', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
