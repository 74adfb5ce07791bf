"""tito.bench.reference: weights are kept with their origin, or not at all (the command is in tests/test_cli.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.sample import make_record
from tito.bench.reference import keep_reference
from tito.errors import RecordError


def test_the_origin_names_seed_and_metrics_of_the_weights(tmp_path: Path) -> None:
    weights = tmp_path / "w"
    weights.write_bytes(b"content")
    record = make_record()
    keep_reference(tmp_path / "kept", weights, record)
    origin = json.loads((tmp_path / "kept" / "reference.json").read_text())
    assert origin["bytes"] == len(b"content")
    assert origin["record"] == record.id
    assert set(origin["metrics"]) == set(record.metrics)
    assert not (tmp_path / "kept" / "model.json").exists()
    assert origin["seed"] in [run.seed for case in record.cases for run in case.runs]


def test_what_the_model_is_made_of_is_kept_where_it_is_known(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"content")
    (tmp_path / "model.json").write_bytes(b"{}")
    keep_reference(tmp_path / "kept", tmp_path / "w", make_record())
    assert (tmp_path / "kept" / "model.json").read_bytes() == b"{}"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    weights = tmp_path / "w"
    weights.write_bytes(b"content")
    with pytest.raises(RecordError, match="taken"):
        keep_reference(tmp_path / "taken", weights, make_record())
