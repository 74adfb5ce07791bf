"""Suites on disk: finding, reading, checking, and hashing them, and changing their gates for one run.

suites/1986_mnist/suite.yaml -> load_suite() -> LoadedSuite
"""

from __future__ import annotations

import hashlib
import math
import reprlib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tito.bench.suite import ENGINE_METRICS, LoadedSuite, Overview, Suite
from tito.errors import SuiteError, UnknownSuiteError, did_you_mean, printable
from tito.files import read_plain, user_path
from tito.process.documents import expectation, place
from tito.versus.contest import RIVAL_METRICS, WORKS

MOST_BYTES = 10_000_000  # of a suite.yaml, or of a file of its code


def load_suite(folder: Path) -> LoadedSuite:
    """Read and check one suite: its folder YEAR_NAME, its suite.yaml, and its workload.

    Raises:
        SuiteError: one line that names the file, the key path, the value, and what was expected.
    """
    file = folder / "suite.yaml"
    content = _read(file)
    try:
        document = _parse(file, content)
        for problem in _unprintable(document, ""):
            raise SuiteError(f"{file}: {problem}")
        suite = Suite.model_validate(document, strict=True)
    except ValidationError as error:
        raise SuiteError(_first_line(file, error)) from None
    except RecursionError:
        raise SuiteError(f"{file}: nested too deeply, or an alias of YAML within its own value") from None
    for problem in _contradictions(suite):
        raise SuiteError(f"{file}: {problem}")
    if folder.resolve().name != f"{suite.year}_{suite.name}":
        raise SuiteError(f"{file}: expected a folder named {suite.year}_{suite.name}, after its year and name")
    workload = _workload(file, suite)
    hashed = hashlib.sha256(content + _code(workload)).hexdigest()
    return LoadedSuite(suite=suite, folder=folder, workload=workload, sha256=hashed)


def find_suites(suites_folder: Path) -> list[LoadedSuite]:
    """Return every suite in a folder of suites, by folder name and so by year.

    Raises:
        SuiteError: one of them cannot be run as written.
    """
    found, problems = usable_suites(suites_folder)
    for problem in problems:
        raise SuiteError(problem)
    return found


def usable_suites(suites_folder: Path) -> tuple[list[LoadedSuite], list[str]]:
    """Return the suites that can be run, by folder name and so by year, and one line for each other folder."""
    folders, found, problems = _suite_folders(suites_folder), [], []
    for folder in folders:
        try:
            _only_one(folders, folder.name.partition("_")[2])
            found.append(load_suite(folder))
        except SuiteError as error:
            problems.append(str(error))
    return found, problems


def find_suite(suites_folder: Path, name: str) -> LoadedSuite:
    """Return a suite by its name (mnist), its folder's name (1986_mnist), or the path of its folder."""
    folders = _suite_folders(suites_folder)
    for folder in folders:
        if name in (folder.name, folder.name.partition("_")[2]):
            _only_one(folders, folder.name.partition("_")[2])
            return load_suite(folder)
    if name.endswith("/suite.yaml"):
        return find_suite(suites_folder, str(Path(name).parent))
    if "\0" not in name and (user_path(name) / "suite.yaml").is_file():
        return load_suite(user_path(name))
    names = [folder.name.partition("_")[2] or folder.name for folder in folders]
    by_year = [folder.name.partition("_")[2] for folder in folders if folder.name.partition("_")[0] == name]
    hint = did_you_mean(name, names, by_year)
    raise UnknownSuiteError(f"no suite {name!r} in {suites_folder}; available: {', '.join(names) or 'none'}{hint}")


