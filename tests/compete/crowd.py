"""A shared folder full of synthetic entries, for tests of pages and tables: never a measurement."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.compete.sample import make_ground, make_receipt
from tito.compete.ranking import Entry, Standing, standing
from tito.compete.receipt import ProblemText, Receipt

TRACKS = {"mnist": "MNIST", "cifar10": "CIFAR-10", "tinygpt": "TinyGPT"}
KINDS: list[tuple[str, list[str], list[str], float, float, float]] = [
    # title, techniques, checked ones, speedup, share of the size, quality lost
    ("INT8, calibrated", ["int8", "calibrated"], ["int8"], 2.9, 0.27, 0.0004),
    ("90% pruned, INT8", ["int8", "sparse", "pruned"], ["int8", "sparse"], 2.7, 0.055, 0.006),
    ("Distilled student", ["distilled", "new-architecture"], [], 4.8, 0.11, 0.0075),
    ("bfloat16", ["bf16"], ["bf16"], 1.1, 0.5, 0.0),
    ("Structured pruning", ["pruned", "structured", "retrained"], [], 3.6, 0.2, 0.005),
    ("Retrained with shifts", ["retrained"], [], 1.0, 1.0, -0.0035),
    ("Float16, cached", ["fp16", "cache"], ["fp16", "cache"], 1.4, 0.5, 0.0002),
    ("Too small to be good", ["pruned"], [], 7.5, 0.01, 0.03),
]
BYTES = {"mnist": 2_144_900, "cifar10": 314_000, "tinygpt": 5_420_000}
PEOPLE = ["alice", "bob", "carol", "dan", "erin", "frank", "grace", "heidi"]


def make_crowd(count: int, seed: int = 0, **changes: Any) -> list[Receipt]:
    """Verified receipts over all tracks and both divisions."""
    return [_one(np.random.default_rng((seed, i)), i, **changes) for i in range(count)]


def _one(rng: np.random.Generator, i: int, **changes: Any) -> Receipt:
    track = list(TRACKS)[i % 3]
    title, techniques, checked, speedup, share, lost = KINDS[int(rng.integers(len(KINDS)))]
    text = track == "tinygpt"
    lost = lost * (2 if text else 1) + float(rng.normal(0, 0.001))
    person = PEOPLE[int(rng.integers(len(PEOPLE)))]
    fields: dict[str, Any] = {
        "track": track,
        "division": "closed" if set(techniques) <= {"int8", "calibrated", "bf16", "fp16", "cache"} else "open",
        "title": title,
        "authors": [f"{person.title()} Example"],
        "techniques": techniques,
        "techniques_checked": checked,
        "quality_gate_met": lost <= (0.02 if text else 0.01),
        "file_bytes": max(900, int(BYTES[track] * share * float(np.exp(rng.normal(0, 0.12))))),
        "reference_bytes": BYTES[track],
        "recipe": "quantize_static on 2,048 training images, then packed.",
    }
    return make_receipt(
        f"{person}/entry-{i}",
        seed=i,
        speedup=speedup * float(np.exp(rng.normal(0, 0.12))),
        lost=lost,
        metric="loss" if text else "accuracy",
        items=500 if text else 10_000,
        age=i,
        **{**fields, **changes},
    )


def make_standing(count: int) -> Standing:
    """A whole standing: ranked entries, and two each of those that are refused, stale, and pending."""
    receipts = make_crowd(count)
    problem = ProblemText(
        code="lineage",
        file="model.safetensors",
        field="2.weight[3, 14]",
        found="0.25",
        expected="the reference's 0.125",
    )
    for i, code in enumerate(("lineage", "answers")):
        problems = [problem.model_copy(update={"code": code})] * (i + 1)
        receipts.append(
            make_receipt(f"eve/cheat-{i}", seed=5000 + i, status="refused", problems=problems, quality=None, times=[])
        )
    for i in range(2):
        ground = make_ground(numpy="2.3.1", tinytorch_sha256="ee" * 32)
        receipts.append(make_receipt(f"old/entry-{i}", seed=6000 + i, age=10_000 + i, ground=ground))
    entries = [Entry(one.entry, one.model_sha256, one.track, one.division, one.title) for one in receipts]
    entries += [
        Entry("zoe/new", "ab" * 32, "mnist", "open", "Ternary weights"),
        Entry("zoe/broken", problem="not JSON"),
    ]
    return standing(receipts, entries)
