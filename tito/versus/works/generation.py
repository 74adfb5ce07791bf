"""A GPT generates 256 tokens without a cache, recomputing the context for each; the model is that of the work `gpt`."""

from __future__ import annotations

import numpy as np

from tito.versus.contender import Contender
from tito.versus.works.gpt import SIZES, weights

TITLE = "GPT generates 256 tokens, no cache"
BARS = {"pytorch": {"256 tokens": 1.0}}

TOKENS = 256


def windows() -> np.ndarray:
    return np.random.default_rng(2).integers(0, SIZES["vocab_size"], (4, SIZES["block_size"]))


def tinytorch() -> Contender:
    from tinytorch.inference import predictor
    from tinytorch.transformers import GPT

    model = GPT(**SIZES)
    model.load_state_dict(weights())
    predict = predictor(model.eval())
    return Contender(
        {"256 tokens": lambda: predict.generate([0], TOKENS)}, lambda: predict.next_logits(windows()).ravel()
    )


def pytorch() -> Contender:
    import torch

    from tito.versus.nanogpt import NanoGPT

    model = NanoGPT(**SIZES)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights().items()}, strict=False)
    model.eval()
    prompt = torch.zeros((1, 1), dtype=torch.long)

    def check() -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(windows()))[:, -1].flatten().numpy()

    return Contender({"256 tokens": lambda: model.generate(prompt, TOKENS)}, check)
