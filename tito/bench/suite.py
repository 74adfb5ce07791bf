"""What to run: a suite.yaml, checked and frozen.

    suites/1986_mnist/suite.yaml -> load_suite() -> Suite

Says nothing of how it is run (`runner`), what came out (`record`) or how that is shown (`tito.report`).
Beside each suite.yaml lies a workload.py with these functions, which import only tinytorch (and NumPy),
time nothing and print nothing:

    load(parameters) -> data                       the data set, ready to use
    build(parameters, seed) -> model               a fresh model
    train(model, data, parameters, seed, report)   trains it; returns the learning curve, a list of flat
                                                   dicts, e.g. {"epoch": 1, "train_loss": 0.3, "accuracy": 0.95}.
                                                   `report(done, total, **figures)` is called as often as it likes
    evaluate(model, data, parameters) -> dict      {"metrics": {name: float}, "exhibits": [see record.Exhibit]}
    predictor(model) -> callable                   array of n inputs -> array of n outputs, for inference
    queries(data, parameters) -> array             held-out inputs, first axis = samples, for latency and throughput
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A document that refuses unknown keys and does not change once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Scalar = bool | int | float | str
Parameters = dict[str, Scalar | list[Scalar]]


class Criterion(Frozen):
    """One demand on one metric: `over` the seeds, it must be `direction` `value`."""

    metric: str
    over: Literal["mean", "median", "min", "max"] = "mean"
    direction: Literal["at_least", "at_most"]
    value: float

    def met_by(self, measured: float) -> bool:
        """Whether a measured value satisfies it (NaN never does)."""
        return measured >= self.value if self.direction == "at_least" else measured <= self.value


class Metric(Frozen):
    """What a number means, so that it can be shown without guessing."""

    title: str
    unit: str  # "%" (the value is then a fraction), "s", "bits", "count", ...


class Quick(Frozen):
    """What a case runs with under --quick: fewer seeds, other parameters, the same gates."""

    seeds: list[int] | None = Field(default=None, min_length=1)
    parameters: Parameters = {}


class Case(Frozen):
    """One training to be judged: parameters, seeds, gates that must hold, aims that may."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    parameters: Parameters
    seeds: list[int] = Field(min_length=1)
    gates: list[Criterion] = Field(min_length=1)
    aims: list[Criterion] = []
    note: str = ""  # e.g. why this case is expected to fail, shown beside its figures
    quick: Quick = Quick()


class ProfilePlan(Frozen):
    """Which case is profiled (latency, throughput, memory, stacks) and how much."""

    case: str
    repetitions: int = Field(default=3, ge=1)  # fresh processes
    queries: int = Field(default=1000, ge=662)  # 662 samples are what p99 needs (MLPerf's rule)
    batches: list[int] = Field(default=[1, 8, 64, 512], min_length=1)
    stack_seconds: float = Field(default=5.0, gt=0)


class Limits(Frozen):
    """Past these a child process and all that it started are ended."""

    seconds: float = Field(gt=0)
    memory_mb: int = Field(gt=0)


class Suite(Frozen):
    """A standardised benchmark, as its suite.yaml fixes it."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    year: int
    title: str
    story: str
    modules: list[int]  # course modules whose code it runs
    data: Literal["none", "mnist", "cifar10", "shakespeare"]
    metrics: dict[str, Metric]
    cases: list[Case] = Field(min_length=1)
    profile: ProfilePlan
    limits: Limits

    def case(self, name: str) -> Case:
        """The case of that name."""
        return next(case for case in self.cases if case.name == name)


class LoadedSuite(Frozen):
    """A suite with the folder it came from and the hash of its yaml and workload."""

    suite: Suite
    folder: Path
    sha256: str
