"""The result of a run: one immutable document for one run of one suite.

    runner -> Record -> store -> report

A record holds the raw samples next to every summary, the gates with the measured values, and the provenance of it all.
Two records may be compared only if their machine fingerprints are equal.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, NonNegativeInt, PositiveFloat, PositiveInt

from tito.bench.picture import Picture
from tito.bench.suite import Criterion, Metric, Overview, Parameters, SuiteName, Year
from tito.process.documents import Frozen
from tito.process.noise import Noise, judge
from tito.process.provenance import Provenance

SCHEMA_VERSION = 2  # 1: pictures are lists of numbers
LONGEST_NOTE = 500  # characters


class Lines(Frozen):
    """Exhibit: one or more curves."""

    kind: Literal["lines"] = "lines"
    title: str
    x_title: str
    y_title: str
    series: list[Series]
    logarithmic: bool = False  # both axes


class Series(Frozen):
    name: str
    x: list[float]
    y: list[float]


class Confusion(Frozen):
    """Exhibit: counts[i][j] samples of class i were predicted as class j."""

    kind: Literal["confusion"] = "confusion"
    title: str
    classes: list[str]
    counts: list[list[NonNegativeInt]]


class Pictures(Frozen):
    """Exhibit: small images with captions, e.g. the worst mistakes."""

    kind: Literal["pictures"] = "pictures"
    title: str
    pictures: list[Picture]


class Points(Frozen):
    """Exhibit: labeled points in the plane and, if `grid` is given, the model's output over the plane."""

    kind: Literal["points"] = "points"
    title: str
    x: list[float]
    y: list[float]
    label: list[int]
    grid_x: list[float] = Field(default=[])
    grid_y: list[float] = Field(default=[])
    grid: list[list[float]] = Field(default=[])  # grid[i][j] is the output at (grid_x[j], grid_y[i])


class Heatmaps(Frozen):
    """Exhibit: matrices of numbers side by side, e.g. attention maps or filters."""

    kind: Literal["heatmaps"] = "heatmaps"
    title: str
    x_title: str
    y_title: str
    names: list[str]
    matrices: list[list[list[float]]]


class Bars(Frozen):
    """Exhibit: named bars, optionally in several groups."""

    kind: Literal["bars"] = "bars"
    title: str
    y_title: str
    names: list[str]
    groups: dict[str, list[float]]
    logarithmic: bool = False


class Texts(Frozen):
    """Exhibit: named texts, e.g. samples from stages of training. They are shown escaped."""

    kind: Literal["texts"] = "texts"
    title: str
    texts: list[tuple[str, str]]  # (heading, text)


class Table(Frozen):
    """Exhibit: a small table."""

    kind: Literal["table"] = "table"
    title: str
    columns: list[str]
    rows: list[list[str | float | int | None]]


Exhibit = Annotated[
    Lines | Confusion | Pictures | Points | Heatmaps | Bars | Texts | Table, Field(discriminator="kind")
]


class Mine(Frozen):
    """Whose modules ran, in a run of a learner's own code."""

    modules: dict[str, str]  # SHA-256 of each file of the learner's, by module
    borrowed: list[str]  # modules of the suite that were the reference's


class SeedRun(Frozen):
    """One training in one fresh process."""

    seed: int
    metrics: dict[str, float]  # the workload's own, and train_seconds, load_seconds, evaluate_seconds
    curve: list[dict[str, float]]
    exhibits: list[Exhibit]
    seconds: float | None = Field(default=None, ge=0)  # of its process as a whole; None in older records
    raw: dict[str, list[float]] = Field(default={})  # values behind the metrics, e.g. each query's time
    # Of the machine while it trained and evaluated, see tito.process.conditions; older records: while it evaluated
    conditions: dict[str, float] = Field(default={})


class Summary(Frozen):
    """A metric over the seeds."""

    n: int
    mean: float
    sd: float | None  # sample standard deviation; none for a single seed
    median: float
    min: float
    max: float


class Verdict(Frozen):
    """A criterion and what was measured against it."""

    role: Literal["gate", "aim"]
    criterion: Criterion
    measured: float | None
    met: bool


class CaseResult(Frozen):
    name: str
    title: str
    note: str
    work: str = "training"  # what took `train_seconds`; "" if nothing did
    parameters: Parameters
    runs: list[SeedRun]
    summary: dict[str, Summary]
    verdicts: list[Verdict]


