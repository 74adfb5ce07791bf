"""The page of one entry: its figures beside the reference's, its processes and layers, and every receipt of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.compete.crowd import TRACKS
from tests.compete.sample import START, make_ground, make_receipt
from tests.report.test_leaderboard import text
from tito.compete.ranking import Entry, standing
from tito.compete.receipt import ProblemText, Receipt
from tito.report.leaderboard import href, write_leaderboard

PROBLEM = ProblemText(code="answers", file="model.safetensors", field="2", found="0.5", expected="0.25")


def page(folder: Path, *receipts: Receipt, entry: str = "alice/int8") -> str:
    made = standing(receipts, [Entry(name) for name in {receipt.entry for receipt in receipts}])
    write_leaderboard(made, folder, TRACKS)
    return text(folder / href(entry))


def test_a_verified_entry_shows_all_that_was_measured(tmp_path: Path) -> None:
    receipt = make_receipt(noise=1e-9, recipe="Line one\nline two", seal="ab12")
    found = page(
        tmp_path, receipt, make_receipt("bob/b", seed=1, noise=1e-9, age=9), make_receipt("c/c", seed=2, speedup=4)
    )
    assert "Verified Latency rank 2 of 3, tied with 1 other Size rank 1 of 3, tied with 2 others" in found
    assert "Speedup over the reference 2.50× 95% interval 2.50–2.50×" in found
    assert "98.87 % 0.10 points lost; reference 98.97 %" in found
    assert "Peak memory 1.20 MB 27.9 % of reference" in found
    assert "p50 12.8 µs 32.0 µs 2.50×" in found
    assert "Model files 542 kB 2.14 MB 25.3 %" in found
    assert re.search(r"10 12\.8 µs 32\.0 µs 2\.50× [\d.]+ 0\.0 % \d+ 1\.98", found)
    assert "1 QuantizedLinear int8, float32 401 920 405 504 B" in found.replace("406 kB", "405 504 B")
    assert "Line one line two" in found
    assert "tito verify alice/int8 --again" in found
    assert "Seal ab12" in found


def test_entry_and_reference_are_drawn_with_a_line_for_each_process(tmp_path: Path) -> None:
    page(tmp_path, make_receipt())
    markup = (tmp_path / href("alice/int8")).read_text("utf-8")
    assert markup.count('<path class="own"') == markup.count('<path class="reference"') == 11
    numbers = [int(n) for d in re.findall(r'd="M([\d L]+)"', markup) for n in re.findall(r"\d+", d)]
    assert min(numbers) >= 0
    assert max(numbers) <= 1000


def test_a_refused_entry_shows_its_problems_and_no_figures(tmp_path: Path) -> None:
    receipt = make_receipt(status="refused", problems=[PROBLEM], quality=None, times=[], file_bytes=None, layers=[])
    found = page(tmp_path, receipt)
    assert "Refused Code File Field Found Expected answers model.safetensors 2 0.5 0.25" in found
    assert "Speedup over the reference" not in found
    assert "Measurements" not in found


def test_an_unreadable_manifest_still_has_a_page(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "track": None,
        "division": None,
        "title": "",
        "authors": [],
        "techniques": [],
        "model_sha256": "",
    }
    receipt = make_receipt(status="refused", problems=[PROBLEM], quality=None, times=[], **changes)
    assert "alice/int8 Receipt as JSON Refused" in page(tmp_path, receipt).replace(
        "alice/int8 alice/int8", "alice/int8"
    )


def test_every_receipt_is_listed_and_one_counts(tmp_path: Path) -> None:
    receipts = [
        make_receipt(seed=1, age=10, ground=make_ground(numpy="2.3.0")),
        make_receipt(seed=2, age=5),
        make_receipt(seed=3, created=START),
    ]
    found = page(tmp_path, *receipts)
    states = re.findall(r"receipt-alice-int8-(\d) [0-9a-f]{12} verified \S+ \S+ % (counts|older|another ground)", found)
    assert states == [("3", "counts"), ("2", "older"), ("1", "another ground")]


def test_a_stale_entry_says_why_and_shows_what_was_measured_then(tmp_path: Path) -> None:
    old = make_receipt(age=10, ground=make_ground(numpy="2.3.0"))
    found = page(tmp_path, old, make_receipt("bob/b", seed=1))
    assert "Stale NumPy 2.3.0, now 2.4.0" in found
    assert "ratio of medians" in found
    assert "rank 1" not in found


def test_an_entry_that_misses_the_gate_says_so(tmp_path: Path) -> None:
    found = page(tmp_path, make_receipt(lost=0.2))
    assert "Quality gate missed Latency no rank Size no rank Quality rank 1 of 1" in found
