"""Checks that a benchmark runs before it accepts a figure. A failed check returns its problems or raises an error.

    verify_quantized(model, x)             the layers hold int8 and their sums are exact integers
    check_answers(model, predict, ...)     a predictor returns what its model returns, alone and in batches
    check_cache, check_text                a cached generation agrees with full recomputation

Imports modules up to 19, `quantized` and `saved`. Changed by maintainers of the benchmarks.
"""

from tinytorch.checks.answers import check_answers, check_causal
from tinytorch.checks.cache import check_cache, check_text
from tinytorch.checks.int8 import verify_quantized

__all__ = ["check_answers", "check_cache", "check_causal", "check_text", "verify_quantized"]
