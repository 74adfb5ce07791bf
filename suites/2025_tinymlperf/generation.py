"""Texts written with a key-value cache, beside the same texts written without one."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np

from tinytorch import caching
from tinytorch.benchmarking import measure, measure_interleaved, peak_memory
from tinytorch.transformers import GPT

from .inference import SAMPLES, check, reference_bytes, times
from .tasks import Parameters, Plays, quality
from .variant import Variant, is_quantized

NEW_TOKENS = 256
HOP = 64  # tokens that a context drops when the block is full, with a cache and without


def judge(model: Variant, data: Plays, parameters: Parameters) -> dict[str, Any]:
    """256 tokens with a key-value cache beside the same tokens without one."""
    assert isinstance(model.served, GPT)
    served, prompt = model.served, data.judged[0, :16]
    writer = decoder(served, 1)
    settings: dict[str, Any] = {"temperature": 0.8, "seed": 1}

    def cached() -> np.ndarray:
        return writer.generate(prompt, NEW_TOKENS, **settings)

    def whole(model: GPT) -> np.ndarray:
        return model.generate(prompt, NEW_TOKENS, **settings, hop=HOP)

    same = float((cached() == whole(served))[len(prompt) :].mean())
    if same < 1 and not is_quantized(served):  # rounding to integers turns a last bit into another token
        raise ValueError("the cache wrote other tokens than the same model without it")
    tolerance = 0.02 if is_quantized(served) else 1e-3  # a number rounded to the other integer moves by 1 in 127
    found = caching.check_cache(served, lambda: decoder(served, 2).next_logits, data.judged[:2, :-1], tolerance)
    if found.problems:
        raise ValueError(f"not the cache that it is called: {'; '.join(found.problems)}")
    check(model, parameters, data.judged[:4, :-1])
    own_time, fp32_time = measure_interleaved(cached, lambda: whole(data.reference), samples=7, warmup=1)
    text = cycle(data.judged.reshape(-1))
    reading = decoder(served, 1)
    one_token = measure(lambda: reading.next_logits([[next(text)]]), samples=SAMPLES, warmup=50)
    own_quality, fp32_quality = (quality(data, m, m.next_logits) for m in (served, data.reference))
    metrics = {
        "val_loss": own_quality,
        "loss_added": own_quality - fp32_quality,
        **times(one_token),
        "throughput": NEW_TOKENS / own_time.median,
        "speedup": fp32_time.median / own_time.median,
        "same_tokens": same,
        "logit_difference": found.difference,
        "file_bytes": model.file_bytes,
        "file_share": model.file_bytes / reference_bytes(data),
        "memory_bytes": peak_memory(cached),
    }
    return {"metrics": metrics, "exhibits": []}


def decoder(model: GPT, rows: int) -> caching.Decoder:
    return caching.Decoder(model, caching.KVCache(model, rows, HOP))
