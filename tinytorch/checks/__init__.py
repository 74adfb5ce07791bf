"""Checks that a benchmark runs before it accepts a figure. A failed check returns its problems or raises an error.

    verify_quantized(model, x)             the layers hold int8 and their sums are exact integers
    inexact_layers(model, x)               the second half of it, for a model that is only partly quantized
    check_answers(model, predict, ...)     a predictor returns what its model returns, alone and in batches
    slowed(f, share)                       a function slower by a known share, which a comparison must find
    check_cache, check_text                a cached generation agrees with full recomputation
    most_dependent(model, texts)           the text that shows best whether a cache keeps the past

Imports modules up to 19, `quantized` and `saved`. Changed by maintainers of the benchmarks.
"""

from tinytorch.checks.answers import check_answers, check_causal, check_same, outputs_of
from tinytorch.checks.cache import check_cache, check_text, most_dependent
from tinytorch.checks.int8 import inexact_layers, verify_quantized
from tinytorch.checks.slowed import slowed

__all__ = [
    "check_answers",
    "check_cache",
    "check_causal",
    "check_same",
    "check_text",
    "inexact_layers",
    "most_dependent",
    "outputs_of",
    "slowed",
    "verify_quantized",
]
