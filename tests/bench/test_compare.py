"""tito.bench.compare: two runs figure by figure, with an interval, or a refusal that says what differs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
import pytest

from tests.report.sample import make_record
from tito.bench.compare import Compared, compare_records, student, values
from tito.bench.entry import entry_of
from tito.bench.record import Record
from tito.errors import IncomparableError


def measured(number: int, p50: list[float], train: list[float], accuracy: float = 0.98, **changes: object) -> Record:
    """A record with these processes' median latencies, and these seeds' training times."""
    made = make_record(number=number, **changes)
    assert made.profile is not None
    latency = [run.model_copy(update={"p50_us": value}) for run, value in zip(made.profile.latency, p50, strict=False)]
    case = made.cases[0]
    runs = [
        case.runs[0].model_copy(update={"seed": i, "metrics": {"accuracy": accuracy, "train_seconds": seconds}})
        for i, seconds in enumerate(train)
    ]
    middle = {
        "accuracy": {"mean": accuracy, "median": accuracy},
        "train_seconds": {"mean": statistics.mean(train), "median": statistics.median(train)},
    }
    summary = {name: case.summary[name].model_copy(update=middle[name]) for name in middle}
    return made.model_copy(
        update={
            "cases": [case.model_copy(update={"runs": runs, "summary": summary})],
            "profile": made.profile.model_copy(update={"latency": latency}),
        }
    )


PROCESSES = [10.0, 10.1, 9.9]
SEEDS = [1.0, 1.1, 1.2, 1.3, 1.4]


def compared(a: Record, b: Record, key: str, entries: Sequence[Record] = ()) -> Compared:
    rows = compare_records(a, b, list(map(entry_of, entries)))
    return next(one for one in rows if one.quantity.key == key)


def test_processes_are_compared_by_their_own_spread() -> None:
    a, b = measured(1, PROCESSES, SEEDS), measured(2, [12.4, 12.5, 12.6], SEEDS)
    one = compared(a, b, "mlp.p50_us")
    assert (one.verdict, one.basis) == ("slower", "3 and 3 processes")
    assert one.change == pytest.approx(0.25)
    assert one.low is not None
    assert one.high is not None
    assert 0.2 < one.low < 0.25 < one.high < 0.3
    assert compared(b, a, "mlp.p50_us").verdict == "faster"


def test_the_interval_is_students() -> None:
    a, b = measured(1, PROCESSES, SEEDS), measured(2, PROCESSES, SEEDS)
    one = compared(a, measured(2, [11.0, 11.1, 10.9], SEEDS), "mlp.p50_us")
    logs = np.log(PROCESSES), np.log([11.0, 11.1, 10.9])
    error = np.sqrt(sum(np.var(part, ddof=1) / 3 for part in logs))
    assert one.low is not None
    assert one.high is not None
    assert np.log1p(one.high) - np.log1p(one.low) == pytest.approx(2 * student(3) * error)  # Welch: 3.98, rounded down
    assert compared(a, b, "mlp.p50_us").verdict == "tie"


def test_seeds_are_compared_in_pairs() -> None:
    a, b = measured(1, PROCESSES, SEEDS), measured(2, PROCESSES, [1.1 * value for value in SEEDS])
    one = compared(a, b, "mlp.train_seconds")
    assert (one.verdict, one.basis) == ("slower", "5 seeds in pairs")
    assert one.low == pytest.approx(0.1)
    assert one.high == pytest.approx(0.1)


def test_one_process_each_has_no_interval() -> None:
    a, b = measured(1, [10.0], [1.0]), measured(2, [12.0], [1.0])
    one = compared(a, b, "mlp.p50_us")
    assert (one.verdict, one.low, one.high) == ("unclear", None, None)
    assert compared(a, b, "mlp.train_seconds").verdict == "tie"  # the same value


def test_the_noise_between_runs_widens_the_interval() -> None:
    runs = [measured(i, [10.0 * (1.15 if i % 2 else 1.0)] * 3, SEEDS) for i in range(8)]
    one = compared(runs[0], runs[1], "mlp.p50_us", runs)
    assert (one.verdict, one.basis) == ("tie", "8 comparable runs")
    assert compared(runs[0], runs[1], "mlp.p50_us").verdict == "slower"


def test_a_step_in_the_history_does_not_widen_it() -> None:
    runs = [measured(i, [(10.0 if i < 6 else 15.0) + 0.01 * (i % 3)] * 3, SEEDS) for i in range(12)]
    assert compared(runs[0], runs[-1], "mlp.p50_us", runs).verdict == "slower"


def test_shares_are_compared_by_differences() -> None:
    a, b = measured(1, PROCESSES, SEEDS), measured(2, PROCESSES, SEEDS, accuracy=0.97)
    one = compared(a, b, "mlp.accuracy")
    assert (one.verdict, one.share) == ("worse", True)
    assert one.change == pytest.approx(-0.01)


def test_a_small_change_is_a_tie_however_certain() -> None:
    a, b = measured(1, PROCESSES, SEEDS), measured(2, PROCESSES, [1.01 * value for value in SEEDS])
    assert compared(a, b, "mlp.train_seconds").verdict == "tie"


def test_the_size_of_a_model_is_exact() -> None:
    a = make_record(number=1)
    assert a.profile is not None
    b = make_record(number=2, profile=a.profile.model_copy(update={"model_bytes": 10 * a.profile.model_bytes}))
    one = compared(a, b, "mlp.model_bytes")
    assert (one.verdict, one.basis) == ("larger", "exact")
    assert one.change == pytest.approx(9)


def test_every_figure_has_its_values() -> None:
    record = make_record()
    assert set(values(record)) == {one.quantity.key for one in compare_records(record, record)}


def test_what_does_not_compare_is_refused_with_what_differs() -> None:
    other = make_record(fingerprint="another", quick=True, number=1)
    with pytest.raises(IncomparableError) as caught:
        compare_records(make_record(), other)
    assert str(caught.value) == (
        "sample-0 and sample-1 cannot be compared, because these differ: "
        "machine (test-machine / another); length (full / quick)"
    )


def test_figures_that_one_record_lacks_are_left_out() -> None:
    keys = [one.quantity.key for one in compare_records(make_record(), make_record(number=1, profile=None))]
    assert keys == ["mlp.accuracy", "mlp.train_seconds"]


def test_equal_runs_rarely_differ() -> None:
    """Of 400 pairs of runs with equal noise, about 1 in 20 differs, with 3 processes each and no history."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        draws = [10 * np.exp(rng.normal(0, 0.05, 3)) for _ in range(2)]
        a, b = (measured(i, draw.tolist(), SEEDS) for i, draw in enumerate(draws))
        wrong += compared(a, b, "mlp.p50_us").verdict != "tie"
    assert wrong <= 0.08 * 400
