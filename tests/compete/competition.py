"""A project for the competition's tests: the repository's own rules and references, measured by a tiny suite."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from tito.compete.rules import FILE, FOLDER
from tito.project import Project

ROOT = Path(__file__).parents[2]
RULES = ROOT / "suites" / FOLDER / FILE
REFERENCES = ROOT / "submissions" / "reference"


def make_project(root: Path) -> Project:
    """Write a project whose suite 2025_competition is tests/bench/suites/2001_tiny with the cases that the rules name.

    The references are copies, so that a test can change them.
    """
    folder = root / "suites" / FOLDER
    shutil.copytree(ROOT / "tests" / "bench" / "suites" / "2001_tiny", folder)
    suite = yaml.safe_load((folder / "suite.yaml").read_text())
    (case,) = suite["cases"]
    names = [f"{track}_{what}" for track in ("mnist", "cifar10", "tinygpt") for what in ("quality", "times")]
    suite |= {"name": "competition", "year": 2025, "cases": [{**case, "name": name} for name in names]}
    suite["profile"]["case"] = names[0]
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    (folder / FILE).write_bytes(RULES.read_bytes())
    shutil.copytree(REFERENCES, root / "submissions" / "reference")
    return Project(root, root / "suites", root / "reports", root / "submissions")
