"""tito.compete.rules: what the YAML states is what the program enforces, and everything that ranks is in the hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compete.competition import REFERENCES, ROOT, make_project
from tinytorch.saved import load_model
from tinytorch.transformers import GPT
from tito.compete import rules as module
from tito.compete.rules import load_rules
from tito.errors import SuiteError
from tito.project import Project, find_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def spoil(project: Project, old: str, new: str) -> str:
    file = project.suites / module.FOLDER / module.FILE
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(SuiteError) as caught:
        load_rules(project)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    return message


def test_the_rules_name_three_tracks_with_their_references(project: Project) -> None:
    rules = load_rules(project)
    assert list(rules.tracks) == ["mnist", "cifar10", "tinygpt"]
    for name, track in rules.tracks.items():
        reference = load_model(rules.reference_folder(name))
        assert rules.reference_folder(name).is_relative_to(project.root)
        assert track.is_text == isinstance(reference, GPT) == (name == "tinygpt")
    gpt = rules.tracks["tinygpt"]
    reference = load_model(rules.reference_folder("tinygpt"))
    assert isinstance(reference, GPT)
    assert (gpt.vocabulary, gpt.block) == (reference.vocab_size, reference.block_size) == (4256, 128)
    assert (gpt.cache_batch, gpt.cache_hop, gpt.gate) == (1, 64, 0.02)
    assert {rules.tracks[name].gate for name in ("mnist", "cifar10")} == {0.01}


def test_what_is_lost_counts_in_the_direction_of_the_metric(project: Project) -> None:
    tracks = load_rules(project).tracks
    assert tracks["mnist"].lost(0.97, 0.98) == pytest.approx(0.01)
    assert tracks["tinygpt"].lost(4.0, 4.1) == pytest.approx(-0.1)


CHANGES: dict[str, Callable[[Path], Path]] = {
    "suite": lambda root: root / "suites" / module.FOLDER / "suite.yaml",
    "workload": lambda root: root / "suites" / module.FOLDER / "workload.py",
    "rules": lambda root: root / "suites" / module.FOLDER / "rules.yaml",
    "reference": lambda root: root / "submissions" / "reference" / "mnist" / "model.json",
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_changes_a_rank_changes_the_hash(project: Project, name: str) -> None:
    before = load_rules(project).sha256
    assert load_rules(project).sha256 == before
    file = CHANGES[name](project.root)
    file.write_bytes(file.read_bytes() + b"\n")
    assert load_rules(project).sha256 != before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("manifest_bytes: 65536", "manifest_bytes: 65537", "entry.manifest_bytes: found 65537, expected 65536"),
        ("{0,38}", "{0,39}", "entry.name: found "),
        ("text: 80", "text: 81", "entry.text: found 81, expected 80, as the program enforces"),
        ("outputs: 10", "outputs: 0", "tracks.0.outputs: 0: expected at least 1"),
        ("outputs: 10", "output: 10", "tracks.0.output: 10: unknown key"),
        ("    block: 128\n", "", "expected input and outputs, or vocabulary, block, cache_batch, and cache_hop"),
        ("    block: 128\n", "    block: 128\n    outputs: 10\n", "expected input and outputs, or vocabulary"),
        ("name: cifar10", "name: mnist", "tracks: mnist, mnist, tinygpt: expected each name once"),
        ("name: cifar10", "name: imagenet", "tracks.1.name: 'imagenet'"),
        ("reference: mnist", "reference: ../../etc", "tracks.0.reference: '../../etc'"),
        ("quality_case: mnist_quality", "quality_case: gone", "tracks.mnist.quality_case: 'gone': expected a case"),
        ("tracks:", "tracks: [", "while parsing"),
        ("activation_bytes: 1000000000", "activation_bytes: 1.5", "activation_bytes: 1.5"),
    ],
)
def test_a_fault_of_the_rules_is_one_line(project: Project, old: str, new: str, words: str) -> None:
    assert words in spoil(project, old, new)


def test_missing_rules_are_named(project: Project) -> None:
    (project.suites / module.FOLDER / module.FILE).unlink()
    with pytest.raises(SuiteError, match=r"rules\.yaml: No such file"):
        load_rules(project)


def test_the_repository_s_own_rules_fit_its_suite() -> None:
    rules = load_rules(find_project(ROOT))
    assert list(rules.tracks) == ["mnist", "cifar10", "tinygpt"]
    assert rules.loaded.suite.name == "competition"
    assert rules.reference_folder("cifar10") == REFERENCES / "cifar10_resnet8"
