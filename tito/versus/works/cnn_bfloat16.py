"""One training step of the work `cnn` in bfloat16, under each framework's autocast."""

from __future__ import annotations

from tito.versus.bounds import Cost
from tito.versus.contender import Contender
from tito.versus.works import cnn

TITLE = "CNN 3-32-64-128, batch 128, in bfloat16"
BARS = {"pytorch_autocast": {"training step": 1 / 0.8}}
COSTS = {"training step": Cost(cnn.OPERATIONS, 2 * cnn.NUMBERS, "bfloat16")}
TOLERANCE = 0.05  # bfloat16 has 8 bits: each product differs by up to 0.4%


def tinytorch() -> Contender:
    from tinytorch.mixed_precision import autocast

    return cnn.tinytorch(autocast)


def pytorch_autocast() -> Contender:
    return cnn.from_torch(channels_last=True, bfloat16=True)
