"""tito.bench.runner: a good suite passes with everything measured; a bad one fails, in one line, never green."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tito.bench import probes
from tito.bench.event import Event
from tito.bench.record import Record
from tito.bench.suites import load_suite, with_cases, with_gate
from tito.errors import RunError

TINY = Path(__file__).parent / "suites" / "2001_tiny"


@pytest.fixture(autouse=True)
def no_stacks(monkeypatch, request):
    """py-spy takes a second at the least; the shared full run has it."""
    if "tiny_record" not in request.fixturenames:
        monkeypatch.setattr(probes, "find_py_spy", lambda: None)


def test_a_full_run_passes_and_holds_what_was_measured(tiny_record):
    assert (tiny_record.status, tiny_record.reason) == ("passed", None)
    case = tiny_record.cases[0]
    assert [run.seed for run in case.runs] == [1, 2]
    assert case.summary["accuracy"].n == 2
    assert case.summary["train_seconds"].min > 0
    assert [len(run.curve) for run in case.runs] == [20, 20]
    assert case.runs[0].exhibits[0].kind == "confusion"


def test_an_aim_out_of_reach_does_not_change_the_status(tiny_record):
    assert [(v.role, v.met) for v in tiny_record.cases[0].verdicts] == [("gate", True), ("aim", False)]


def test_the_profile_has_one_entry_for_each_fresh_process(tiny_record):
    profile = tiny_record.profile
    assert [len(latency.samples_us) for latency in profile.latency] == [700, 700]
    assert [(row.batch, len(row.samples_per_second)) for row in profile.throughput] == [(1, 2), (300, 2)]
    assert profile.parameter_count == 2
    assert 12 < profile.model_bytes < 1000  # three float32 and safetensors' header


def test_memory_was_traced_from_before_the_data_to_the_end(tiny_record):
    memory = tiny_record.profile.memory
    assert (memory.case, memory.seed) == ("clouds", 1)
    assert [phase.name for phase in memory.phases] == ["load", "build", "train", "evaluate"]
    assert memory.samples[0].seconds <= memory.phases[0].start
    assert memory.samples[0].rss == memory.baseline <= memory.peak
    assert memory.baseline > 0.7 * memory.peak  # NumPy was there already, and this workload adds little


def test_peak_memory_is_the_workloads_and_not_that_of_saving_its_weights(misbehaving, run_quick):
    memory = run_quick(misbehaving("heavy state")).profile.memory
    assert memory.peak - memory.baseline < 100 * 2**20  # saving takes 150 MB
    assert memory.samples[-1].seconds < memory.phases[-1].end + 0.2  # saving takes 0.4 s
    if sys.platform == "linux":
        assert memory.peak >= max(phase.peak for phase in memory.phases) > 0


def test_stacks_were_seen_or_the_record_says_why_not(tiny_record):
    if tiny_record.profile.stacks is None:
        assert [omission.what for omission in tiny_record.omitted] == ["stacks"]
        pytest.skip(tiny_record.omitted[0].why)
    assert any("train (workload.py" in stack for stack, _ in tiny_record.profile.stacks.collapsed)


def test_a_record_holds_no_path_of_this_machine_and_survives_its_json(tiny_record):
    text = tiny_record.model_dump_json()
    assert Record.model_validate_json(text) == tiny_record
    assert str(TINY) not in text
    assert str(Path.home()) not in text
    assert tiny_record.id.startswith(f"{tiny_record.created:%Y%m%dT%H%M%SZ}-tiny-")


def test_a_seed_repeats_its_figures(tiny_record, run_quick):
    again = run_quick(load_suite(TINY), seeds=1, quick=False)
    assert [run.seed for run in again.cases[0].runs] == [1]
    assert again.cases[0].runs[0].curve == tiny_record.cases[0].runs[0].curve


def test_quick_takes_its_own_seeds_and_parameters_and_one_repetition(run_quick):
    record = run_quick(load_suite(TINY))
    assert record.quick
    assert record.cases[0].parameters["steps"] == 5
    assert [run.seed for run in record.cases[0].runs] == [1]
    assert [len(latency.samples_us) for latency in record.profile.latency] == [662]
    assert [omission.what for omission in record.omitted] == ["stacks"]
    assert "not installed" in record.omitted[0].why


def test_a_record_says_how_long_its_run_took(run_quick):
    began = time.perf_counter()
    record = run_quick(load_suite(TINY))
    assert 0 < record.seconds <= time.perf_counter() - began


def test_a_case_may_be_left_out_of_a_quick_run_which_then_says_why(suite_folder, run_quick):
    def second(document):
        document["cases"].append(document["cases"][0] | {"name": "long", "quick": {"leave_out": "it takes an hour"}})

    record = run_quick(load_suite(suite_folder(second)))
    assert [case.name for case in record.cases] == ["clouds"]
    assert "with --quick: it takes an hour" in [omission.why for omission in record.omitted]


def test_events_tell_phases_and_finished_seeds(run_quick):
    events: list[Event] = []
    run_quick(load_suite(TINY), report=events.append)
    stages = [event.stage for event in events]
    assert stages[:5] == ["start", "load", "build", "train", "train"]
    assert events[0].plan == (("clouds", 1),)
    assert {"latency", "throughput"} <= set(stages)
    last = next(event for event in events if event.stage == "seed done")
    assert (last.case, last.seed, last.done, last.total) == ("clouds", 1, 1, 1)
    accuracy = last.figures["accuracy"]
    assert accuracy is not None
    assert accuracy > 0.5


def test_only_some_cases_run_and_the_record_says_so(suite_folder, run_quick):
    def second(document):
        document["cases"].append(document["cases"][0] | {"name": "storm"})

    loaded = load_suite(suite_folder(second))
    record = run_quick(with_cases(loaded, ["storm"]))
    assert [case.name for case in record.cases] == ["storm"]
    assert (record.status, record.profile, record.full) == ("passed", None, False)
    assert record.altered == ["only storm"]
    assert {omission.why for omission in record.omitted} == {"its case, clouds, was not run"}
    assert run_quick(with_cases(loaded, ["clouds"])).profile.latency


def test_models_are_kept_as_they_were_judged(suite_folder, run_quick, tmp_path):
    def second(document):
        document["cases"].append(document["cases"][0] | {"name": "storm"})

    models = tmp_path / "models"
    record = run_quick(load_suite(suite_folder(second)), models=models, quick=False)
    assert record.status == "passed"
    assert sorted(path.relative_to(models).as_posix() for path in models.rglob("*")) == [
        "clouds", "clouds/weight", "storm", "storm/weight",
    ]  # fmt: skip
    with pytest.raises(RunError, match=r"--keep-models: .*clouds exists already"):
        run_quick(load_suite(TINY), models=models)


def test_a_workload_that_saves_nothing_keeps_no_model(suite_folder, run_quick, tmp_path):
    folder = suite_folder(lambda document: None)
    text = (folder / "workload.py").read_text().replace("def save(", "def unsaved(")
    (folder / "workload.py").write_text(text)
    record = run_quick(load_suite(folder), models=tmp_path / "models")
    assert record.reason == "clouds, seed 1: workload.py does not define save"
    assert list((tmp_path / "models").rglob("*")) == []


def test_seeds_below_one_are_refused(run_quick):
    with pytest.raises(RunError, match="--seeds 0"):
        run_quick(load_suite(TINY), seeds=0)


def test_a_missed_gate_is_no_pass_and_no_speed_is_quoted(suite_folder, run_quick):
    folder = suite_folder(lambda document: document["cases"][0]["gates"][0].update(value=1.001))
    record = run_quick(load_suite(folder))
    assert record.status == "gate missed"
    assert record.reason.startswith("clouds: accuracy mean ")
    assert record.reason.endswith(" is below the gate of 1.001")
    assert record.profile.latency == []
    assert record.profile.memory is not None
    assert [omission.what for omission in record.omitted] == ["latency", "throughput", "stacks"]


@pytest.mark.parametrize(
    ("behaviour", "limits", "reason"),
    [
        ("raise", {}, "clouds, seed 1: ValueError: the clouds have gone (workload.py line "),
        ("nan", {}, "clouds, seed 1: metric accuracy is nan; expected a finite number"),
        ("rubbish", {}, "clouds, seed 1: evaluate returned str 'very good'"),
        ("wrong exhibit", {}, "clouds, seed 1: the workload returned an invalid exhibits.0"),
        ("unknown object", {}, "clouds, seed 1: the workload returned object <object object"),
        ("raise odd", {}, "clouds, seed 1: ValueError: caf\\udce9 \\x1b[2J\\x07 (workload.py line "),
        ("kill", {}, "clouds, seed 1: killed by signal 9 (out of memory?)"),
        ("hang", {"seconds": 1.0}, "clouds, seed 1: killed at the time limit of 1 s (`limits: seconds` in the "),
        ("eat", {"memory_mb": 200}, "clouds, seed 1: killed at "),
        ("no queries", {}, "clouds, latency and throughput: queries returned ndarray"),
    ],
)
def test_whatever_goes_wrong_is_a_failed_record_with_one_line(misbehaving, run_quick, behaviour, limits, reason):
    record = run_quick(misbehaving(behaviour, **limits))
    assert record.status == "failed"
    assert record.reason.startswith(reason)
    assert "\n" not in record.reason
    assert not (record.profile and record.profile.latency)
    Record.model_validate_json(record.model_dump_json())


def test_a_failed_run_keeps_what_was_measured_until_then(suite_folder, run_quick):
    def edit(document):
        second = json.loads(json.dumps(document["cases"][0]))
        second["name"] = "storm"
        second["parameters"]["behaviour"] = "raise"
        document["cases"].append(second)

    record = run_quick(load_suite(suite_folder(edit)))
    good, bad = record.cases
    assert good.verdicts[0].met
    assert (bad.runs, bad.summary) == ([], {})
    assert [(v.measured, v.met) for v in bad.verdicts] == [(None, False), (None, False)]
    assert record.status == "failed"
    assert record.reason.startswith("storm, seed 1: ValueError")
    assert record.profile.memory is not None


def test_forbidden_py_spy_leaves_a_reason_and_a_pass(run_quick, monkeypatch, tmp_path):
    refusing = tmp_path / "py-spy"
    refusing.write_text("#!/bin/sh\necho 'Error: Permission Denied' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(probes, "find_py_spy", lambda: str(refusing))
    record = run_quick(load_suite(TINY))
    assert record.status == "passed"
    assert record.profile.stacks is None
    assert record.omitted[0].why == "py-spy could not read the process: Permission Denied"


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_py_spy_that_cannot_be_started_is_an_omission(run_quick, monkeypatch, tmp_path, mode):
    broken = tmp_path / "py-spy"
    broken.write_bytes(b"\x00no program")
    broken.chmod(mode)
    monkeypatch.setattr(probes, "find_py_spy", lambda: str(broken))
    record = run_quick(load_suite(TINY))
    assert record.status == "passed"
    assert record.omitted[0].what == "stacks"
    assert record.omitted[0].why.startswith("py-spy cannot be run: ")


def test_odd_text_of_a_workload_costs_no_record(misbehaving, run_quick):
    record = run_quick(misbehaving("odd text"))
    assert record.status == "passed"
    assert record.cases[0].runs[0].exhibits[0].title == "caf\\udce9 \\x1b[2J\\x07"
    Record.model_validate_json(record.model_dump_json())


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"charm": 1.0}, "clouds, seed 1: returned the metrics charm; expected accuracy, "),
        (
            dict.fromkeys(("accuracy", "load_seconds", "train_seconds", "evaluate_seconds"), 1.0),
            "clouds, seed 1: it exited without saving its weights",
        ),
    ],
)
def test_a_forged_result_is_a_failed_record(suite_folder, run_quick, metrics, reason):
    forged = {"event": "result", "metrics": metrics, "curve": [], "exhibits": [], "parameter_count": 1}

    def edit(document):
        document["cases"][0]["parameters"] |= {"behaviour": "forge", "place": json.dumps(forged)}

    record = run_quick(load_suite(suite_folder(edit)))
    assert (record.status, record.profile) == ("failed", None)
    assert record.reason.startswith(reason)


def test_fewer_seeds_and_other_gates_are_told_in_the_record(run_quick, tiny_record):
    assert tiny_record.full
    loaded = with_gate(load_suite(TINY), "accuracy=0.5")
    record = run_quick(loaded, seeds=1, quick=False)
    assert record.altered == ["gate accuracy=0.5", "1 of 2 seeds"]
    assert not record.full
    assert run_quick(load_suite(TINY), seeds=1).altered == []  # quick has one seed anyway


def test_another_suites_workload_runs(suite_folder, run_quick):
    folder = suite_folder(lambda document: None)
    other = suite_folder(lambda document: document.update(name="other", workload="../2001_tiny/workload.py"))
    assert other == folder
    other = folder.rename(folder.with_name("2001_other"))
    (other / "workload.py").unlink()
    suite_folder(lambda document: None)
    record = run_quick(load_suite(other))
    assert (record.suite, record.status) == ("other", "passed")


def test_ctrl_c_goes_up_and_leaves_no_folder(run_quick, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def interrupt(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_quick(load_suite(TINY), report=interrupt)
    assert list(tmp_path.iterdir()) == []
