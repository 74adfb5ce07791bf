"""The result of a technique: the model as loaded from its file, and its predictor."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tinytorch as tt
from tinytorch.acceleration import trace
from tinytorch.base.files import load_arrays, save_arrays
from tinytorch.inference import predictor
from tinytorch.saved import load_model, save_model, saved_bytes
from tinytorch.transformers import GPT

from .tasks import Predict

DESCRIPTION = "model.json"


class Variant(tt.Module):
    """The model that a technique produced, as loaded from its file.

    Its state is the saved model itself, with model.json as bytes among the tensors. The harness can therefore write it
    to one file and read it again without any code for its architecture.
    """

    def __init__(self) -> None:
        self.served: tt.Module = tt.Sequential()
        self.file_bytes = 0
        self.compress = False
        self.pair: list[tt.Module] = []  # trained in float32 and in half precision

    def take(self, model: tt.Module, compress: bool) -> None:
        """Save the model and keep only what is loaded from the file."""
        self.compress = compress
        with tempfile.TemporaryDirectory() as folder:
            saved = save_model(model, Path(folder) / "model", compress)
            self.served, self.file_bytes = load_model(saved), saved_bytes(saved)

    def state_dict(self) -> dict[str, tt.Tensor]:
        with tempfile.TemporaryDirectory() as folder:
            saved = save_model(self.served, Path(folder) / "model")
            arrays, _ = load_arrays(saved / "model.safetensors")
            text = np.frombuffer((saved / "model.json").read_bytes(), np.uint8)
        return {name: tt.Tensor(array) for name, array in {**arrays, DESCRIPTION: text}.items()}

    def load_state_dict(self, state: Any) -> None:
        arrays = {name: value.data if isinstance(value, tt.Tensor) else value for name, value in state.items()}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "model.json").write_bytes(arrays.pop(DESCRIPTION).tobytes())
            save_arrays(Path(folder) / "model.safetensors", arrays)
            self.served = load_model(folder)

    def parameters(self) -> list[Any]:
        """Return all tensors, including those of a quantized model, which are not trained."""
        return list({id(tensor): tensor for _, tensor in self.served.named_tensors()}.values())


def predictor_of(model: tt.Module) -> Predict:
    """Return the fastest predictor for this type of model."""
    if isinstance(model, GPT):
        return model.next_logits
    return predictor(model) if is_quantized(model) else trace(model)


def is_quantized(model: tt.Module) -> bool:
    return any(tensor.data.dtype == np.int8 for _, tensor in model.named_tensors())
