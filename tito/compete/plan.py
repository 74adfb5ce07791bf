"""What verifying many entries a day needs, reckoned from measured receipts: hosts, hours, and bytes.

seconds   s = mean seconds of a verified entry, over the tracks in the proportions of the receipts
self-test u = mean seconds of a self-test, likewise: seconds of the track's entries * 2 n / (n + 2), as a test has 2 n
              rounds and an entry n + 2; there is one for each batch of B entries
          t = sum over tracks of the seconds of one self-test: a run has one more of each track than batches
hosts     h = ceil(entries * (s + u / B) / (86,400 - t)), with one `tito verify --shard I/h` a day on each
bytes     b = entries * (mean bytes of the model files + mean bytes of a receipt)
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tito.compete.receipt import Receipt
from tito.compete.session import BATCH
from tito.errors import TitoError

DAY = 86_400  # seconds
QUALITY_ROUNDS = 2  # of an entry; besides these it has one round for each process that times it
SELF_TEST_ROUNDS = 2  # for each of these processes: the reference and its twin


@dataclass(frozen=True)
class TrackCost:
    """What the receipts of one track took, on average."""

    track: str
    receipts: int
    seconds: float
    self_test_seconds: float  # of one self-test, estimated from its number of rounds
    model_bytes: float
    receipt_bytes: float


@dataclass(frozen=True)
class Plan:
    """What so many entries a day need, in the receipts' proportions of tracks."""

    entries: int
    tracks: Sequence[TrackCost]
    seconds: float  # mean of one entry
    batch_seconds: float  # of the self-tests of batches, for each entry
    self_test_seconds: float  # of those that a run has besides, one for each track
    hosts: int
    bytes: float

    @property
    def hours(self) -> float:
        """Hours of measuring, over all hosts: the entries and one run's self-tests on each host."""
        own = self.entries * (self.seconds + self.batch_seconds)
        return (own + self.hosts * self.self_test_seconds) / 3600


def plan(receipts: Sequence[Receipt], entries: int) -> Plan:
    """Reckon what so many entries a day need, from receipts of one ground.

    Raises:
        TitoError: no receipt is of a fully measured entry, or one run's self-tests take a whole day.
    """
    measured: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        if receipt.status == "verified" and receipt.track and receipt.times:
            measured[receipt.track].append(receipt)
    if not measured:
        raise TitoError("no receipt of a measured entry yet to reckon from; tito verify makes them")
    tracks = [_cost(track, own) for track, own in sorted(measured.items())]
    count = sum(cost.receipts for cost in tracks)
    seconds = sum(cost.receipts * cost.seconds for cost in tracks) / count
    tests = sum(cost.self_test_seconds for cost in tracks)
    if tests >= DAY:
        raise TitoError(f"the self-tests of one run take {tests / 3600:.1f} hours: no time is left in a day")
    batch = sum(cost.receipts * cost.self_test_seconds for cost in tracks) / count / BATCH
    hosts = math.ceil(entries * (seconds + batch) / (DAY - tests))
    kept = sum(cost.receipts * (cost.model_bytes + cost.receipt_bytes) for cost in tracks) / count
    return Plan(entries, tracks, seconds, batch, tests, hosts, entries * kept)


def _cost(track: str, receipts: Sequence[Receipt]) -> TrackCost:
    seconds = statistics.fmean(receipt.seconds for receipt in receipts)
    children = statistics.fmean(len(receipt.times) for receipt in receipts)
    return TrackCost(
        track,
        len(receipts),
        seconds,
        seconds * SELF_TEST_ROUNDS * children / (children + QUALITY_ROUNDS),
        statistics.fmean(receipt.file_bytes or 0 for receipt in receipts),
        statistics.fmean(len(receipt.model_dump_json()) for receipt in receipts),
    )