def with_gate(loaded: LoadedSuite, override: str) -> LoadedSuite:
    """Return the suite with another value for each gate on a metric; its file does not change.

    Args:
        loaded: the suite.
        override: METRIC=VALUE, or CASE.METRIC=VALUE for the gates of one case. The case is required if gates on the
            metric point in both directions, because one value cannot fit them all.

    Raises:
        SuiteError: `override` has neither form, or there is no such gate.
    """
    target, _, text = override.partition("=")
    only, _, metric = target.rpartition(".")
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise SuiteError(f"{override!r} is not METRIC=VALUE or CASE.METRIC=VALUE, e.g. accuracy=0.999") from None
    if not math.isfinite(value):
        raise SuiteError(f"{override!r}: the value must be a finite number")
    suite = loaded.suite
    gates = [(case.name, gate) for case in suite.cases for gate in case.gates]
    chosen = [(case, gate) for case, gate in gates if gate.metric == metric and only in ("", case)]
    if not chosen:
        known = sorted({name for case, gate in gates for name in (gate.metric, f"{case}.{gate.metric}")})
        hint = did_you_mean(target, known)
        raise UnknownSuiteError(f"{suite.name} has no gate on {target!r}; available: {', '.join(known)}{hint}")
    if not only and len({gate.direction for _, gate in chosen}) > 1:
        each = " or ".join(f"{case}.{metric}=VALUE" for case, _ in chosen)
        raise SuiteError(f"{override!r}: the gates on {metric} point in both directions; use {each}")
    cases = [
        case.model_copy(
            update={
                "gates": [
                    gate.model_copy(update={"value": value}) if (case.name, gate) in chosen else gate
                    for gate in case.gates
                ]
            }
        )
        for case in suite.cases
    ]
    altered = [*loaded.altered, f"gate {override}"]
    return loaded.model_copy(update={"suite": suite.model_copy(update={"cases": cases}), "altered": altered})


def with_cases(loaded: LoadedSuite, names: Sequence[str]) -> LoadedSuite:
    """Return the suite with only these cases. The profile is left out if its case is.

    Raises:
        SuiteError: a case does not exist.
    """
    suite = loaded.suite
    known = [case.name for case in suite.cases]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UnknownSuiteError(f"{suite.name} has no case {name!r}{hint}; there are: {', '.join(known)}")
    cases = [case for case in suite.cases if case.name in names]
    altered = [*loaded.altered, f"only {', '.join(case.name for case in cases)}"]
    return loaded.model_copy(update={"suite": suite.model_copy(update={"cases": cases}), "altered": altered})


class _NoDuplicates(yaml.SafeLoader):
    """A loader of YAML's plain types for which a duplicate key is an error; YAML itself keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key!r}", problem_mark=node.value[i][0].start_mark)
        return super().construct_mapping(node, deep=deep)


def _suite_folders(suites_folder: Path) -> list[Path]:
    """Return the folders with a suite.yaml. Hidden ones are copies that editors and notebooks keep."""
    found = (file.parent for file in suites_folder.glob("*/suite.yaml"))
    return sorted(folder for folder in found if not folder.name.startswith("."))


def _only_one(folders: Iterable[Path], name: str) -> None:
    """Check that a suite's name is its own, because its page and its records have the same name."""
    same = [folder for folder in folders if folder.name.partition("_")[2] == name]
    if len(same) > 1:
        raise SuiteError(f"two suites are named {name!r}: {', '.join(map(str, same))}; rename one")


def _workload(file: Path, suite: Suite) -> Path:
    """Return the workload that a suite.yaml names: its own, or that of another suite in the same folder of suites."""
    path = (file.parent / suite.workload).resolve()
    if path.name != "workload.py" or not path.is_relative_to(file.parent.resolve().parent):
        expected = "expected workload.py or the path of another suite's, e.g. ../2012_cifar10/workload.py"
        raise SuiteError(f"{file}: workload: {reprlib.repr(suite.workload)}: {expected}")
    return path


def _code(workload: Path) -> bytes:
    """Return the code to hash: the workload alone, or each file of its folder with name and length."""
    files = sorted(workload.parent.glob("*.py"))
    if files == [workload] or not files:
        return _read(workload)
    contents = {file.name: _read(file) for file in files}
    return b"".join(f"{name} {len(code)}\n".encode() + code for name, code in contents.items())


def _read(file: Path) -> bytes:
    try:
        return read_plain(file, MOST_BYTES)
    except OSError as error:
        expected = "a suite folder contains suite.yaml and workload.py"
        raise SuiteError(f"{file}: {error.strerror or error}; {expected}") from None


