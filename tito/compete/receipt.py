"""A receipt: what the organizer measured for one entry, on one ground. Everything that ranks is in receipts.

    entry -> verify -> Receipt -> ranking -> table, page

An entry holds no figures, so a receipt is the only source of them. Figures compare only within one ground. A receipt
keeps one result for each child process (the unit of statistics) and one result for each test item (for the paired
bootstrap), so that ranks are computed from receipts alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Literal, Self

import numpy as np
from pydantic import AwareDatetime, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from tito.process.documents import Frozen
from tito.process.provenance import Machine

SCHEMA_VERSION = 1
# Levels of the quantiles that each child keeps of its raw times, in percent.
LEVELS = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
QualityMetric = Literal["accuracy", "loss"]


class Ground(Frozen):
    """What must be the same for two figures to be compared."""

    machine: str  # fingerprint
    backend: str  # kernel backend with its version, e.g. "onednn 3.9.9"
    kernel: str  # OpenBLAS kernel, e.g. "SkylakeX"
    numpy: str
    tinytorch_sha256: str
    rules_sha256: str
    host: str = ""  # only for a host whose figures differ from those of others of its kind (see `anchor`)

    @property
    def id(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of all fields."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class ProblemText(Frozen):
    """Why an entry is refused: a stable code, and where the problem is."""

    code: str
    file: str
    field: str
    found: str
    expected: str


class Quality(Frozen):
    """Quality on the whole test split, of the entry and of the reference, with one result for each item."""

    metric: QualityMetric
    value: float  # accuracy as a fraction, or loss in nats
    reference: float
    lost: float  # how much worse than the reference; negative if the entry is better
    items: PositiveInt  # images, or windows of text
    own_items: str  # base64: one bit for each image (1: correct), or one float32 (little-endian) for each window's loss
    reference_items: str

    @model_validator(mode="after")
    def _check_items(self) -> Self:
        expected = -(-self.items // 8) if self.metric == "accuracy" else 4 * self.items
        for name in ("own_items", "reference_items"):
            found = len(_bytes(getattr(self, name)))
            if found != expected:
                raise ValueError(f"{name}: {found} bytes, expected {expected} for {self.items} items")
        return self

    def own(self) -> np.ndarray:
        """Return one value for each item, (items,): 1 or 0 for an image, the loss for a window."""
        return self._unpack(self.own_items)

    def of_reference(self) -> np.ndarray:
        """Return the same for the reference, in the same order, (items,)."""
        return self._unpack(self.reference_items)

    def _unpack(self, text: str) -> np.ndarray:
        if self.metric == "accuracy":
            return np.unpackbits(np.frombuffer(_bytes(text), np.uint8), count=self.items)
        return np.frombuffer(_bytes(text), "<f4")


def pack_items(metric: QualityMetric, values: np.ndarray) -> str:
    """Return one value for each item as the text that `Quality` keeps."""
    packed = np.packbits(values.astype(bool)) if metric == "accuracy" else values.astype("<f4")
    return base64.b64encode(packed.tobytes()).decode("ascii")


class Times(Frozen):
    """Times of one model in one child process, in µs."""

    p50_us: PositiveFloat
    p90_us: PositiveFloat | None = None  # None without enough queries for it
    p99_us: PositiveFloat | None = None
    batch_us: PositiveFloat | None = None  # median time of one batch of 64
    quantiles_us: list[PositiveFloat] = Field(default=[])  # at LEVELS

    @model_validator(mode="after")
    def _check_quantiles(self) -> Self:
        if self.quantiles_us and len(self.quantiles_us) != len(LEVELS):
            raise ValueError(f"quantiles_us: {len(self.quantiles_us)} values, expected {len(LEVELS)}")
        return self


class Child(Frozen):
    """One child process in which entry and reference were timed, interleaved; one unit of statistics."""

    round: NonNegativeInt
    own: Times
    reference: Times
    load_average: NonNegativeFloat | None = None  # over one minute, when the child began
    steal: NonNegativeFloat | None = None  # share of the time that the hypervisor took away
    context_switches: NonNegativeInt | None = None  # involuntary ones
    cpu_per_wall: NonNegativeFloat | None = None  # CPU time divided by elapsed time, while timing


class Ratio(Frozen):
    """A ratio of latencies, reference to candidate, with its 95% interval: above 1 the candidate is faster."""

    ratio: PositiveFloat
    low: PositiveFloat
    high: PositiveFloat
    verdict: Literal["faster", "slower", "tie"]


class SelfTest(Frozen):
    """The check of the measurement itself: the reference against itself, and against a twin that is 10% slower."""

    created: AwareDatetime
    children: PositiveInt
    same: Ratio  # must be a tie
    slowed: Ratio  # must be slower

    @property
    def passed(self) -> bool:
        """Whether the same model tied and the slowed one lost."""
        return self.same.verdict == "tie" and self.slowed.verdict == "slower"


class Anchor(Frozen):
    """An entry that other hosts of the ground had measured, and that was measured here before the others."""

    entry: str
    receipt: str  # the id of the receipt that it is compared with
    host: str  # where that receipt was written
    theirs: PositiveFloat  # ratio of latencies there, reference to entry
    here: PositiveFloat
    ties: bool


class Layer(Frozen):
    """One layer of the entry's model, as its files show it."""

    name: str  # "0", "blocks.1.attention"
    kind: str  # "QuantizedLinear"
    dtypes: list[str]  # of its tensors, e.g. ["int8", "float32"]
    parameters: NonNegativeInt
    bytes: NonNegativeInt


class Receipt(Frozen):
    """What was measured for one entry on one ground.

    `track` and `division` are None only for a refused entry whose manifest is unreadable.
    """

    schema_version: Literal[1] = 1
    id: str
    entry: str  # "submitter/name"
    track: str | None
    division: Literal["closed", "open"] | None
    title: str
    authors: list[str]
    licence: str = ""
    techniques: list[str]
    techniques_checked: list[str] = Field(default=[])  # those of them that the files show; the others are declared
    recipe: str = ""
    parent: str | None = None  # SHA-256 of the model that the entry was made from
    model_sha256: str  # this and the next: empty if the entry's files could not be read
    manifest_sha256: str = ""  # of submission.json
    ground: Ground
    machine: Machine
    host: str = ""  # which of several machines of this kind
    anchors: list[Anchor] = Field(default=[])  # why this host's figures compare, or do not, with those of other hosts
    began: AwareDatetime | None = None  # when its measurement, or its check if that refused it, began
    created: AwareDatetime
    seconds: NonNegativeFloat  # what verifying the entry took
    status: Literal["verified", "refused"]
    problems: list[ProblemText] = Field(default=[])
    quality: Quality | None = None
    quality_gate_met: bool = False
    times: list[Child] = Field(default=[])
    file_bytes: PositiveInt | None = None  # model.json and model.safetensors together
    reference_bytes: PositiveInt | None = None
    memory_bytes: PositiveInt | None = None  # peak for loading and one query
    reference_memory_bytes: PositiveInt | None = None
    layers: list[Layer] = Field(default=[])
    self_test: SelfTest | None = None
    command: str  # what to type to verify it again
    seal: str = ""

    @model_validator(mode="after")
    def _check_status(self) -> Self:
        if (self.status == "refused") != bool(self.problems):
            raise ValueError(f"status {self.status} with {len(self.problems)} problems")
        if self.status == "verified" and (self.track is None or self.division is None):
            raise ValueError("a verified receipt needs a track and a division")
        return self


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
