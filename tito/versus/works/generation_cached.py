"""A GPT writes 256 tokens with a cache, nanoGPT's way of doing it beside: the model of the work `gpt`, as `generation`.

The context drops half a block at a time when it is full, so that the cache lives; nanoGPT drops one token at a time and
reads the whole block anew for each, whatever its length.
"""

from __future__ import annotations

import numpy as np

from tito.versus.contender import Contender
from tito.versus.works import generation
from tito.versus.works.gpt import SIZES, weights

TITLE = "GPT writes 256 tokens, cached"
BARS = {"256 tokens": 3.0}

HOP = SIZES["block_size"] // 2


def tinytorch() -> Contender:
    from tinytorch.caching import Decoder, KVCache, generate
    from tinytorch.transformers import GPT

    model = GPT(**SIZES)
    model.load_state_dict(weights())
    model.eval()

    def check() -> np.ndarray:
        """The logits after the last of each window, all but half of it read token by token."""
        windows = generation.windows()
        decoder = Decoder(model, KVCache(model, len(windows), HOP))
        logits = decoder.next_logits(windows[:, :HOP])
        for i in range(HOP, windows.shape[1]):
            logits = decoder.next_logits(windows[:, i : i + 1])
        return logits.ravel()

    return Contender({"256 tokens": lambda: generate(model, [0], generation.TOKENS, hop=HOP)}, check)


pytorch = generation.pytorch
