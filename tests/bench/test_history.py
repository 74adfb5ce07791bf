"""tito.bench.history: what a run is compared with, and by how much it differs from it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.report.sample import START, make_record, profile_of
from tito.bench.entry import entry_of
from tito.bench.history import change_against_history, comparable

NOW = START + timedelta(days=100)


def timed(number, p50, **changes):
    """A record whose median latency is `p50` microseconds."""
    made = make_record(number=number, **changes)
    profile = profile_of(made)
    latency = [run.model_copy(update={"p50_us": p50}) for run in profile.latency]
    return made.model_copy(update={"profile": profile.model_copy(update={"latency": latency})})


def test_a_figure_is_compared_with_the_median_of_the_last_ten():
    earlier = [timed(number, 50.0) for number in range(3)] + [timed(3 + i, 10.0 + 0.1 * i) for i in range(10)]
    shown = timed(20, 15.0)
    change = change_against_history(shown, [*earlier, shown], NOW)["mlp.p50_us"]
    assert change.runs == 10
    assert change.usual == pytest.approx(10.45)
    assert change.relative == pytest.approx(15 / 10.45 - 1)
    assert change.word == "worse"


def test_a_change_within_the_usual_spread_is_as_usual():
    earlier = [timed(i, 10.0 + (-1) ** i) for i in range(10)]
    assert change_against_history(timed(20, 12.0), earlier, NOW)["mlp.p50_us"].word == "as usual"
    assert change_against_history(timed(20, 2.0), earlier, NOW)["mlp.p50_us"].word == "better"


def test_few_runs_have_a_median_but_no_word():
    change = change_against_history(timed(20, 20.0), [timed(1, 10.0)], NOW)["mlp.p50_us"]
    assert (change.relative, change.spread, change.word) == (1.0, None, "")


def test_shares_change_by_a_difference():
    shown = timed(20, 10.0)
    change = change_against_history(shown, [timed(i, 10.0) for i in range(5)], NOW)["mlp.accuracy"]
    assert change.relative is None
    assert change.difference == pytest.approx(shown.cases[0].summary["accuracy"].mean - change.usual)


def other_provenance(**changes):
    return make_record().provenance.model_copy(update=changes)


def test_only_comparable_runs_count():
    shown = timed(9, 10.0)
    blas = shown.provenance.blas.model_copy(update={"used": "Haswell"})
    backend = shown.provenance.backend.model_copy(update={"name": "numpy"})
    others = [
        timed(2, 1.0, fingerprint="another machine"),
        timed(3, 1.0, quick=True),
        timed(4, 1.0, suite="other"),
        timed(5, 1.0, altered=["1 of 3 seeds"]),
        timed(6, 1.0, status="failed", reason="it died"),
        timed(7, 1.0, provenance=other_provenance(suite_sha256="cd" * 32)),
        timed(8, 1.0, provenance=other_provenance(blas=blas)),
        timed(8, 1.0, provenance=other_provenance(backend=backend)),
        timed(8, 1.0, provenance=other_provenance(environment={"OMP_NUM_THREADS": "1"})),
        timed(10, 1.0),  # later
        timed(24000, 1.0),  # from a clock that was set to the future
    ]
    assert [run.id for run in comparable(shown, [timed(1, 10.0), *others, shown], NOW)] == ["sample-1"]


def test_quick_runs_are_compared_with_quick_runs():
    shown = timed(9, 10.0, quick=True)
    runs = [timed(1, 10.0), timed(2, 10.0, quick=True)]
    assert [run.id for run in comparable(shown, runs, NOW)] == ["sample-2"]


def test_a_run_from_the_future_is_compared_with_nothing():
    assert comparable(timed(24000, 1.0), [timed(1, 1.0)], NOW) == []


def test_entries_do_as_well_as_records():
    runs = [timed(i, 10.0 + i) for i in range(6)]
    shown = timed(9, 10.0)
    assert change_against_history(shown, list(map(entry_of, runs)), NOW) == change_against_history(shown, runs, NOW)