def _parse(file: Path, content: bytes) -> object:
    try:
        return yaml.load(content.decode(), Loader=_NoDuplicates)  # a SafeLoader: plain types only
    except UnicodeDecodeError as error:
        raise SuiteError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        if isinstance(error, yaml.constructor.ConstructorError) and "unhashable" in str(error.problem):
            raise SuiteError(f"{where}: a key that is a list or has keys itself: expected plain text") from None
        if isinstance(error, yaml.composer.ComposerError) and "another document" in str(error.problem):
            raise SuiteError(f"{where}: a second document of YAML: expected only one") from None
        if isinstance(error, yaml.constructor.ConstructorError):
            raise SuiteError(f"{where}: a tag or merge key of YAML: expected plain values, lists, and keys") from None
        raise SuiteError(f"{where}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise SuiteError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValueError as error:  # e.g. the day 2001-99-99, or a number of 5,000 digits
        raise SuiteError(f"{file}: a value that cannot be read: {error}") from None
    except RecursionError:
        raise SuiteError(f"{file}: nested too deeply") from None


def _first_line(file: Path, error: ValidationError) -> str:
    """Return the first problem in one line, and the number of further ones."""
    # An unknown key first: a misspelled one also makes another key missing
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    path = ".".join(map(str, place(first))) or "the whole file"
    return f"{file}: {path}: {_in_words(first)}{more}"


def _unprintable(value: object, path: str) -> Iterable[str]:
    """Yield a problem for each text with control characters, which a terminal would obey, or that cannot be stored."""
    if isinstance(value, str) and value != printable(value, keep="\n\t"):
        yield f"{path or 'the whole file'}: {_shown(printable(value))}: expected characters that can be printed"
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _unprintable(item, f"{path}.{i}".lstrip("."))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unprintable(key, f"{path}.(a key)".lstrip("."))
            yield from _unprintable(item, f"{path}.{key}".lstrip("."))


def _in_words(problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return "missing"
    if problem["type"] == "string_pattern_mismatch":
        return f"{_shown(problem['input'])}: expected lower-case letters, digits, and underscores"
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_keys_at(problem["loc"][:-1]))
        return f"unknown key; expected one of {known}"
    return f"{_shown(problem['input'])}: {expectation(problem)}"


def _shown(value: object) -> str:
    """Return a value in few characters, even if it is large or deeply nested."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not write integers of more than 4,300 digits
        return "a number with thousands of digits"


def _keys_at(location: Iterable[int | str]) -> list[str]:
    """Return the keys that the model allows at a path, e.g. ("cases", 0, "gates", 1) -> Criterion's fields."""
    model: Any = Suite
    for part in location:
        model = _model(model)
        model = get_args(model)[-1] if get_args(model) else model.model_fields[part].annotation
    return list(_model(model).model_fields)


def _model(annotation: Any) -> Any:
    """Return what may be there besides None."""
    known = [one for one in get_args(annotation) if one is not type(None)]
    return known[0] if isinstance(annotation, UnionType) and len(known) == 1 else annotation


def _contradictions(suite: Suite) -> Iterable[str]:
    """Yield contradictions in a well-formed suite, such as unknown names and duplicates."""
    names = [case.name for case in suite.cases]
    optional = {name for name, metric in suite.metrics.items() if metric.needs}
    for i, case in enumerate(suite.cases):
        if case.name in names[:i]:
            yield f"cases.{i}.name: {case.name!r} appears twice; expected a unique name"
        for key, seeds in (("seeds", case.seeds), ("quick.seeds", case.quick.seeds or [])):
            if len(set(seeds)) < len(seeds):
                yield f"cases.{i}.{key}: {seeds}: a seed appears twice; expected different seeds"
        for where, changed in (("quick.parameters", case.quick.parameters), ("mine", case.mine)):
            for key in changed.keys() - case.parameters.keys():
                yield f"cases.{i}.{where}.{key}: not a parameter of the case; expected one of its parameters"
        for name in case.metrics or []:
            if name not in suite.metrics:
                yield f"cases.{i}.metrics: {name!r}: expected some of {', '.join(suite.metrics)}"
        measured = suite.metrics_of(case) if case.rival else [*suite.metrics_of(case), *ENGINE_METRICS]
        if case.rival and not (WORKS / f"{case.rival}.py").is_file():
            known = ", ".join(sorted(file.stem for file in WORKS.glob("[a-z]*.py")))
            yield f"cases.{i}.rival: {case.rival!r}: expected one of {known}"
        if case.rival and set(measured) != set(RIVAL_METRICS):
            yield f"cases.{i}.metrics: {measured}: expected {', '.join(RIVAL_METRICS)}, as the case has a rival"
        for role, criteria in (("gates", case.gates), ("aims", case.aims)):
            for j, criterion in enumerate(criteria):
                if criterion.metric not in measured:
                    known = ", ".join(measured)
                    yield f"cases.{i}.{role}.{j}.metric: {criterion.metric!r}: expected one of {known}"
                elif criterion.metric in optional:
                    yield f"cases.{i}.{role}.{j}.metric: {criterion.metric!r}: expected a metric without `needs`"
    for name in set(ENGINE_METRICS) & suite.metrics.keys():
        yield f"metrics.{name}: the harness itself measures a metric of this name; expected another name"
    if suite.overview:
        yield from _overview_contradictions(suite, suite.overview)
    for key, name in {"case": suite.profile.case, "mine": suite.profile.mine}.items():
        profiled = next((case for case in suite.cases if case.name == name), None)
        if profiled is None and (name or key == "case"):
            yield f"profile.{key}: {name!r}: expected one of {', '.join(names)}"
        elif profiled and profiled.quick.leave_out:
            yield f"profile.{key}: {name!r} is left out of a quick run; expected a case that is not"
        elif profiled and profiled.rival:
            yield f"profile.{key}: {name!r} has a rival and no model of its own; expected a case that is trained"
    if min(suite.profile.batches) < 1:
        yield f"profile.batches: {suite.profile.batches}: expected batch sizes of at least 1"
    if len(set(suite.profile.batches)) < len(suite.profile.batches):
        yield f"profile.batches: {suite.profile.batches}: a size appears twice; expected different sizes"


def _overview_contradictions(suite: Suite, overview: Overview) -> Iterable[str]:
    named = {"columns": overview.columns, "size": [overview.size], "time": [overview.time], "quality": overview.quality}
    for key, metrics in named.items():
        for name in metrics:
            if name not in suite.metrics:
                yield f"overview.{key}: {name!r}: expected one of {', '.join(suite.metrics)}"
            elif key != "columns" and suite.metrics[name].needs:
                yield f"overview.{key}: {name!r}: expected a metric without `needs`"
    yield from _relative_contradictions(suite, overview)
    for i, case in enumerate(suite.cases):
        for criterion in (*case.gates, *case.aims):
            if criterion.metric not in (*overview.columns, *ENGINE_METRICS):
                yield f"overview.columns: {criterion.metric!r} is missing, but case {case.name!r} is judged by it"
        if not isinstance(case.parameters.get(overview.group), str):
            yield f"cases.{i}.parameters.{overview.group}: expected a name: the overview groups cases by it"


def _relative_contradictions(suite: Suite, overview: Overview) -> Iterable[str]:
    """Yield contradictions in what the overview says about its reference and the metrics relative to it."""
    shown = (overview.size, overview.time, *overview.quality)
    for name, relative in overview.relative.items():
        if name not in shown:
            yield f"overview.relative.{name}: expected one of {', '.join(shown)}"
        if relative not in suite.metrics:
            yield f"overview.relative.{name}: {relative!r}: expected one of {', '.join(suite.metrics)}"
    marks = overview.reference.items()
    references = [case for case in suite.cases if all(case.parameters.get(key) == value for key, value in marks)]
    groups = [str(case.parameters.get(overview.group)) for case in references]
    if marks and not references:
        yield f"overview.reference: {overview.reference}: no case has these parameters"
    if marks and len(set(groups)) < len(groups):
        yield f"overview.reference: {overview.reference}: two cases of one {overview.group} have these parameters"
