"""tito.bench.suites: every malformed suite is refused in one line that names the place."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tito.bench.suites import find_suite, find_suites, load_suite, with_cases, with_gate
from tito.errors import SuiteError

SUITES = Path(__file__).parent / "suites"


def test_a_good_suite_loads_with_the_hash_of_both_files():
    loaded = load_suite(SUITES / "2001_tiny")
    both = b"".join((SUITES / "2001_tiny" / name).read_bytes() for name in ("suite.yaml", "workload.py"))
    assert loaded.sha256 == hashlib.sha256(both).hexdigest()
    assert loaded.suite.case("clouds").seeds == [1, 2]


def drop(*path):
    def edit(document):
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return edit


def put(*path_and_value):
    *path, value = path_and_value

    def edit(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return edit


GATE = ("cases", 0, "gates", 0)
OVERVIEW = {
    "group": "no",
    "columns": ["accuracy"],
    "size": "accuracy",
    "time": "accuracy",
    "quality": {"accuracy": "at_least"},
}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (drop("year"), ["year: missing"]),
        (drop(*GATE, "direction"), ["cases.0.gates.0.direction: missing"]),
        (put(*GATE, "direction", "upwards"), ["gates.0.direction: 'upwards'", "'at_least' or 'at_most'"]),
        (put(*GATE, "over", "mode"), ["gates.0.over: 'mode'", "'mean'"]),
        (put(*GATE, "value", "0.9"), ["gates.0.value: '0.9'", "number"]),
        (put(*GATE, "value", float("nan")), ["gates.0.value: nan", "finite"]),
        (put(*GATE, "metric", "speed"), ["gates.0.metric: 'speed'", "accuracy, load_seconds"]),
        (put("cases", 0, "aims", 0, "metric", "speed"), ["aims.0.metric: 'speed'"]),
        (put("cases", 0, "gates", []), ["cases.0.gates: []", "at least 1"]),
        (put("cases", 0, "metrics", ["speed"]), ["cases.0.metrics: 'speed'", "accuracy"]),
        (put("cases", 0, "metrics", []), ["cases.0.metrics: []: expected a length of at least 1"]),
        (put("duration", {"ful": 3}), ["duration.ful: unknown key; expected one of full, quick"]),
        (put("overview", {"grp": "n"}), ["overview.grp: unknown key; expected one of group, columns"]),
        (put("cases", 0, "parameters", "n", None), ["parameters.n: None: expected a number, text, true or false, or"]),
        (put("title", 5), ["title: 5: expected text"]),
        (put("profile", "queries", 10), ["profile.queries: 10: expected at least 662"]),
        (
            put(
                "overview",
                {
                    "group": "n",
                    "columns": ["x"],
                    "size": "accuracy",
                    "time": "accuracy",
                    "quality": {"accuracy": "at_least"},
                },
            ),
            ["overview.columns: 'x'", "accuracy"],
        ),
        (
            put(
                "overview",
                {
                    "group": "no",
                    "columns": ["accuracy"],
                    "size": "accuracy",
                    "time": "accuracy",
                    "quality": {"accuracy": "at_least"},
                },
            ),
            ["cases.0.parameters.no", "the overview groups cases by it"],
        ),
        (
            put("overview", OVERVIEW | {"relative": {"speed": "accuracy"}}),
            ["overview.relative.speed: expected one of accuracy"],
        ),
        (put("metrics", "accuracy", "needs", ["torch"]), ["metrics.accuracy.needs.0: 'torch'", "'onnx'"]),
        (
            put("metrics", "accuracy", "needs", ["onnx"]),
            ["cases.0.gates.0.metric: 'accuracy': expected a metric without `needs`"],
        ),
        (put("overview", OVERVIEW | {"relative": {"accuracy": "x"}}), ["overview.relative.accuracy: 'x'", "accuracy"]),
        (
            put("overview", OVERVIEW | {"reference": {"behaviour": "odd"}}),
            ["overview.reference: {'behaviour': 'odd'}: no case has these parameters"],
        ),
        (put("cases", 0, "quick", {"leave_out": "long"}), ["profile.case: 'clouds' is left out of a quick run"]),
        (put("cases", 0, "seed", 3), ["cases.0.seed: unknown key", "seeds"]),
        (put("metrics", "accuracy", "colour", "red"), ["metrics.accuracy.colour: unknown key", "title, unit"]),
        (put("cases", 0, "quick", "seed", 3), ["cases.0.quick.seed: unknown key", "seeds, parameters"]),
        (put("colour", "red"), ["colour: unknown key", "name, year"]),
        (put("year", "1986"), ["year: '1986'", "a whole number"]),
        (put("year", True), ["year: True", "a whole number"]),
        (put("name", "Tiny Suite"), ["name: 'Tiny Suite'"]),
        (put("data", "imagenet"), ["data.0: 'imagenet'", "'mnist'"]),
        (put("data", ["mnist", "none"]), ["data.1: 'none'", "'mnist'"]),
        (put("cases", 0, "seeds", []), ["cases.0.seeds: []"]),
        (put("cases", 0, "seeds", [1, 2, 1]), ["cases.0.seeds", "a seed appears twice"]),
        (put("cases", 0, "quick", "parameters", {"step": 1}), ["quick.parameters.step"]),
        (put("profile", "case", "rain"), ["profile.case: 'rain'", "expected one of clouds"]),
        (put("profile", "mine", "rain"), ["profile.mine: 'rain'", "expected one of clouds"]),
        (put("profile", "queries", 100), ["profile.queries: 100", "662"]),
        (put("profile", "batches", [0]), ["profile.batches: [0]", "at least 1"]),
        (put("profile", "batches", [1, 8, 1]), ["profile.batches: [1, 8, 1]", "twice"]),
        (put("name", "index"), ["name: 'index'", "is taken by a page"]),
        (put("name", "huge"), ["expected a folder named 2001_huge"]),
        (put("year", 2002), ["expected a folder named 2002_tiny"]),
        (put("year", 10**30), ["year: 1000", "9999"]),
        (put("metrics", "train_seconds", {"title": "Mine", "unit": "%"}), ["metrics.train_seconds", "another name"]),
        (put("workload", "../../workload.py"), ["workload: '../../workload.py'"]),
        (put("workload", "/workload.py"), ["workload: '/workload.py'"]),
        (put("workload", "other.py"), ["workload: 'other.py'"]),
        (put("limits", "seconds", 0), ["limits.seconds: 0", "more than 0"]),
        (lambda d: d["cases"].append(d["cases"][0]), ["cases.1.name: 'clouds' appears twice"]),
    ],
)
def test_a_malformed_suite_is_refused_in_one_line(suite_folder, edit, words):
    folder = suite_folder(edit)
    with pytest.raises(SuiteError) as caught:
        load_suite(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{folder / 'suite.yaml'}: ")
    for word in words:
        assert word in message


def test_several_problems_are_counted(suite_folder):
    with pytest.raises(SuiteError, match=r"\(and 1 more\)"):
        load_suite(suite_folder(lambda d: (d.pop("year"), d.pop("title"))))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the whole file: None"),
        (b"- a\n- b\n", "the whole file: ['a', 'b']"),
        (b"name: a\nyear: 1\nname: b\n", "suite.yaml:3:1: not valid YAML: duplicate key 'name'"),
        (b"name: [a\n", "suite.yaml:2:1: not valid YAML"),
        (
            b"a: !!python/object/apply:os.getcwd []\n",
            "a tag or merge key of YAML: expected plain values, lists, and keys",
        ),
        (b"title: 2001-99-99\n", "a value that cannot be read: month must be"),
        (b"year: " + b"1" * 5000, "a value that cannot be read"),
        (b"0x" + b"f" * 5000, "a number with thousands of digits"),
        (b"x: " + b"[" * 3000 + b"]" * 3000, "nested too deeply"),
        (b"name: \xff\n", "not UTF-8 text"),
        (b"a: &a [*a]\n", "nested too deeply, or an alias of YAML within its own value"),
        (b"a: 1\n---\nb: 1\n", "suite.yaml:2:1: a second document of YAML: expected only one"),
        (b"? [a]\n: b\n", "a key that is a list or has keys itself: expected plain text"),
        (b"<<: 5\n", "a tag or merge key of YAML"),
        (b"name: \x00\n", "not valid YAML"),
    ],
)
def test_text_that_is_no_suite_is_refused_in_one_line(tmp_path, content, words):
    (tmp_path / "workload.py").touch()
    (tmp_path / "suite.yaml").write_bytes(content)
    with pytest.raises(SuiteError) as caught:
        load_suite(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["suite.yaml", "workload.py"])
def test_a_missing_file_is_named(suite_folder, file):
    folder = suite_folder(lambda document: None)
    (folder / file).unlink()
    with pytest.raises(SuiteError, match=f"{file}: No such file"):
        load_suite(folder)


@pytest.mark.parametrize("name", ["tiny", "2001_tiny", str(SUITES / "2001_tiny")])
def test_a_suite_is_found_by_name_folder_and_path(name):
    assert find_suite(SUITES, name).suite.name == "tiny"


def test_a_wrong_name_lists_the_right_ones_and_guesses():
    with pytest.raises(SuiteError, match=r"no suite 'tinny' .* available: tiny \(did you mean tiny\?\)"):
        find_suite(SUITES, "tinny")
    with pytest.raises(SuiteError, match="available: none"):
        find_suite(SUITES / "nowhere", "tiny")


def test_a_malformed_suite_does_not_hide_another(suite_folder):
    folder = suite_folder(lambda document: None)
    broken = folder.with_name("1000_broken")
    broken.mkdir()
    (broken / "suite.yaml").write_text("nonsense")
    assert find_suite(folder.parent, "tiny").suite.name == "tiny"
    with pytest.raises(SuiteError, match="1000_broken"):
        find_suites(folder.parent)


def test_two_suites_of_one_name_are_refused(suite_folder):
    folder = suite_folder(lambda document: None)
    folder.rename(folder.with_name("1999_tiny"))
    suite_folder(lambda document: None)
    for look in (lambda: find_suites(folder.parent), lambda: find_suite(folder.parent, "tiny")):
        with pytest.raises(SuiteError, match=r"two suites are named 'tiny': .*1999_tiny, .*2001_tiny"):
            look()


def test_another_suites_workload_is_hashed_with_the_yaml(suite_folder):
    folder = suite_folder(lambda document: document.update(workload="../2000_base/workload.py"))
    with pytest.raises(SuiteError, match=r"2000_base/workload.py: No such file"):
        load_suite(folder)
    base = folder.with_name("2000_base")
    base.mkdir()
    (folder / "workload.py").rename(base / "workload.py")
    before = load_suite(folder)
    assert before.workload == (base / "workload.py").resolve()
    (base / "workload.py").write_text("another")
    assert load_suite(folder).sha256 != before.sha256


def storm(direction):
    """The tiny suite with a second case, whose gate points that way."""

    def edit(document):
        second = json.loads(json.dumps(document["cases"][0]))
        second["name"] = "storm"
        second["gates"][0]["direction"] = direction
        document["cases"].append(second)

    return edit


def gates(loaded):
    return [case.gates[0].value for case in loaded.suite.cases]


def test_a_gate_is_altered_everywhere_or_in_one_case(suite_folder):
    loaded = load_suite(suite_folder(storm("at_least")))
    altered = with_gate(loaded, "accuracy=50%")
    assert (gates(altered), altered.altered) == ([0.5, 0.5], ["gate accuracy=50%"])
    assert gates(with_gate(altered, "storm.accuracy=0.4")) == [0.5, 0.4]
    assert gates(loaded) == [0.9, 0.9]


def test_gates_that_point_both_ways_need_the_case(suite_folder):
    loaded = load_suite(suite_folder(storm("at_most")))
    with pytest.raises(SuiteError, match=r"both directions; use clouds.accuracy=VALUE or storm.accuracy=VALUE"):
        with_gate(loaded, "accuracy=0.5")
    assert gates(with_gate(loaded, "storm.accuracy=0.5")) == [0.9, 0.5]
    with pytest.raises(SuiteError, match=r"no gate on 'rain.accuracy'; available: accuracy, clouds.accuracy, storm"):
        with_gate(loaded, "rain.accuracy=0.5")


def test_a_suite_with_some_of_its_cases_says_so(suite_folder):
    loaded = load_suite(suite_folder(storm("at_least")))
    part = with_cases(loaded, ["storm"])
    assert ([case.name for case in part.suite.cases], part.altered) == (["storm"], ["only storm"])
    both = with_cases(loaded, ["storm", "clouds"])
    assert [case.name for case in both.suite.cases] == ["clouds", "storm"]  # in the suite's order
    assert len(loaded.suite.cases) == 2
    with pytest.raises(SuiteError, match=r"no case 'cloud' \(did you mean clouds\?\); there are: clouds, storm"):
        with_cases(loaded, ["storm", "cloud"])


def test_suites_come_in_the_order_of_their_years():
    assert [loaded.suite.name for loaded in find_suites(SUITES)] == ["tiny"]


def test_two_references_in_one_group_are_refused(suite_folder):
    def edit(document):
        case = document["cases"][0]
        case["parameters"]["track"] = "a"
        document["cases"].append(case | {"name": "second"})
        document["overview"] = OVERVIEW | {"group": "track", "reference": {"behaviour": "good"}}

    with pytest.raises(SuiteError, match="two cases of one track have these parameters"):
        load_suite(suite_folder(edit))


def test_each_suite_of_the_project_states_how_long_a_run_takes():
    project = Path(__file__).parents[2] / "suites"
    assert [loaded.suite.name for loaded in find_suites(project) if loaded.suite.duration is None] == []
