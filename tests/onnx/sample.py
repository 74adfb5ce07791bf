"""Exported models, checked by running them: what the tests of the package `onnx` share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.models import outputs
from tinytorch.layers import Module
from tinytorch.onnx.export import exported
from tinytorch.tensor import Array

pytest.importorskip("onnx", reason="the package onnx is not installed: models cannot be exported")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: exported models cannot be run")

import onnx

from tinytorch.onnx.session import session


def loaded(model: Module, **settings: Any) -> Any:
    """Export a model, and read the file with the package onnx."""
    return onnx.load_from_string(exported(model, **settings))


def error(model: Module, x: Array, **settings: Any) -> float:
    """Return the largest error of ONNX Runtime's outputs for x, relative to the largest output."""
    expected = outputs(model, x)
    found = session(model, threads=1, **settings)(x)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    return float(np.abs(found - expected).max(initial=0) / np.abs(expected).max(initial=1e-9))


def operations(model: Module, **settings: Any) -> list[str]:
    """Return the operations of an exported model, in order."""
    return [node.op_type for node in loaded(model, **settings).graph.node]
