"""The trained TinyGPT generates 256 tokens with a cache, against nanoGPT's method; otherwise as `generation_cached`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tito.project import find_project
from tito.versus.bounds import Cost
from tito.versus.contender import Contender, Rate

TITLE = "Trained TinyGPT generates 256 tokens, cached"
BARS = {"pytorch": {"256 tokens": 3.0}}

TOKENS = 256
RATES = {"256 tokens": Rate(TOKENS, "tokens", 10_000)}
NUMBERS = 12 * 3 * 112**2 + 4256 * 112  # in the products of a token: 3 blocks of width 112, and 4,256 tokens
COSTS = {"256 tokens": Cost(2.0 * NUMBERS * TOKENS, 4 * NUMBERS, reads=TOKENS)}
SIZES = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd")


def reference() -> tuple[Path, dict[str, Any]]:
    """Return the folder of the trained weights, and the sizes of their model."""
    folder = find_project().submissions / "reference" / "tinygpt"
    parameters = json.loads((folder / "reference.json").read_text())["parameters"]
    return folder, {name: parameters[name] for name in SIZES}


def windows(sizes: dict[str, Any]) -> np.ndarray:
    return np.random.default_rng(2).integers(0, sizes["vocab_size"], (4, sizes["block_size"]))


def tinytorch(int8: bool = False) -> Contender:
    from tinytorch.caching import Decoder, KVCache, generate
    from tinytorch.quantized import quantize_dynamic
    from tinytorch.saved import load_model
    from tinytorch.transformers import GPT

    folder, sizes = reference()
    model = load_model(folder)
    if int8:
        model = quantize_dynamic(model)
    assert isinstance(model, GPT)
    hop = sizes["block_size"] // 2

    def check() -> np.ndarray:
        """Return the logits after the last token of each window, the second half of which is read token by token."""
        tokens = windows(sizes)
        decoder = Decoder(model, KVCache(model, len(tokens), hop))
        logits = decoder.next_logits(tokens[:, :hop])
        for i in range(hop, tokens.shape[1]):
            logits = decoder.next_logits(tokens[:, i : i + 1])
        return logits.ravel()

    return Contender({"256 tokens": lambda: generate(model, [0], TOKENS, hop=hop)}, check)


def pytorch() -> Contender:
    import torch

    from tinytorch.base.files import load_arrays
    from tito.versus.nanogpt import NanoGPT

    folder, sizes = reference()
    model = NanoGPT(**sizes)
    arrays, _ = load_arrays(folder / "model.safetensors")
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, strict=False)
    model.eval()
    prompt = torch.zeros((1, 1), dtype=torch.long)

    def check() -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(windows(sizes)))[:, -1].flatten().numpy()

    return Contender({"256 tokens": lambda: model.generate(prompt, TOKENS)}, check)
