"""tito.compete.submit: one call from a saved model to a published entry, or every reason why not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.compete.competition import small_model
from tinytorch.layers import Module
from tinytorch.quantized import quantize_dynamic
from tinytorch.saved import load_model, save_model
from tito.compete.folder import SharedFolder, read_model
from tito.compete.manifest import model_sha256
from tito.compete.problems import RefusedError
from tito.compete.rules import Rules
from tito.compete.submit import Fields, stage, submit
from tito.errors import TitoError

FIELDS = Fields("alice/small", "mnist", "open")


@pytest.fixture
def shared(tmp_path: Path) -> SharedFolder:
    return SharedFolder(tmp_path / "shared")


def saved(folder: Path, model: Module | None = None) -> Path:
    return save_model(model or small_model(), folder)


def refused(shared: SharedFolder, model: Path, fields: Fields, rules: Rules) -> list[str]:
    with pytest.raises(RefusedError) as caught:
        submit(shared, model, fields, rules, preview=lambda path: pytest.fail("it is not measured"))
    return [problem.code for problem in caught.value.problems]


def test_a_model_becomes_an_entry(shared: SharedFolder, rules: Rules, tmp_path: Path) -> None:
    model, seen = saved(tmp_path / "model"), []
    path = submit(shared, model, FIELDS, rules, preview=lambda staged: seen.append(read_model(staged)))
    assert path == shared.path / "alice" / "small"
    assert read_model(path) == read_model(model) == seen[0]
    assert json.loads((path / "submission.json").read_text()) == {
        "schema_version": 1,
        "id": "alice/small",
        "track": "mnist",
        "division": "open",
        "model_sha256": model_sha256(*read_model(model)),
        "parent": None,
        "title": "alice/small",
        "authors": ["alice"],
        "licence": "not stated",
        "techniques": [],
        "recipe": "",
    }


def test_a_closed_entry_gets_its_parent_and_what_its_files_show(
    shared: SharedFolder, rules: Rules, tmp_path: Path
) -> None:
    reference = rules.reference_folder("mnist")
    model = saved(tmp_path / "model", quantize_dynamic(load_model(reference)))
    fields = replace(FIELDS, division="closed", title="INT8", authors=["Alice", "Bob"], techniques=["folded"])
    manifest = json.loads((submit(shared, model, fields, rules) / "submission.json").read_text())
    assert manifest["parent"] == model_sha256(*read_model(reference))
    assert manifest["techniques"] == ["int8", "folded"]
    assert (manifest["title"], manifest["authors"]) == ("INT8", ["Alice", "Bob"])


def test_a_model_beside_other_files_is_submitted_without_them(
    shared: SharedFolder, rules: Rules, tmp_path: Path
) -> None:
    model = saved(tmp_path / "model")
    (model / "reference.json").write_text("{}")
    assert len(list(submit(shared, model, FIELDS, rules).iterdir())) == 3


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"id": "Alice/small"}, ["name"]),
        ({"id": "../small"}, ["name"]),
        ({"track": "imagenet"}, ["manifest"]),
        ({"division": "both"}, ["manifest"]),
        ({"title": "\x1b[2J"}, ["text"]),
        ({"title": "x" * 81, "authors": ["\u202e"]}, ["text", "text"]),
        ({"techniques": ["magic"]}, ["manifest"]),
        ({"techniques": ["int8"]}, ["technique"]),
        ({"track": "cifar10"}, ["task"]),
        ({"parent": "x"}, ["manifest"]),
    ],
)
def test_a_bad_field_is_refused_before_anything_is_measured_or_written(
    shared: SharedFolder, rules: Rules, tmp_path: Path, changes: dict, codes: list[str]
) -> None:
    assert refused(shared, saved(tmp_path / "model"), replace(FIELDS, **changes), rules) == codes
    assert not shared.path.exists()


def test_a_trained_model_is_not_of_the_closed_division(shared: SharedFolder, rules: Rules, tmp_path: Path) -> None:
    found = refused(shared, saved(tmp_path / "model"), replace(FIELDS, division="closed"), rules)
    assert set(found) == {"lineage"}


def test_a_name_that_is_taken_is_found_before_anything_is_measured(
    shared: SharedFolder, rules: Rules, tmp_path: Path
) -> None:
    submit(shared, saved(tmp_path / "model"), FIELDS, rules)
    other = saved(tmp_path / "other", small_model(seed=2))
    assert refused(shared, other, FIELDS, rules) == ["taken"]


def test_the_same_model_under_another_name(shared: SharedFolder, rules: Rules, tmp_path: Path) -> None:
    model = saved(tmp_path / "model")
    submit(shared, model, FIELDS, rules)
    assert refused(shared, model, replace(FIELDS, id="bob/copy"), rules) == ["same-model"]


def test_a_preview_that_fails_publishes_nothing(shared: SharedFolder, rules: Rules, tmp_path: Path) -> None:
    def preview(staged: Path) -> None:
        raise TitoError("the gate is missed")

    with pytest.raises(TitoError, match="the gate is missed"):
        submit(shared, saved(tmp_path / "model"), FIELDS, rules, preview)
    assert not shared.path.exists()


def test_a_staged_entry_that_the_preview_changes_is_not_published(
    shared: SharedFolder, rules: Rules, tmp_path: Path
) -> None:
    def preview(staged: Path) -> None:
        (staged / "model.json").write_text("{}")

    with pytest.raises(RefusedError, match=r"^changed"):
        submit(shared, saved(tmp_path / "model"), FIELDS, rules, preview)
    assert shared.entries() == []


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_model_folder_without_a_model(shared: SharedFolder, rules: Rules, tmp_path: Path, name: str) -> None:
    model = saved(tmp_path / "model")
    (model / name).rename(tmp_path / "elsewhere")
    assert refused(shared, model, FIELDS, rules) == ["files"]
    (model / name).symlink_to(tmp_path / "elsewhere")
    assert refused(shared, model, FIELDS, rules) == ["not-plain"]


def test_a_model_that_cannot_be_read_is_the_model_s_problem(shared: SharedFolder, rules: Rules, tmp_path: Path) -> None:
    model = saved(tmp_path / "model")
    (model / "model.safetensors").write_bytes(b"")
    assert refused(shared, model, FIELDS, rules) == ["tensors"]


def test_a_folder_that_is_not_there(shared: SharedFolder, rules: Rules, tmp_path: Path) -> None:
    with pytest.raises(TitoError, match=r"gone: cannot be read: No such file"):
        submit(shared, tmp_path / "gone", FIELDS, rules)


def test_a_staged_entry_is_private(rules: Rules, tmp_path: Path) -> None:
    staged = stage(saved(tmp_path / "model"), FIELDS, tmp_path / "a" / "staged", rules)
    assert staged.stat().st_mode & 0o777 == 0o700
    with pytest.raises(TitoError, match="staged: cannot be written: File exists"):
        stage(saved(tmp_path / "model"), FIELDS, staged, rules)
