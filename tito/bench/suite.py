"""A suite as a frozen model: what to run and what to require of it.

    suites/1986_mnist/suite.yaml -> suites.load_suite() -> Suite

`suites` reads a suite, `runner` runs it, `record` defines the result, and `tito.report` shows it. Each suite.yaml is
accompanied by a workload.py, or its key `workload` names another suite's. The workload has the following functions.
They import only tinytorch and NumPy, measure no time, and print nothing. A long workload consists of several files in
the folder, imported as `from .tasks import Digits`.

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

`evaluate` may also return {"raw": {name: [numbers]}}, the values behind its metrics; `statistics` reads "wrong" and
"items", or "losses".
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tito.process.documents import Frozen, Limits

# Metrics that the harness measures for each seed; gates and aims may name these as well as the suite's own.
ENGINE_METRICS = ("load_seconds", "train_seconds", "evaluate_seconds")


# Pages and folders in the folder of the reports
TAKEN = (
    *("index", "leaderboard", "journey", "mine", "compare", "entries", "lessons"),
    *("records", "unfinished", "assets", "standalone"),
)


def _not_taken(name: str) -> str:
    if name in TAKEN:
        raise ValueError(f"expected another name: it is taken by a page or a folder of the reports: {', '.join(TAKEN)}")
    return name


def _as_list(data: object) -> object:
    return [] if data == "none" else [data] if isinstance(data, str) else data


# Also the name of a page and of a folder of records
SuiteName = Annotated[str, Field(pattern=r"^[a-z0-9_]+$"), AfterValidator(_not_taken)]
Year = Annotated[int, Field(ge=1, le=9999)]
# In suite.yaml "none", one name, or a list of names
DataSets = Annotated[list[Literal["mnist", "cifar10", "shakespeare"]], BeforeValidator(_as_list)]
Scalar = bool | int | float | str
Parameters = dict[str, Scalar | list[Scalar]]


class Criterion(Frozen):
    """A requirement on one metric: `over` the seeds, it must be `direction` `value`."""

    metric: str
    over: Literal["mean", "median", "min", "max"] = "mean"
    direction: Literal["at_least", "at_most"]
    value: float

    def met_by(self, measured: float) -> bool:
        """Return whether a measured value meets the requirement; NaN never does."""
        return measured >= self.value if self.direction == "at_least" else measured <= self.value


class Metric(Frozen):
    """The meaning of a number, so that it is shown with its name and unit."""

    title: str
    unit: str  # "%" (the value is then a fraction), "s", "bits", "count", ...
    short: str = ""  # the head of a column; default: the title
    needs: list[Literal["onnx", "onnxruntime"]] = Field(default=[])  # packages without which it is left out


class Quick(Frozen):
    """A case's changes under --quick: fewer seeds, other parameters, the same gates."""

    seeds: list[int] | None = Field(default=None, min_length=1)
    parameters: Parameters = Field(default={})
    leave_out: str = ""  # why a quick run leaves the case out


class Case(Frozen):
    """One training to judge: parameters, seeds, gates that must be met, and aims that may be missed."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    parameters: Parameters
    seeds: list[int] = Field(min_length=1)
    gates: list[Criterion] = Field(min_length=1)
    aims: list[Criterion] = Field(default=[])
    metrics: list[str] | None = Field(
        default=None, min_length=1
    )  # those of the suite's metrics that it measures; default: all
    note: str = ""  # e.g. why this case is expected to fail; shown next to its figures
    work: str = "training"  # what `train` does, e.g. "calibration", so that its time has that name; "" for nothing
    mine: Parameters = Field(default={})  # lighter ones for a learner's own modules, which have no fast paths
    # A work of tito.versus: the case measures it against PyTorch, one round for each seed
    rival: str = Field(default="", pattern=r"^[a-z0-9_]*$")
    quick: Quick = Quick()


class ProfilePlan(Frozen):
    """The case that is profiled (latency, throughput, memory, stacks), and how much."""

    case: str
    mine: str = ""  # the case that is profiled on a learner's own modules; default: the same
    repetitions: int = Field(default=3, ge=1)  # fresh processes
    queries: int = Field(default=1000, ge=662)  # p99 needs 662 samples (MLPerf's rule)
    batches: list[int] = Field(default=[1, 8, 64, 512], min_length=1)
    stack_seconds: float = Field(default=5.0, gt=0)
    # During which stacks and memory are observed: while the case trains, or while its model answers single queries
    observe: Literal["training", "inference"] = "training"


class Overview(Frozen):
    """Cases side by side: for each value of one parameter a table, and the cases that no other one beats."""

    group: str  # the parameter
    columns: list[str] = Field(min_length=1)  # metrics
    size: str  # the metrics of the front; for size and time, less is better
    time: str
    # Each case measures one of these; the value says which direction is better
    quality: dict[str, Literal["at_least", "at_most"]] = Field(min_length=1)
    reference: Parameters = Field(
        default={}
    )  # parameters that mark the case with which each group's others are compared
    relative: dict[str, str] = Field(default={})  # size, time, quality -> the same metric relative to that case


class Duration(Frozen):
    """About how many seconds a whole run takes on two cores; stated before a run, never compared."""

    full: float = Field(gt=0)
    quick: float | None = Field(default=None, gt=0)


class Suite(Frozen):
    """A standardized benchmark, as fixed in its suite.yaml."""

    name: SuiteName
    year: Year
    title: str
    story: str
    modules: list[int]  # the course modules whose code it runs
    data: DataSets
    workload: str = "workload.py"  # or another suite's, e.g. ../2012_cifar10/workload.py
    metrics: dict[str, Metric]
    cases: list[Case] = Field(min_length=1)
    profile: ProfilePlan
    overview: Overview | None = None
    limits: Limits
    duration: Duration | None = None

    def metrics_of(self, case: Case) -> list[str]:
        """Return the metrics that a case measures."""
        return list(self.metrics if case.metrics is None else case.metrics)

    def case(self, name: str) -> Case:
        """Return the case of that name."""
        return next(case for case in self.cases if case.name == name)


class LoadedSuite(Frozen):
    """A suite with its folder and workload, the hash of its files, and the changes made for one run."""

    suite: Suite
    folder: Path
    workload: Path
    sha256: str
    altered: list[str] = Field(default=[])  # e.g. "gate accuracy=0.01"; such a run is not a full result
