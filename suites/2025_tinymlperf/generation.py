"""Texts generated with a key-value cache, compared with the same texts generated without one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, cycle, groupby
from pathlib import Path
from typing import Any

import numpy as np

import tinytorch as tt
from tinytorch import caching
from tinytorch.base.errors import CheckError
from tinytorch.benchmarking import Measurement, measure, measure_interleaved, peak_memory
from tinytorch.checks import check_cache, check_causal
from tinytorch.inference import predictor
from tinytorch.transformers import GPT, Sampler, window_start

from .inference import SAMPLES, check, reference_bytes, times
from .tasks import Parameters, Plays, item_results, quality, raw_of
from .variant import Variant, loaded, predictor_of, tolerance_of

NEW_TOKENS = 256
PROMPT = 16
HOP = 64  # tokens that the context drops when the block is full, with and without a cache
TEMPERATURE = 0.8
TEXTS = 7
ROUNDING = 1e-5

Write = Callable[..., np.ndarray]


def judge(model: Variant, data: Plays, parameters: Parameters) -> dict[str, Any]:
    """Compare generating 256 tokens with a key-value cache and without, with a new prompt and seed for each text."""
    assert isinstance(model.served, GPT)
    served = model.served
    check(model, parameters, data.judged[:4, :-1])
    check_causal(served, data.judged[:4, :-1], tolerance=1e-4)
    difference = max(cache_error(served, data.judged[:rows, :-1]) for rows in (1, 2))
    cached = Writer(decoder(served, 1).generate, data)
    whole = Writer(partial(predictor(data.reference).generate, hop=HOP), data)
    own_time, fp32_time = measure_interleaved(cached, whole, samples=TEXTS, warmup=1)
    same = float(np.mean([drawn_again(served, text, seed) for seed, text in enumerate(cached.texts)]))
    if same < 0.9:  # differences that rounding explains are left to the case's gate
        raise ValueError(f"the cached model generated other tokens: only {same:.1%} match the model without a cache")
    in_turn, alone = token_times(served, data)
    results = item_results(data, served, served.next_logits)
    own_quality, fp32_quality = float(results.mean()), quality(data, data.reference, data.reference.next_logits)
    metrics = {
        "val_loss": own_quality,
        "loss_added": own_quality - fp32_quality,
        **times(in_turn),
        "alone_p50_us": alone.median * 1e6,
        "throughput": NEW_TOKENS / own_time.median,
        "speedup": fp32_time.median / own_time.median,
        "same_tokens": same,
        "logit_difference": difference,
        "file_bytes": model.file_bytes,
        "file_share": model.file_bytes / reference_bytes(data),
        "memory_bytes": memory(model, data.judged[0, :PROMPT]),
    }
    return {"metrics": metrics, "exhibits": [], "raw": raw_of(results)}


def token_times(served: GPT, data: Plays) -> tuple[Measurement, Measurement]:
    """Time one more token with the cache: in turn with the reference, which reads a whole context, and alone."""
    text, context = cycle(data.judged.reshape(-1)), cycle(data.judged[:, :-1])
    reading, reference = decoder(served, 1), predictor_of(data.reference)

    def token() -> np.ndarray:
        return reading.next_logits([[next(text)]])

    in_turn, _ = measure_interleaved(token, lambda: reference(next(context)[None]), samples=SAMPLES, warmup=50)
    return in_turn, measure(token, samples=SAMPLES, warmup=50)


class Writer:
    """Generates a new text on each call and keeps it, so that the timed texts can be checked afterward."""

    def __init__(self, write: Write, data: Plays) -> None:
        self.write, self.data, self.seeds = write, data, count()
        self.texts: list[np.ndarray] = []

    def __call__(self) -> None:
        seed = next(self.seeds)
        prompt = self.data.judged[seed % len(self.data.judged), :PROMPT]
        self.texts.append(self.write(prompt, NEW_TOKENS, temperature=TEMPERATURE, seed=seed))


def drawn_again(model: GPT, text: np.ndarray, seed: int) -> float:
    """Return the share of a text's tokens that the model also draws when it recomputes the whole context.

    A token is drawn if a random number falls into its interval of the cumulative probabilities. Float rounding moves
    the bounds of the intervals by about 1e-7, so within ROUNDING of a bound, either neighbor counts as drawn.
    """
    if len(text) != PROMPT + NEW_TOKENS:
        raise CheckError("answers", f"a text of {len(text)} tokens: expected {PROMPT + NEW_TOKENS}")
    sampler, same = Sampler(TEMPERATURE, None, None, seed), 0
    with tt.no_grad():
        for i, logits in zip(range(PROMPT, len(text)), recomputed(model, text), strict=True):
            bounds = np.append(0, sampler.probabilities(logits[None])[0].cumsum())
            low, high = bounds[text[i]], bounds[text[i] + 1]
            same += bool(low - ROUNDING <= sampler.rng.random() * bounds[-1] < high + ROUNDING)
    return same / NEW_TOKENS


def recomputed(model: GPT, text: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the logits (V,) from which each token after the prompt is drawn, without a cache.

    The model is causal (`check_causal`), so one pass over a context returns the logits of all tokens in it.
    """
    starts = [window_start(i, model.block_size, HOP) for i in range(PROMPT, len(text))]
    for start, places in groupby(range(PROMPT, len(text)), lambda i: starts[i - PROMPT]):
        ends = list(places)
        logits = model(text[None, start : ends[-1]]).data[0]  # (T, V)
        yield from logits[[end - 1 - start for end in ends]]


def cache_error(model: GPT, tokens: np.ndarray) -> float:
    """Return the largest error of the cached logits against full recomputation; raise CheckError if it is too large."""
    found = check_cache(model, lambda: decoder(model, len(tokens)).next_logits, tokens, tolerance_of(model))
    if found.problems:
        raise CheckError("cached", f"not a valid key-value cache: {'; '.join(found.problems)}")
    return found.difference


def memory(model: Variant, prompt: np.ndarray) -> int:
    """Measure the peak memory of NumPy arrays while the model and its cache are loaded and one text is generated."""

    def text() -> np.ndarray:
        again, _ = loaded(saved)
        assert isinstance(again, GPT)
        return decoder(again, 1).generate(prompt, NEW_TOKENS, temperature=TEMPERATURE, seed=0)

    with tempfile.TemporaryDirectory() as folder:
        saved = model.write(Path(folder))
        return peak_memory(text)


def decoder(model: GPT, rows: int) -> caching.Decoder:
    return caching.Decoder(model, caching.KVCache(model, rows, HOP))
