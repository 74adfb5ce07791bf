"""The trained TinyGPT in INT8 generates 256 tokens with a cache, against itself in FP32 with a cache."""

from __future__ import annotations

from tito.versus.bounds import Cost
from tito.versus.contender import Contender, Rate
from tito.versus.works import tinygpt_cached

TITLE = "Trained TinyGPT in INT8 generates 256 tokens, cached"
BARS = {"tinytorch_float32": {"256 tokens": 1.3}}
RATES = {"256 tokens": Rate(tinygpt_cached.TOKENS, "tokens", 13_000)}
COSTS = {
    "256 tokens": Cost(
        2.0 * tinygpt_cached.NUMBERS * tinygpt_cached.TOKENS,
        tinygpt_cached.NUMBERS,
        "int8",
        reads=tinygpt_cached.TOKENS,
    )
}
TOLERANCE = 0.5  # of the logits, up to 17: weights and activations are rounded to 8 bits; the loss grows by 0.002 nats


def tinytorch() -> Contender:
    return tinygpt_cached.tinytorch(int8=True)


tinytorch_float32 = tinygpt_cached.tinytorch
