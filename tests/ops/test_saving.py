"""`save` and `load`: nested data comes back, and nothing else is accepted."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import tinytorch as tt
import tinytorch.nn as nn
from tinytorch.base.errors import SettingError, StateError
from tinytorch.ops.creation import tensor


def test_checkpoint_comes_back(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = tt.optim.Adam(model.parameters())
    model(tt.ones(1, 2)).sum().backward()
    optimizer.step()
    given = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "best": (0.5, None, ["a", True]),
    }
    tt.save(given, tmp_path / "checkpoint.pt")
    found = tt.load(tmp_path / "checkpoint.pt")
    assert found["epoch"] == 3
    assert found["best"] == (0.5, None, ["a", True])
    model.load_state_dict(found["model"])
    optimizer.load_state_dict(found["optimizer"])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(found["model"][name].data, value.data)


@pytest.mark.parametrize("value", [tensor(1.5), tt.arange(3), [], {}, {"a": []}, 3, "text", {1: tt.ones(2)}])
def test_value_keeps_its_shape_and_type(tmp_path: Path, value: object) -> None:
    tt.save(value, tmp_path / "x")
    found = tt.load(tmp_path / "x")
    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_code_is_neither_saved_nor_loaded(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"save: model is a Linear: expected tensors.*save a model by its state_dict\(\)"
    ):
        tt.save({"model": nn.Linear(1, 1)}, tmp_path / "x")
    (tmp_path / "theirs.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(StateError, match="a file of PyTorch's own format"):
        tt.load(tmp_path / "theirs.pt")
    with pytest.raises(StateError, match="no such file"):
        tt.load(tmp_path / "missing.pt")