class LatencyRun(Frozen):
    """Single-stream latency in one fresh process, all samples kept."""

    samples_us: list[PositiveFloat] = Field(min_length=1)
    p50_us: PositiveFloat
    p90_us: PositiveFloat
    p99_us: PositiveFloat
    conditions: dict[str, float] = Field(default={})  # of the machine during latency and throughput


class Throughput(Frozen):
    """Offline throughput at one batch size: one figure for each fresh process."""

    batch: PositiveInt
    samples_per_second: list[PositiveFloat] = Field(min_length=1)


class MemorySample(Frozen):
    seconds: float
    rss: int  # bytes
    uss: int | None  # bytes, where the system reports it


class Phase(Frozen):
    name: str
    start: float  # seconds since the child started
    end: float
    peak: int | None = (
        None  # bytes: the kernel's high-water mark of the process at the end of the phase, where it keeps one
    )


class MemoryTrace(Frozen):
    """The memory of one child over time as psutil reports it, in bytes."""

    case: str
    seed: int
    baseline: int  # RSS after the workload's import, before it loads anything
    peak: int
    interval: float
    samples: list[MemorySample]
    phases: list[Phase]


class Stacks(Frozen):
    """py-spy's collapsed stacks: ("main;train;step", samples).

    Frames of compiled code, if there are any, name their library: "sgemm_kernel (libscipy_openblas64_.so)".
    """

    tool: str
    rate_hz: int
    seconds: float
    collapsed: list[tuple[str, PositiveInt]]
    of: Literal["training", "inference"] = "training"
    native: bool = False  # whether there are frames of compiled code


class Allocation(Frozen):
    function: str
    file: str
    bytes: NonNegativeInt


class Allocations(Frozen):
    """The functions that held the most memory when a process had the most, as memray saw them."""

    tool: str
    of: Literal["training", "inference"]
    peak: NonNegativeInt  # bytes that were allocated, without the interpreter's and the libraries' own
    functions: list[Allocation]


class Profile(Frozen):
    """The speed and size of the profiled case's model."""

    case: str
    parameter_count: int
    model_bytes: int  # of the safetensors file on disk
    latency: list[LatencyRun]
    throughput: list[Throughput]
    memory: MemoryTrace | None
    stacks: Stacks | None
    allocations: Allocations | None = None  # None without the extra `memray`


class Resumed(Frozen):
    """Seeds that an interrupted run had finished, and that this run, the same one, took over."""

    began: AwareDatetime  # when the interrupted run began
    seeds: dict[str, list[int]]  # by case


class Omission(Frozen):
    """Something that was not measured, and one line that says why."""

    what: str
    why: str


class Record(Frozen):
    """One run of one suite. `status` is "passed" only if every gate of every case was met."""

    schema_version: int = Field(default=SCHEMA_VERSION, strict=True)
    id: str
    suite: SuiteName
    year: Year
    title: str
    story: str
    created: AwareDatetime
    seconds: float
    quick: bool
    altered: list[str] = Field(default=[])  # how this run differs from its suite.yaml, e.g. "1 of 3 seeds"
    status: Literal["passed", "gate missed", "failed"]
    reason: str | None  # one line, unless passed
    metrics: dict[str, Metric]
    overview: Overview | None = None
    cases: list[CaseResult]
    profile: Profile | None
    omitted: list[Omission]
    before: dict[str, float] = Field(default={})  # of the machine before the run: see tito.process.neighbors
    mine: Mine | None = None  # None: the reference ran
    note: str = Field(default="", max_length=LONGEST_NOTE)  # of whoever ran it: `--note`
    resumed: Resumed | None = None
    provenance: Provenance

    @property
    def full(self) -> bool:
        """Whether the suite ran without any change to its suite.yaml; only such runs are compared."""
        return not self.quick and not self.altered and self.mine is None

    @property
    def noise(self) -> Noise:
        """Whether the machine was busy with something else during the run, and why."""
        seeds = [(f"{case.title}, seed {run.seed}", run.conditions) for case in self.cases for run in case.runs]
        profile = self.profile.latency if self.profile else []
        speed = [(f"latency and throughput, process {i}", run.conditions) for i, run in enumerate(profile, 1)]
        found, threads = judge(seeds + speed, self.before), self.provenance.threads
        if threads is None or threads.usual:
            return found
        return Noise(True, (*found.reasons, f"it ran on {threads.line}"), found.known)


Lines.model_rebuild()
