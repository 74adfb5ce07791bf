"""A suite as a frozen model: what to run and what to require of it.

    suites/1986_mnist/suite.yaml -> suites.load_suite() -> Suite

How a suite is read is in `suites`, how it is run in `runner`, what came out in `record`, and how that is shown in
`tito.report`. Each suite.yaml is accompanied by a workload.py, or its key `workload` names another suite's. The
workload has the following functions. They import only tinytorch and NumPy, measure no time, and print nothing. A long
workload consists of several files in the folder, imported as `from .tasks import Digits`.

    load(parameters) -> data                       the data set, ready to use
    build(parameters, seed) -> model               a fresh model: parameters(), state_dict(), load_state_dict()
    train(model, data, parameters, seed, report)   trains it; returns the learning curve, a list of flat
                                                   dicts, e.g. {"epoch": 1, "train_loss": 0.3, "accuracy": 0.95}.
                                                   It may call `report(done, total, **figures)` at any rate
    evaluate(model, data, parameters) -> dict      {"metrics": {name: float}, "exhibits": [see record.Exhibit]}
    predictor(model) -> callable                   array of n inputs -> array of n outputs, for inference
    queries(data, parameters) -> array             held-out inputs, first axis = samples, for latency and throughput

Two more are optional:

    prepare(parameters, file)                      write what `load` needs to a file, once for many processes
    save(model, folder)                            write the model that was evaluated, for `--keep-models`

`evaluate` may also return {"raw": {name: [numbers]}}, the values behind its metrics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tito.process.documents import Frozen, Limits

# What the engine itself measures of each seed; gates and aims may name these as well as the suite's own.
ENGINE_METRICS = ("load_seconds", "train_seconds", "evaluate_seconds")


def _not_the_index(name: str) -> str:
    if name == "index":
        raise ValueError("the name of the report's first page, index.html, is taken")
    return name


def _as_list(data: object) -> object:
    return [] if data == "none" else [data] if isinstance(data, str) else data


# It becomes the name of a page and of a folder of records.
SuiteName = Annotated[str, Field(pattern=r"^[a-z0-9_]+$"), AfterValidator(_not_the_index)]
Year = Annotated[int, Field(ge=1, le=9999)]
# In suite.yaml "none", one name, or a list of names
DataSets = Annotated[list[Literal["mnist", "cifar10", "shakespeare"]], BeforeValidator(_as_list)]
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
    short: str = ""  # for the head of a column; the title where it is not given


class Quick(Frozen):
    """What a case runs with under --quick: fewer seeds, other parameters, the same gates."""

    seeds: list[int] | None = Field(default=None, min_length=1)
    parameters: Parameters = Field(default={})
    leave_out: str = ""  # why the case has no part in a quick run


class Case(Frozen):
    """One training to be judged: parameters, seeds, gates that must hold, aims that may."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    parameters: Parameters
    seeds: list[int] = Field(min_length=1)
    gates: list[Criterion] = Field(min_length=1)
    aims: list[Criterion] = Field(default=[])
    metrics: list[str] | None = Field(default=None, min_length=1)  # of the suite's, those that it measures; else all
    note: str = ""  # e.g. why this case is expected to fail, shown beside its figures
    # A work of tito.versus: what is measured is this work beside PyTorch, a round for each seed
    rival: str = Field(default="", pattern=r"^[a-z0-9_]*$")
    quick: Quick = Quick()


class ProfilePlan(Frozen):
    """Which case is profiled (latency, throughput, memory, stacks) and how much."""

    case: str
    repetitions: int = Field(default=3, ge=1)  # fresh processes
    queries: int = Field(default=1000, ge=662)  # 662 samples are what p99 needs (MLPerf's rule)
    batches: list[int] = Field(default=[1, 8, 64, 512], min_length=1)
    stack_seconds: float = Field(default=5.0, gt=0)


class Overview(Frozen):
    """Cases side by side: for each value of one parameter a table, and who is beaten by nobody."""

    group: str  # the parameter
    columns: list[str] = Field(min_length=1)  # metrics
    size: str  # the metrics of the front: of two, less is better
    time: str
    # A case measures one of these; which way is better
    quality: dict[str, Literal["at_least", "at_most"]] = Field(min_length=1)
    reference: Parameters = Field(default={})  # the parameters of each group's case that the others are compared with
    relative: dict[str, str] = Field(default={})  # size, time, quality -> the metric that says it relative to that case


class Suite(Frozen):
    """A standardised benchmark, as its suite.yaml fixes it."""

    name: SuiteName
    year: Year
    title: str
    story: str
    modules: list[int]  # course modules whose code it runs
    data: DataSets
    workload: str = "workload.py"  # or another suite's, e.g. ../2012_cifar10/workload.py
    metrics: dict[str, Metric]
    cases: list[Case] = Field(min_length=1)
    profile: ProfilePlan
    overview: Overview | None = None
    limits: Limits

    def metrics_of(self, case: Case) -> list[str]:
        """The metrics that a case measures."""
        return list(self.metrics if case.metrics is None else case.metrics)

    def case(self, name: str) -> Case:
        """The case of that name."""
        return next(case for case in self.cases if case.name == name)


class LoadedSuite(Frozen):
    """A suite with the folder and workload it came from, the hash of its files, and what was altered since."""

    suite: Suite
    folder: Path
    workload: Path
    sha256: str
    altered: list[str] = Field(default=[])  # e.g. "gate accuracy=0.01"; a run of it is then no full result
