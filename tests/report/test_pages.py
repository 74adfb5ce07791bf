from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tests.report.sample import make_case, make_record
from tito.bench.record import LatencyRun, Record
from tito.errors import ReportError
from tito.report import figures, rendering, units
from tito.report.figures import peak_phase
from tito.report.headline import profiled
from tito.report.pages import fill_rows, newest, provenance, write_pages
from tito.report.pieces import Absent, Images, Piece, Plot
from tito.report.rendering import embed
from tito.report.verdicts import verdict_rows


def texts(folder: Path, records: list[Record]) -> dict[str, str]:
    """The pages of some records by name, their scripts and styles cut out."""
    written = write_pages(records, folder)
    cut = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)
    return {path.name: cut.sub("", path.read_text("utf-8")).replace(units.THIN, " ") for path in written}


def test_each_suite_has_a_page_and_the_index_comes_last(tmp_path: Path) -> None:
    records = [make_record(), make_record(suite="other", year=1957)]
    paths = write_pages(records, tmp_path)
    assert [path.name for path in paths] == ["other.html", "sample.html", "index.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)


def test_no_records_give_an_index_that_says_how_to_start(tmp_path: Path) -> None:
    assert "tito suite run" in texts(tmp_path, [])["index.html"]


def test_newest_full_run_wins_over_newer_quick_ones() -> None:
    full, quick = make_record(number=1), make_record(number=2, quick=True)
    assert newest([quick, make_record(number=0), full]) == [full]
    assert newest([make_record(number=0, quick=True), quick]) == [quick]


def test_a_noisy_run_is_marked_and_says_why(tmp_path: Path) -> None:
    quiet = make_record(number=1)
    runs = [run.model_copy(update={"conditions": {"seconds": 9.0, "others": 0.5}}) for run in quiet.cases[0].runs]
    cases = [quiet.cases[0].model_copy(update={"runs": runs}), *quiet.cases[1:]]
    noisy = texts(tmp_path / "noisy", [quiet.model_copy(update={"cases": cases})])
    assert all("noisy run" in page for page in noisy.values())
    assert any("other processes used 50% of the cores" in page for page in noisy.values())
    assert not any("noisy run" in page for page in texts(tmp_path / "quiet", [quiet]).values())


def test_a_quick_run_is_marked(tmp_path: Path) -> None:
    quick = texts(tmp_path, [make_record(quick=True)])
    assert all("quick run" in page for page in quick.values())
    full = texts(tmp_path, [make_record()])
    assert not any("quick run" in page for page in full.values())


def test_a_failed_run_shows_its_reason_and_no_empty_figure(tmp_path: Path) -> None:
    reason = "seed 1: killed by signal 9"
    record = make_record(status="failed", reason=reason, cases=[], profile=None)
    shown = texts(tmp_path, [record])
    for page in shown.values():
        assert reason in page
        assert 'class="status failed">Failed' in page
    assert 'class="drawing' not in shown["sample.html"]
    assert shown["sample.html"].count("is-absent") == 6


def test_the_page_follows_the_order_of_the_design(tmp_path: Path) -> None:
    page = texts(tmp_path, [make_record(number=0), make_record(number=1)])["sample.html"]
    order = [
        "<h1>",
        "Gate met",
        "Latency p50",
        "Loss by epoch",
        "Latency of one query",
        "Throughput by batch size",
        "Memory over time",
        "Confusion matrix",
        "Worst mistakes",
        "Flame graph",
        "Test accuracy over time",
        "Left out",
        "Provenance",
    ]
    places = [page.index(text) for text in order]
    assert places == sorted(places)


def test_the_index_is_in_historical_order(tmp_path: Path) -> None:
    records = [make_record(suite=name, year=year) for name, year in (("c", 2012), ("a", 1957), ("b", 1986))]
    index = texts(tmp_path, records)["index.html"]
    assert re.findall(r'href="(\w+)\.html"', index) == ["a", "b", "c"]


def test_the_figures_at_the_top_name_their_case_on_the_page_and_on_the_card(tmp_path: Path) -> None:
    shown = texts(tmp_path, [make_record()])
    assert '<h2 class="of">MLP 784-512-256-10</h2>' in shown["sample.html"]
    assert "<h3>MLP 784-512-256-10</h3>" in shown["index.html"]


def test_figures_of_the_profiled_case_name_it_where_there_are_several(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    record = make_record(cases=[make_case(rng, name="first"), make_case(rng)])
    page = texts(tmp_path, [record])["sample.html"]
    for title in ("Latency of one query", "Throughput by batch size", "Memory over time", "Flame graph"):
        assert f"<h3>{title}: MLP 784-512-256-10</h3>" in page
        assert f"<h3>{title}</h3>" in texts(tmp_path, [make_record()])["sample.html"]


def test_a_note_stands_below_the_rows_of_its_case(tmp_path: Path) -> None:
    noted = make_record().cases[0].model_copy(update={"note": "expected <to> fail"})
    page = texts(tmp_path, [make_record(cases=[noted])])["sample.html"]
    last, note = page.rindex('<td data-label="Kind">'), page.index("<p>Expected &lt;to&gt; fail</p>")
    assert last < note < page.index('<h2 class="of">')
    assert page.count("&lt;to&gt;") == 1


def test_a_gate_without_a_measurement_says_so(tmp_path: Path) -> None:
    case = make_record().cases[0]
    verdict = case.verdicts[0].model_copy(update={"measured": None, "met": False})
    case = case.model_copy(update={"verdicts": [verdict], "summary": {}, "runs": []})
    record = make_record(cases=[case], status="failed", reason="nothing measured")
    (row,) = verdict_rows(record)
    assert (row.measured, row.seeds, row.met) == ("not measured", 0, False)
    assert "not met" in texts(tmp_path, [record])["sample.html"]


def test_provenance_names_commit_machine_kernel_and_seeds(tmp_path: Path) -> None:
    facts = dict(provenance(make_record()))
    assert facts["Commit"] == "0123456789abcdef, with uncommitted changes"
    assert facts["BLAS kernel"].startswith("SkylakeX (default: Haswell, speed ratio 1.86). ")
    assert facts["Kernel backend"] == "oneDNN 3.9.9, native float32, int8 (it is installed)"
    assert facts["Seeds"] == "mlp: 1–3"
    page = texts(tmp_path, [make_record()])["sample.html"]
    assert all(text in page for text in ("tito suite run sample", "OPENBLAS_CORETYPE", "psutil tells no USS"))


def test_no_row_of_two_is_left_half_empty() -> None:
    narrow, wide = Absent("n", ""), Absent("w", "", wide=True)

    def widths(*pieces: Piece) -> list[bool]:
        return [piece.wide for piece in fill_rows(pieces)]

    assert widths(narrow) == [True]
    assert widths(narrow, narrow) == [False, False]
    assert widths(narrow, narrow, narrow) == [False, False, False]  # three share one row
    assert widths(narrow, wide, narrow, narrow, wide) == [True, True, False, False, True]
    assert widths(*[narrow] * 5, wide) == [False] * 4 + [True, True]
    square, pictures = Plot("s", "", [], {}, shape="square"), Images("p", "", [])
    assert widths(square, pictures, pictures) == [False, False, True]
    assert widths(narrow, square, pictures) == [False, False, True]


def test_history_of_another_machine_is_left_out(tmp_path: Path) -> None:
    records = [make_record(number=0, fingerprint="another machine"), make_record(number=1)]
    page = texts(tmp_path, records)
    assert "one full run of this suite on this machine" in page["sample.html"]
    assert "<svg" not in page["index.html"]
    assert "<svg" in texts(tmp_path, [make_record(number=0), make_record(number=1)])["index.html"]


def test_embedded_json_cannot_end_its_script_and_reads_back() -> None:
    text = "</script><!-- & \u2028\u2029 \\ \" '"
    embedded = str(embed({"text": text}))
    assert not set("<>&\u2028\u2029") & set(embedded)
    assert json.loads(embedded) == {"text": text}


def test_a_page_names_no_address_to_load(tmp_path: Path) -> None:
    for path in write_pages([make_record()], tmp_path):
        page = path.read_text("utf-8")
        outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
        assert "://" not in outside
        assert set(re.findall(r'(?:src|href)="([^":]*)', outside)) <= {"data", "index.html", "sample.html"}
        assert "@import" not in outside
        assert "default-src 'none'" in outside


def test_only_the_scripts_of_the_page_may_run(tmp_path: Path) -> None:
    page = write_pages([make_record()], tmp_path)[0].read_text("utf-8")
    allowed = re.search(r"script-src ([^\"]*)", page)
    assert allowed
    assert "unsafe" not in allowed[1]
    assert allowed[1].count("sha256-") == page.count("<script>") == 3  # Plotly, the figures, the copy button


def test_pages_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pages([make_record()], tmp_path)
    before = (tmp_path / "sample.html").read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ReportError, match="No space left on device"):
        write_pages([make_record(title="another")], tmp_path)
    assert (tmp_path / "sample.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "sample.html"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> Path:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(rendering, "atomic_write", refuse)
    with pytest.raises(ReportError, match=r"Permission denied.*make the folder writable") as caught:
        write_pages([make_record()], tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("suite", ["../evil", "sample\n", "index", ""])
def test_a_suite_name_that_is_no_page_is_no_record(suite: str) -> None:
    with pytest.raises(ValidationError, match="suite"):
        make_record(suite=suite)


def test_a_record_that_cannot_be_drawn_costs_no_other_page(tmp_path: Path) -> None:
    endless = LatencyRun(samples_us=[1e-3, 1.79e308], p50_us=1.79e308, p90_us=1.79e308, p99_us=1.79e308)
    profile = make_record().profile
    assert profile
    odd = make_record(suite="odd", profile=profile.model_copy(update={"latency": [endless]}))
    shown = texts(tmp_path, [make_record(), odd])
    assert re.search(r"This record cannot be shown: \w+Error: ", shown["odd.html"])
    assert "Confusion matrix" in shown["sample.html"]
    assert re.findall(r'href="(\w+)\.html"', shown["index.html"]) == ["odd", "sample"]


def test_an_altered_run_is_marked_and_gives_way_to_a_full_one(tmp_path: Path) -> None:
    full, altered = make_record(number=1), make_record(number=2, altered=["1 of 3 seeds"])
    assert newest([altered, full]) == [full]
    assert newest([altered]) == [altered]
    shown = texts(tmp_path, [altered])
    assert all("altered run" in page for page in shown.values())
    assert "do not compare its figures with other runs: 1 of 3 seeds." in shown["sample.html"]
    assert not any("altered run" in page for page in texts(tmp_path, [full]).values())


def test_peak_memory_is_told_with_its_phase() -> None:
    record = make_record()
    assert record.profile
    assert record.profile.memory
    marks = (10**8, 5 * 10**8, 5 * 10**8, 5 * 10**8)
    phases = [p.model_copy(update={"peak": mark}) for p, mark in zip(record.profile.memory.phases, marks, strict=True)]
    memory = record.profile.memory.model_copy(update={"phases": phases, "peak": 5 * 10**8})
    assert peak_phase(memory) == "build"  # where the mark last rose; no sample saw it
    record = make_record(profile=record.profile.model_copy(update={"memory": memory}))
    (group,) = profiled(record)
    (tile,) = (tile for tile in group.tiles if tile.title == "Peak memory")
    assert tile.note == "resident, in phase build"
    piece = figures.memory(memory)
    assert isinstance(piece, Plot)
    (x,), (y,) = piece.data[-1]["x"], piece.data[-1]["y"]
    assert 2.0 <= x <= 2.05
    assert y == 500
    assert piece.layout["yaxis"]["range"][1] > 500
