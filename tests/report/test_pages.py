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
from tito.report import assets, figures, rendering, units
from tito.report.figures import peak_phase
from tito.report.headline import profiled
from tito.report.pages import write_pages
from tito.report.pieces import Plot
from tito.report.record_page import provenance
from tito.report.rendering import embed
from tito.report.verdicts import verdict_rows

SAMPLE = "sample/sample-0.html"


def texts(folder: Path, records: list[Record]) -> dict[str, str]:
    """The pages of some records by their path in the folder, their scripts and styles cut out."""
    for old in folder.rglob("*.html"):
        old.unlink()
    written = write_pages(records, folder)
    cut = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)
    found = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in written}
    return {name: cut.sub("", page).replace(units.THIN, " ") for name, page in found.items()}


def test_each_record_and_each_suite_has_a_page_and_the_index_comes_last(tmp_path: Path) -> None:
    records = [make_record(), make_record(suite="other", year=1957)]
    paths = write_pages(records, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "other/sample-0.html",
        "other.html",
        "sample/sample-0.html",
        "sample.html",
        "index.html",
    ]
    assert sorted(tmp_path.rglob("*.html")) == sorted(paths)


def test_no_records_give_an_index_that_says_how_to_start(tmp_path: Path) -> None:
    assert "tito suite run" in texts(tmp_path, [])["index.html"]


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
    assert 'class="drawing' not in shown[SAMPLE]
    assert "is-absent" not in shown[SAMPLE]
    left_out = shown[SAMPLE].partition('<h2 id="left-out">')[2]
    assert left_out.count(" in this run.</dd>") == 4  # latency, throughput, memory, stacks


def test_the_page_follows_the_order_of_the_design(tmp_path: Path) -> None:
    page = texts(tmp_path, [make_record(number=0), make_record(number=1)])["sample/sample-1.html"].partition("<body")[2]
    order = [
        "<h1>",
        "Gate met",
        "Aim missed",
        "Gate met</span></td>",
        "2021-01-02 12:00 UTC",
        "Test CPU 9000, 2 cores",
        "oneDNN 3.9.9",
        "0123456789, changed",
        "Latency p50",
        'href="#results"',
        "Confusion matrix",
        "Worst mistakes",
        "Test accuracy over seeds",
        "Loss by epoch",
        "Latency of one query",
        "Throughput by batch size",
        "Memory over time",
        "Flame graph",
        "Test accuracy over time",
        "Left out",
        "Provenance",
    ]
    place = 0
    for text in order:  # the contents list names some of them earlier
        assert text in page[place:], text
        place = page.index(text, place)


@pytest.mark.parametrize("name", [SAMPLE, "sample.html"])
def test_each_entry_of_the_contents_leads_to_a_heading(name: str, tmp_path: Path) -> None:
    page = texts(tmp_path, [make_record()])[name]
    anchors = re.findall(r'href="#([^"]+)"', page)
    assert len(anchors) == len(set(anchors)) >= 3
    assert set(anchors) == set(re.findall(r'<h2 id="([^"]+)"', page))
    every = re.findall(r' id="([^"]+)"', page)
    assert len(every) == len(set(every))


def test_the_figures_at_the_top_name_their_case_on_the_page_and_on_the_card(tmp_path: Path) -> None:
    shown = texts(tmp_path, [make_record()])
    assert '<h2 class="of">MLP 784-512-256-10</h2>' in shown[SAMPLE]
    assert '<p class="case">MLP 784-512-256-10</p>' in shown["index.html"]


