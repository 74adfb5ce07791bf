"""A suite's workload.py: how it is imported, and checks of everything that its functions return.

`tito.bench.suite` documents the contract. Every breach is a `WorkloadError` with a message of one line.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tito.process.inside import WorkloadError, short

FUNCTIONS = ("load", "build", "train", "evaluate", "predictor", "queries")


def load_workload(path: Path) -> Any:
    """Import workload.py by its path, as a package with the files next to it, and check that it has its functions."""
    for name in [name for name in sys.modules if name.startswith("workload.")]:  # another suite's
        del sys.modules[name]
    beside = [str(path.parent)]  # where `from .tasks import Digits` looks
    specification = importlib.util.spec_from_file_location("workload", path, submodule_search_locations=beside)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["workload"] = module  # dataclasses and pickles look their module up there
    specification.loader.exec_module(module)
    missing = [name for name in FUNCTIONS if not callable(vars(module).get(name))]
    if missing:
        raise WorkloadError(f"workload.py does not define {', '.join(missing)}")
    return module


def check_metrics(answer: object, declared: list[str]) -> dict[str, float]:
    """Return the metrics that evaluate returned: those declared in suite.yaml, each a finite number."""
    if not isinstance(answer, dict) or not isinstance(answer.get("metrics"), dict):
        raise WorkloadError(f'evaluate returned {short(answer)}; expected {{"metrics": {{...}}, ...}}')
    metrics: dict[str, float] = {}
    for name in declared:
        if name not in answer["metrics"]:
            raise WorkloadError(f"evaluate returned no metric {name!r}, which suite.yaml declares")
        metrics[name] = _number(answer["metrics"][name], f"metric {name}")
    unknown = answer["metrics"].keys() - metrics.keys()
    if unknown:
        raise WorkloadError(
            f"evaluate returned {', '.join(sorted(map(str, unknown)))}, which suite.yaml does not declare"
        )
    return metrics


def check_curve(curve: object) -> None:
    """Check that train returned a learning curve: a list of dicts of finite numbers."""
    if not isinstance(curve, list) or not all(isinstance(row, dict) for row in curve):
        raise WorkloadError(f"train returned {short(curve)}; expected a list of dicts, the learning curve")
    for i, row in enumerate(curve):
        for name, value in row.items():
            _number(value, f"the learning curve's {name} in row {i}")


def check_queries(queries: object) -> np.ndarray:
    """Return the held-out inputs as a contiguous array of at least one sample."""
    if not isinstance(queries, np.ndarray) or queries.ndim < 1 or len(queries) == 0:
        raise WorkloadError(f"queries returned {short(queries)}; expected an array of at least one sample")
    return np.ascontiguousarray(queries)


def check_outputs(predict: Callable[[np.ndarray], object], inputs: np.ndarray) -> None:
    """Check that the predictor returns one row of finite numbers for each input."""
    outputs = predict(inputs)
    if not isinstance(outputs, np.ndarray) or len(outputs) != len(inputs):
        raise WorkloadError(f"predictor returned {short(outputs)} for {len(inputs)} inputs; expected as many rows")
    if not np.all(np.isfinite(outputs)):
        raise WorkloadError("predictor returned NaN or infinity")


def array(value: Any) -> np.ndarray:
    """Return a parameter's values: an array as it is, or the array of the framework's Tensor."""
    return value if isinstance(value, np.ndarray) else value.data


def check_raw(raw: object) -> dict[str, list[float]]:
    """Return the raw values that evaluate returned beside its metrics: lists of finite numbers, by name."""
    if not isinstance(raw, dict) or not all(isinstance(values, list) for values in raw.values()):
        raise WorkloadError(f"evaluate returned the raw values {short(raw)}; expected a dict of lists of numbers")
    return {str(name): [_number(value, f"a raw value {name}") for value in values] for name, values in raw.items()}


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise WorkloadError(f"{what} is {short(value)}; expected a number")
    if not math.isfinite(value):
        raise WorkloadError(f"{what} is {value}; expected a finite number")
    return float(value)
