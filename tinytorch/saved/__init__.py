"""Saved models are data, never code. A folder of two files holds a whole model, and loading it executes none of it.

    save_model(model, folder)    load_model(folder)    load_cache(folder, model)    saved_bytes(folder)

`model.json` describes the model, and `model.safetensors` holds its tensors under the names of its state_dict:

    {"format": "tinytorch model", "version": 1,
     "model": {"type": "Sequential", "layers": [{"type": "Linear", "in_features": 4, "out_features": 2, "bias": true},
                                                {"type": "ReLU"}]},
     "encodings": {"0.weight": {"encoding": "deflate", "dtype": "float32", "shape": [2, 4]}},
     "shared": {"2.weight": "0.weight"},
     "cache": {"batch_size": 1, "hop": 16, "dtype": "float32"}}

The types are those in `table`, each with exactly its own settings. Each part of a layer is described separately, so a
replaced part (a quantized one, or one with fewer channels) is restored as it was. `encodings` lists the packed tensors
(see `packing`), `shared` the second names of tensors that have two, and `cache` the settings of a GPT's `KVCache`; all
three are optional.

A folder may come from an untrusted source. `load_model` first checks all of model.json, then the header of
model.safetensors against the sizes in model.json, and builds the model only then. The limits in `folder` and `document`
bound the cost. Whether the layers of a Sequential fit together is checked only when the model runs.

Imports modules up to 19 and `quantized`. Changed by maintainers of the format; a new layer is a row in `table`.
"""

from tinytorch.saved.folder import saved_bytes
from tinytorch.saved.reading import load_cache, load_model
from tinytorch.saved.writing import save_model

__all__ = ["load_cache", "load_model", "save_model", "saved_bytes"]
