"""Whether two hosts of the same kind share a ground: an anchor, an entry that one of them measured, must tie on both.

Machines with the same fingerprint may still differ: in their cooling, their memory, or their neighbors. Before a host
writes its first receipt on a ground that has receipts of other hosts, it measures one of their entries of each track
again. If its ratio does not tie with theirs, or they left no entry to compare, the host gets a ground of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from tito.compete.folder import SharedFolder
from tito.compete.intervals import FEWEST_CHILDREN, Latency, latency, latency_of
from tito.compete.ledger import files_of
from tito.compete.measure import Host, measured
from tito.compete.progress import Progress, Report
from tito.compete.receipt import Anchor, Ground, Receipt
from tito.errors import RunError, TitoError
from tito.files import scratch


def own_ground(ground: Ground, host: str) -> Ground:
    """Return the ground that only one host measures on."""
    return ground.model_copy(update={"host": host})


def known_ground(ground: Ground, host: str, receipts: Iterable[Receipt]) -> Ground:
    """Return the host's own ground if an anchor has shown that it needs one, else the common ground."""
    own = own_ground(ground, host)
    return own if any(one.ground == own for one in receipts) else ground


def must_compare(ground: Ground, host: str, receipts: Sequence[Receipt]) -> bool:
    """Whether another host measured on a ground first, and this one has not been compared with it."""
    measured = [one for one in receipts if one.ground == ground and one.self_test]
    return bool(measured) and measured[0].host != host and not any(one.host == host and one.anchors for one in measured)


def anchors_of(
    ground: Ground, shared: SharedFolder, receipts: Sequence[Receipt], tracks: Sequence[str]
) -> dict[str, Receipt]:
    """Return the receipt to compare with, by track: the oldest one that timed an entry of these very files."""
    found: dict[str, Receipt] = {}
    for receipt in receipts:  # oldest first
        timed = receipt.ground == ground and receipt.status == "verified" and len(receipt.times) >= FEWEST_CHILDREN
        new = receipt.track in tracks and receipt.track not in found
        if timed and new and receipt.track and files_of(shared, receipt.entry).are_those_of(receipt):
            found[receipt.track] = receipt
    return found


def compare_anchors(
    host: Host, name: str, shared: SharedFolder, anchors: dict[str, Receipt], report: Report
) -> tuple[Host, list[Anchor]]:
    """Measure the anchors here; return the host on the ground that it belongs to, and what came out."""
    results = []
    for track, receipt in anchors.items():
        report(Progress(receipt.entry, f"measuring it as the anchor of {track}"))
        results.append(_compare(host, track, shared, receipt))
    if results and all(one.ties for one in results):
        return host, results
    return replace(host, ground=own_ground(host.ground, name)), results


def _compare(host: Host, track: str, shared: SharedFolder, receipt: Receipt) -> Anchor:
    theirs = latency_of(receipt)
    assert theirs is not None
    here = _measure(host, track, shared, receipt)
    ties = not (here.beats(theirs) or theirs.beats(here))
    return Anchor(
        entry=receipt.entry, receipt=receipt.id, host=receipt.host, theirs=theirs.ratio, here=here.ratio, ties=ties
    )


def _measure(host: Host, track: str, shared: SharedFolder, receipt: Receipt) -> Latency:
    seeds = [child.round for child in receipt.times]
    with scratch("anchor") as private:
        copy = shared.private_copy(receipt.entry, private / "entry", receipt.model_sha256)
        try:
            runs = measured(host, track, "times", copy.path, seeds)
        except RunError as error:
            raise TitoError(f"{receipt.entry}: the anchor of {track} cannot be measured here: {error}") from None
    own, reference = (np.array([run.metrics[key] for run in runs]) for key in ("p50_us", "reference_p50_us"))
    return latency(own, reference, f"anchor {receipt.id}")
