"""tito.bench.entry: a record in short, what keeps two from being compared, and their order."""

from __future__ import annotations

from datetime import timedelta

from tests.report.sample import START, make_provenance, make_record
from tito.bench.entry import Entry, differences, entry_of, in_order
from tito.bench.record import Mine


def test_an_entry_holds_what_a_list_shows():
    record = (
        make_record(note="after the new allocator") if "note" in type(make_record()).model_fields else make_record()
    )
    entry = entry_of(record)
    assert (entry.id, entry.suite, entry.status, entry.backend) == ("sample-0", "sample", "passed", "onednn")
    assert (entry.commit, entry.dirty, entry.machine) == ("0123456789abcdef", True, "test-machine")
    assert entry.first == "mlp.accuracy"
    assert entry.figures[entry.first] == record.cases[0].summary["accuracy"].mean
    assert Entry.model_validate_json(entry.model_dump_json()) == entry


def test_records_that_compare_share_their_ground():
    assert differences(make_record(number=1), make_record(number=2)) == []
    assert entry_of(make_record(number=1)).ground == entry_of(make_record(number=2)).ground


def test_everything_that_differs_is_named():
    one = make_record()
    source = make_provenance("machine-b").model_copy(
        update={
            "suite_sha256": "cd" * 32,
            "backend": None,
            "environment": {"OMP_NUM_THREADS": "1", "LD_PRELOAD": "libx.so", "OPENBLAS_CORETYPE": "SkylakeX"},
        }
    )
    mine = Mine(modules={"02": "0" * 64}, borrowed=[])
    other = make_record(provenance=source, quick=True, altered=["1 of 3 seeds"], mine=mine, suite="other")
    assert differences(one, other) == [
        "setting OMP_NUM_THREADS (2 / 1)",
        "suite (sample / other)",
        "suite's SHA-256 (abababababab / cdcdcdcdcdcd)",
        "machine (test-machine / machine-b)",
        "backend (onednn / numpy)",
        "length (full / quick)",
        "alterations (none / 1 of 3 seeds)",
        "code (the reference's / the learner's)",
        "setting LD_PRELOAD (not set / libx.so)",
    ]
    assert entry_of(one).ground != entry_of(other).ground


def test_a_run_from_the_future_is_not_the_newest():
    now = START + timedelta(days=50)
    runs = [make_record(number=number) for number in (3, 24000, 1)]
    assert [run.id for run in in_order(runs, now)] == ["sample-24000", "sample-1", "sample-3"]
