"""tito.records(): the records as a DataFrame."""

from __future__ import annotations

from pathlib import Path

import pytest

import tito
from tests.report.sample import make_record
from tito.bench.store import Store


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    store = Store(tmp_path)
    store.save(make_record(number=1))
    store.save(make_record(number=0, profile=None))
    store.save(make_record(number=2, suite="other"))
    return tmp_path


def test_each_run_is_a_row_oldest_first(reports: Path) -> None:
    frame = tito.records(reports=reports)
    assert list(frame["id"]) == ["sample-0", "sample-1", "sample-2"]
    assert str(frame["created"].dtype).startswith("datetime64[")
    assert frame["created"].is_monotonic_increasing
    assert frame["mlp.p50_us"].isna().tolist() == [True, False, False]
    assert frame["mlp.accuracy"].dtype == "float64"


def test_one_suite(reports: Path) -> None:
    assert list(tito.records("other", reports)["suite"]) == ["other"]


def test_no_record_is_an_empty_frame(tmp_path: Path) -> None:
    assert tito.records(reports=tmp_path).empty


def test_a_file_that_is_no_record_is_warned_of(reports: Path) -> None:
    (reports / "records" / "sample" / "bad.json").write_text("{")
    with pytest.warns(UserWarning, match="bad.json: not complete JSON"):
        assert len(tito.records(reports=reports)) == 3


def test_by_default_the_records_are_the_projects(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suites").mkdir()
    reports.joinpath("records").rename(tmp_path / "kept")
    (tmp_path / "reports").mkdir()
    (tmp_path / "kept").rename(tmp_path / "reports" / "records")
    monkeypatch.setenv("TITO_ROOT", str(tmp_path))
    assert len(tito.records()) == 3
