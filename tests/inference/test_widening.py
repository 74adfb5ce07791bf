"""Weights of 16 bits become float32 once, and the model still computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.dtypes import numpy_dtype
from tinytorch.inference import widen_weights
from tinytorch.layers import Module, Sequential
from tinytorch.quantized import quantize_dynamic
from tinytorch.saved import load_model, save_model
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT

X = np.random.default_rng(0).random((5, 12), dtype=np.float32)


def mlp() -> Sequential:
    tt.manual_seed(0)
    return Sequential(tt.Linear(12, 8), tt.ReLU(), tt.Linear(8, 3))


def narrowed(model: Module, dtype: str, folder: Path) -> Module:
    """Return the model with 16-bit weights, as it is loaded from its file."""
    for _, tensor in model.named_tensors():
        if tensor.data.dtype == np.float32:
            tensor.data = tensor.data.astype(numpy_dtype(dtype))
    return load_model(save_model(model.eval(), folder))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_widened_mlp_holds_float32_and_computes_the_same(dtype: str, tmp_path: Path) -> None:
    model = narrowed(mlp(), dtype, tmp_path / "model")
    values = {name: tensor.data for name, tensor in model.named_tensors()}
    before = model(Tensor(X)).data
    assert widen_weights(model) is model
    for name, tensor in model.named_tensors():
        assert tensor.data.dtype == np.float32
        np.testing.assert_array_equal(tensor.data, values[name].astype(np.float32))
    np.testing.assert_allclose(model(Tensor(X)).data, before, rtol=1e-5, atol=1e-6)


def test_language_model_is_widened_in_all_its_parts(tmp_path: Path) -> None:
    gpt = GPT(vocab_size=20, block_size=8, n_layer=1, n_head=2, n_embd=8)
    model = widen_weights(narrowed(gpt, "bfloat16", tmp_path / "model"))
    assert isinstance(model, GPT)
    assert model.next_logits(np.array([[1, 2]])).dtype == np.float32
    assert {tensor.data.dtype.name for _, tensor in model.named_tensors()} == {"float32"}


def test_int8_and_float64_weights_are_left_alone() -> None:
    model = quantize_dynamic(mlp().eval())
    before = {name: tensor.data for name, tensor in model.named_tensors()}
    widen_weights(model)
    assert all(tensor.data is before[name] for name, tensor in model.named_tensors())
    wide = tt.Linear(3, 2)
    wide.weight.data = wide.weight.data.astype(np.float64)
    assert widen_weights(wide).state_dict()["weight"].dtype == np.float64