def test_figures_of_the_profiled_case_name_it_where_there_are_several(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    record = make_record(cases=[make_case(rng, name="first"), make_case(rng)])
    page = texts(tmp_path, [record])[SAMPLE]
    for title in ("Latency of one query", "Throughput by batch size", "Memory over time", "Flame graph"):
        assert f">{title}: MLP 784-512-256-10</h3>" in page
        assert f">{title}</h3>" in texts(tmp_path, [make_record()])[SAMPLE]


def test_a_gate_without_a_measurement_says_so(tmp_path: Path) -> None:
    case = make_record().cases[0]
    verdict = case.verdicts[0].model_copy(update={"measured": None, "met": False})
    case = case.model_copy(update={"verdicts": [verdict], "summary": {}, "runs": []})
    record = make_record(cases=[case], status="failed", reason="nothing measured")
    (row,) = verdict_rows(record)
    assert (row.measured, row.met) == ("not measured", False)
    assert "not measured" in texts(tmp_path, [record])[SAMPLE]


def test_provenance_names_commit_machine_kernel_and_seeds(tmp_path: Path) -> None:
    facts = dict(provenance(make_record()))
    assert facts["Commit"] == "0123456789abcdef, with uncommitted changes"
    assert facts["BLAS kernel"].startswith("SkylakeX (default: Haswell, speed ratio 1.86). ")
    assert facts["Kernel backend"] == "oneDNN 3.9.9, native float32, int8 (it is installed)"
    assert facts["Seeds"] == "mlp: 1–3"
    page = texts(tmp_path, [make_record()])[SAMPLE]
    assert all(text in page for text in ("tito suite run sample", "OPENBLAS_CORETYPE", "psutil tells no USS"))


def test_history_of_another_machine_is_left_out(tmp_path: Path) -> None:
    records = [make_record(number=0, fingerprint="another machine"), make_record(number=1)]
    page = texts(tmp_path, records)
    assert "one run of this kind on this machine" in page["sample.html"]
    assert "<svg" not in page["index.html"]
    assert "<svg" in texts(tmp_path, [make_record(number=0), make_record(number=1)])["index.html"]


def test_embedded_json_cannot_end_its_script_and_reads_back() -> None:
    text = "</script><!-- & \u2028\u2029 \\ \" '"
    embedded = str(embed({"text": text}))
    assert not set("<>&\u2028\u2029") & set(embedded)
    assert json.loads(embedded) == {"text": text}


def test_a_page_loads_files_of_the_report_only(tmp_path: Path) -> None:
    for path in write_pages([make_record()], tmp_path):
        page = path.read_text("utf-8")
        assert "://" not in page
        for address in set(re.findall(r'(?:src|href|content)="([\w./]+\.(?:html|js|css))', page)):
            assert (path.parent / address).is_file(), address
        assert set(re.findall(r'(?:src|href)="(\w+:)', page)) <= {"data:"}
        assert "default-src 'none'" in page


def test_no_script_in_the_page_may_run_but_the_one_that_marks_it(tmp_path: Path) -> None:
    page = write_pages([make_record()], tmp_path)[0].read_text("utf-8")
    allowed = re.search(r"script-src ([^\"]*)", page)
    assert allowed
    assert "unsafe" not in allowed[1]
    assert re.sub(r"sha256-[\w+/]+=*", "HASH", allowed[1]) == "'self' file: 'HASH'"
    assert page.count("<script>") == 1


def test_pages_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pages([make_record()], tmp_path)
    before = (tmp_path / SAMPLE).read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ReportError, match="No space left on device"):
        write_pages([make_record(title="another")], tmp_path)
    assert (tmp_path / SAMPLE).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["assets", "index.html", "sample", "sample.html"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> Path:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(assets, "atomic_write", refuse)
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
    assert re.search(r"This record cannot be shown: \w+Error: ", shown["odd/sample-0.html"])
    assert "Confusion matrix" in shown[SAMPLE]
    assert re.findall(r'href="(\w+)\.html"', shown["index.html"]) == ["odd", "sample"]


def test_an_altered_run_is_marked_and_says_how_it_differs(tmp_path: Path) -> None:
    altered, full = make_record(number=2, altered=["1 of 3 seeds"]), make_record(number=1)
    shown = texts(tmp_path, [altered])
    assert all("altered run" in page for page in shown.values())
    assert "It differs from its suite: 1 of 3 seeds." in shown["sample/sample-2.html"]
    assert not any("altered run" in page for page in texts(tmp_path, [full]).values())


def test_after_a_run_only_missing_pages_its_suites_and_the_index_are_written(tmp_path: Path) -> None:
    def changed(*records: Record) -> set[str]:
        before = {path: path.stat().st_ino for path in tmp_path.rglob("*.html")}
        write_pages(records, tmp_path, only=records[-1])
        after = {path: path.stat().st_ino for path in tmp_path.rglob("*.html")}
        return {path.relative_to(tmp_path).as_posix() for path in after if after[path] != before.get(path)}

    first, second, other = make_record(number=0), make_record(number=1), make_record(suite="other")
    write_pages([first, other], tmp_path)
    assert changed(other, first, second) == {"sample/sample-1.html", "sample.html", "index.html"}
    (tmp_path / SAMPLE).unlink()
    assert SAMPLE in changed(other, first, second)


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
