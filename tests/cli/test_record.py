"""`tito record`: what a run saved is listed and shown as it was printed."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.running import Run, records, tito
from tito.bench.record import Record
from tito.bench.store import Store


def test_records_are_listed_and_shown_as_when_they_were_made(passed: Run) -> None:
    root, done = passed
    id = records(root)[0].id
    short = id.partition("-")[2]
    assert short in tito(root, "record", "list").stdout
    assert short in tito(root, "record", "list", "--suite", "tiny").stdout
    assert tito(root, "record", "list", "--suite", "other").stdout == ""
    for name in (id, short, "tiny"):
        assert tito(root, "record", "show", name).stdout == done.stdout


def test_a_record_as_json_is_the_record(passed: Run) -> None:
    root, _ = passed
    (record,) = records(root)
    assert Record.model_validate_json(tito(root, "record", "show", record.id, "--json").stdout) == record


def test_the_schema_is_json_schema(root: Path) -> None:
    schema = json.loads(tito(root, "record", "schema").stdout)
    assert schema["type"] == "object"
    assert "provenance" in schema["required"]


def test_an_unknown_record_is_one_line(root: Path) -> None:
    done = tito(root, "record", "show", "20200101T000000Z-tiny-000000")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tito: no record or suite '20200101T000000Z-tiny-000000'")
    assert done.stderr.count("\n") == 1


def test_a_suite_without_a_record_says_how_to_make_one(root: Path) -> None:
    for words in (["record", "show", "tiny"], ["record", "list", "--suite", "tiny"]):
        done = tito(root, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "tito: no record of tiny yet; python -m tito suite run tiny makes one\n"


def test_a_cut_record_is_named_and_the_others_still_shown(passed: Run, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(passed[0], root)
    whole = next((root / "reports" / "records" / "tiny").glob("*.json"))
    cut = whole.with_name("20200101T000000Z-tiny-cut.json")
    cut.write_bytes(whole.read_bytes()[:500])
    done = tito(root, "record", "list")
    assert done.returncode == 0
    assert whole.stem.partition("-")[2] in done.stdout
    assert str(cut) in done.stderr
    assert str(root / "reports" / "index.html") in tito(root, "report").stdout


@pytest.fixture
def several(passed: Run, tmp_path: Path) -> Path:
    """A project with four runs of the suite, the last one slower and one from a clock that was set to the future."""
    root = tmp_path / "several"
    shutil.copytree(passed[0], root, ignore=shutil.ignore_patterns("*.json", "*.html"))
    (first,) = records(passed[0])
    store = Store(root / "reports")
    for number in range(3):
        store.save(changed(first, number, 1.0 if number < 2 else 2.0))
    store.save(changed(first, 9, 1.0).model_copy(update={"created": first.created.replace(year=2096)}))
    return root


def changed(record: Record, number: int, factor: float) -> Record:
    """The record as of another day, with every latency and training time multiplied."""
    assert record.profile is not None
    latency = [run.model_copy(update={"p50_us": factor * run.p50_us}) for run in record.profile.latency]
    return record.model_copy(
        update={
            "id": f"2025010{number}T000000Z-tiny-00000{number}",
            "created": record.created - timedelta(days=10 - number),
            "profile": record.profile.model_copy(update={"latency": latency}),
        }
    )


def test_the_newest_are_listed_and_the_rest_counted(several: Path) -> None:
    done = tito(several, "record", "list", "-n", "2")
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert names == ["tiny-000001", "tiny-000002"]  # the run of 2096 is not the newest
    assert done.stderr == "tito: the newest 2 of 4 records; -n 0 lists all\n"
    assert len(tito(several, "record", "list", "-n", "0").stdout.splitlines()) == 5


def test_a_list_as_json_has_the_figures(several: Path) -> None:
    listed = json.loads(tito(several, "record", "list", "--json").stdout)
    assert [one["id"][-6:] for one in listed] == ["000009", "000000", "000001", "000002"]
    assert listed[-1]["figures"]["clouds.p50_us"] == pytest.approx(2 * listed[-2]["figures"]["clouds.p50_us"])


def test_a_list_shows_the_metric_that_is_asked_for(several: Path) -> None:
    assert "p50_us " in tito(several, "record", "list", "--metric", "p50_us").stdout
    done = tito(several, "record", "list", "--metric", "p50us")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tito: no figure 'p50us' (did you mean p50_us?); there are accuracy, ")


def test_two_runs_are_compared_in_the_terminal_and_on_a_page(several: Path) -> None:
    done = tito(several, "record", "compare", "tiny~1", "tiny")
    assert done.returncode == 0, done.stderr
    assert "tiny-000001" in done.stdout
    page = several / "reports" / "comparisons" / "20250101T000000Z-tiny-000001..20250102T000000Z-tiny-000002.html"
    assert f"report: {page}" in done.stdout
    assert "two runs compared" in page.read_text()
    rows = json.loads(tito(several, "record", "compare", "tiny~1", "tiny", "--json").stdout)
    (latency,) = (row for row in rows if row["figure"] == "clouds.p50_us")
    assert latency["change"] == pytest.approx(1.0)


def test_runs_that_do_not_compare_are_refused_in_one_line(several: Path, passed: Run) -> None:
    (first,) = records(passed[0])
    source = first.provenance.model_copy(update={"suite_sha256": "0" * 64})
    other = changed(first, 5, 1.0).model_copy(update={"provenance": source})
    Store(several / "reports").save(other)
    done = tito(several, "record", "compare", "tiny-000001", "tiny-000005")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be compared, because these differ: suite's SHA-256 (" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("form", ["--csv", "--markdown"])
def test_records_are_exported(several: Path, form: str) -> None:
    done = tito(several, "record", "export", form, "--suite", "tiny", "-n", "3")
    assert done.returncode == 0, done.stderr
    assert sum("20250101T000000Z-tiny-000001" in line for line in done.stdout.splitlines()) == 1
    assert len(done.stdout.splitlines()) == (4 if form == "--csv" else 5)


def test_an_export_needs_a_form(several: Path) -> None:
    done = tito(several, "record", "export")
    assert done.returncode == 2
    assert "give one of --csv and --markdown" in done.stderr


def test_what_changed_for_good_is_said_with_a_record(passed: Run, tmp_path: Path) -> None:
    root = tmp_path / "slowed"
    shutil.copytree(passed[0], root, ignore=shutil.ignore_patterns("*.json", "*.html"))
    (first,) = records(passed[0])
    quiet = [run.model_copy(update={"conditions": {}}) for run in first.cases[0].runs]
    assert first.profile is not None
    latency = [run.model_copy(update={"conditions": {}}) for run in first.profile.latency]
    base = first.model_copy(
        update={
            "before": {},
            "cases": [first.cases[0].model_copy(update={"runs": quiet})],
            "profile": first.profile.model_copy(update={"latency": latency}),
        }
    )
    store = Store(root / "reports")
    for number in range(9):
        store.save(changed(base, number, 1.25 if number >= 6 else 1.0))
    said = tito(root, "record", "show", "tiny").stdout
    assert "  changed for good: Latency, p50: slower by 25.0 % since " in said
    assert "changed for good" not in tito(root, "record", "show", "tiny~3").stdout
