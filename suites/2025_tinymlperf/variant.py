"""The result of a technique, or an entry: the model as loaded from its files, and its predictor."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tinytorch as tt
from tinytorch.base.files import load_arrays, save_arrays
from tinytorch.caching import KVCache
from tinytorch.inference import predictor, widen_weights
from tinytorch.saved import load_cache, load_model, save_model
from tinytorch.transformers import GPT

from .tasks import Predict

DESCRIPTION, TENSORS = "model.json", "model.safetensors"


class Variant(tt.Module):
    """The model that a technique produced, or an entry, as loaded from its two files.

    Its state is the saved model itself, with model.json as bytes among the tensors. The harness can therefore write it
    to one file and read it again without any code for its architecture.
    """

    def __init__(self) -> None:
        self.served: tt.Module = tt.Sequential()
        self.files: dict[str, bytes] = {}  # the two files that it was loaded from
        self.cache: KVCache | None = None  # empty, with the settings in model.json
        self.folder, self.round = Path(), 0  # of an entry, and the case's seed
        self.pair: list[tt.Module] = []  # trained in float32 and in half precision

    def take(self, model: tt.Module, compress: bool, hop: int | None = None) -> None:
        """Save the model, with a key-value cache for one text if there is a hop, and keep only what is loaded."""
        cache = KVCache(model, 1, hop) if hop is not None and isinstance(model, GPT) else None
        with tempfile.TemporaryDirectory() as folder:
            self.read(save_model(model, Path(folder) / "model", compress, cache))

    def read(self, folder: Path) -> None:
        """Load a saved model."""
        self.files = {name: (folder / name).read_bytes() for name in (DESCRIPTION, TENSORS)}
        self.served, self.cache = loaded(folder)

    def write(self, folder: Path) -> Path:
        """Write the two files into a folder, byte for byte as they were loaded."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder

    @property
    def file_bytes(self) -> int:
        """Size of the two files."""
        return sum(map(len, self.files.values()))

    def state_dict(self) -> dict[str, tt.Tensor]:
        with tempfile.TemporaryDirectory() as folder:
            arrays, _ = load_arrays(self.write(Path(folder)) / TENSORS)
        text = np.frombuffer(self.files[DESCRIPTION], np.uint8)
        return {name: tt.Tensor(array) for name, array in {**arrays, DESCRIPTION: text}.items()}

    def load_state_dict(self, state: Any) -> None:
        arrays = {name: value.data if isinstance(value, tt.Tensor) else value for name, value in state.items()}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / DESCRIPTION).write_bytes(arrays.pop(DESCRIPTION).tobytes())
            save_arrays(Path(folder) / TENSORS, arrays)
            self.read(Path(folder))

    def parameters(self) -> list[Any]:
        """Return all tensors, including those of a quantized model, which are not trained."""
        return list({id(tensor): tensor for _, tensor in self.served.named_tensors()}.values())


def loaded(folder: Path) -> tuple[tt.Module, KVCache | None]:
    """Load a model, ready for inference, and its cache if it has one."""
    model = widen_weights(load_model(folder))
    return model, load_cache(folder, model) if isinstance(model, GPT) else None


def predictor_of(model: tt.Module) -> Predict:
    """Return the fastest predictor for this type of model."""
    return predictor(model).next_logits if isinstance(model, GPT) else predictor(model)


def is_quantized(model: tt.Module) -> bool:
    return any(tensor.data.dtype == np.int8 for _, tensor in model.named_tensors())


def tolerance_of(model: tt.Module) -> float:
    """Return the largest error of an output that rounding explains, relative to the largest output.

    An integer model may differ by 2%: a value rounded to the neighboring integer moves by 1 in 127.
    """
    return 0.02 if is_quantized(model) else 1e-3
