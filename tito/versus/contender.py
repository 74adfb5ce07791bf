"""What a work hands over to be timed.

Each file in works/ has a TITLE, BARS (measurement name -> times PyTorch's speed that we aim for) and the
functions `tinytorch()` and `pytorch()`, which build the same thing from the same weights and return a
Contender. Neither framework is imported before its function is called. Another function whose name begins
with `pytorch_` is one more yardstick, measured beside the others and held to no bar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Contender:
    """One side of a comparison.

    `timed[name]()` does one unit of work. `check()` returns numbers that must come out alike on both sides
    (such as first logits and the losses after some steps), so that equal work is compared.
    """

    timed: dict[str, Callable[[], object]]
    check: Callable[[], np.ndarray]
