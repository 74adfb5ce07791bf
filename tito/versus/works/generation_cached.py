"""A GPT generates 256 tokens with a cache, against nanoGPT's method without one; the model is that of the work `gpt`.

A full context drops half a block at a time, so that the cache stays valid. nanoGPT drops one token at a time and
recomputes the whole block for each token.
"""

from __future__ import annotations

import numpy as np

from tito.versus.bounds import Cost
from tito.versus.contender import Contender
from tito.versus.works import generation
from tito.versus.works.gpt import NUMBERS, SIZES, weights

TITLE = "GPT generates 256 tokens, cached"
BARS = {"pytorch": {"256 tokens": 3.0}}

COSTS = {"256 tokens": Cost(2.0 * NUMBERS * generation.TOKENS, 4 * NUMBERS, reads=generation.TOKENS)}
HOP = SIZES["block_size"] // 2


def tinytorch() -> Contender:
    from tinytorch.caching import Decoder, KVCache, generate
    from tinytorch.transformers import GPT

    model = GPT(**SIZES)
    model.load_state_dict(weights())
    model.eval()

    def check() -> np.ndarray:
        """Return the logits after the last token of each window, the second half of which is read token by token."""
        windows = generation.windows()
        decoder = Decoder(model, KVCache(model, len(windows), HOP))
        logits = decoder.next_logits(windows[:, :HOP])
        for i in range(HOP, windows.shape[1]):
            logits = decoder.next_logits(windows[:, i : i + 1])
        return logits.ravel()

    return Contender({"256 tokens": lambda: generate(model, [0], generation.TOKENS, hop=HOP)}, check)


pytorch = generation.pytorch
