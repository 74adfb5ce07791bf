"""What a work provides to be timed.

Each file in works/ has a TITLE, BARS (measurement name -> the ratio to PyTorch's speed that is the goal), and the
functions `tinytorch()` and `pytorch()`. Both build the same model from the same weights and return a Contender. Neither
framework is imported before its function is called. A further function whose name starts with `pytorch_` is compared
as well, but has no bar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Contender:
    """One side of a comparison.

    `timed[name]()` does one unit of work. `check()` returns values that must agree on both sides, such as the first
    logits and the losses after some steps, so that equal work is compared.
    """

    timed: dict[str, Callable[[], object]]
    check: Callable[[], np.ndarray]
