"""One contender in a fresh process: check it, time each measurement, and print one line of JSON."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable

from tinytorch.benchmarking import measure
from tito.process.orphan import end_with_parent
from tito.versus import rivals
from tito.versus.contender import Contender

SECONDS = 1.0  # each measurement takes about this long
FEWEST, MOST = 5, 2000


def samples_for(f: Callable[[], object]) -> int:
    """Return how many calls fill the time."""
    f()
    start = time.perf_counter()
    f()
    return max(FEWEST, min(MOST, int(SECONDS / (time.perf_counter() - start))))


def main(work: str, contender: str) -> None:
    """Build the contender, check it, and time it."""
    end_with_parent()
    build: Callable[[], Contender] = getattr(importlib.import_module(f"tito.versus.works.{work}"), contender)
    made = build()
    check = made.check().tolist()
    medians = {}
    for name, f in made.timed.items():
        n = samples_for(f)
        medians[name] = measure(f, samples=n, warmup=max(2, n // 5)).median
    library, threads = rivals.library(contender)
    told = {"check": check, "medians": medians, "library": library, "threads": threads}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
