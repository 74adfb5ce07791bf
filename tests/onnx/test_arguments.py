"""Arguments of tinytorch.onnx.export: a wrong one is named in one line, before anything is built or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.models import mlp
from tests.onnx.sample import loaded
from tinytorch.base.errors import InputTypeError, PathError
from tinytorch.layers import Linear
from tinytorch.onnx import export as package_export
from tinytorch.onnx.export import exported

BATCH = np.ones((2, 2), np.float32)
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"opset": 20.0}, "export: opset is 20.0: expected int"),
    ({"opset": True}, "export: opset is True: expected int"),
    ({"next_token": 1}, "export: next_token is 1: expected bool"),
    ({"input_shape": 5}, "export: input_shape is 5: expected"),
    ({"input_shape": {2}}, "export: input_shape is a set: expected"),
    ({"input_shape": (True,)}, r"input_shape \(True,\): expected positive integers"),
    ({"input_shape": (2.0,)}, r"input_shape \(2.0,\): expected positive integers"),
    *[({name: value}, f"export: {name} is .*: expected str")
      for name in ("input_name", "output_name") for value in (5, ["x"], b"x")],
    *[({name: value}, "ONNX export: the text .*: expected characters of UTF-8")
      for name in ("input_name", "output_name") for value in ("\0", "\ud800")],
    ({"metadata": {"a": 1}}, "export: metadata has 'a' with 1: expected two texts"),
    ({"metadata": {1: "a"}}, "export: metadata has 1 with 'a': expected two texts"),
    ({"metadata": {"a": None}}, "export: metadata has 'a' with None: expected two texts"),
    ({"metadata": "abc"}, "export: metadata is 'abc': expected Mapping"),
    ({"metadata": 5}, "export: metadata is 5: expected Mapping"),
    ({"metadata": {"a": "\ud800"}}, "the text '.ud800': expected characters of UTF-8"),
    ({"metadata": {"\ud800": "a"}}, "the text '.ud800': expected characters of UTF-8"),
    ({"batches": None}, "export: batches is None: expected Iterable"),
    ({"batches": 5}, "export: batches is 5: expected Iterable"),
    ({"batches": [(BATCH, 1)]}, "export: batches is a list that contains a tuple: expected Iterable of array"),
    ({"batches": iter([(BATCH, 1)])}, "export: batches contains a tuple: expected arrays of inputs"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "problem"), WRONG)
def test_wrong_argument_is_named_in_one_line(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(tt.SettingError, match=problem) as caught:
        exported(Linear(2, 2), **given)
    str(caught.value).encode()
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_and_tensors_are_accepted() -> None:
    file = loaded(Linear(2, 2), opset=np.int64(19), input_shape=[np.int64(2)], batches=[tt.Tensor(BATCH)])
    assert file.opset_import[0].version == 19


def test_path_is_checked_before_the_model(tmp_path: Path) -> None:
    with pytest.raises(InputTypeError, match="path is None"):
        package_export(mlp(), None)  # type: ignore[arg-type]
    with pytest.raises(PathError, match="new/: the name of a folder"):
        package_export(mlp(), f"{tmp_path}/new/")
    assert list(tmp_path.iterdir()) == []
