"""For the competition's tests: a project with the repository's own rules and references, and small entries."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

import tinytorch as tt
from tinytorch.layers import Module
from tinytorch.saved import save_model
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d
from tinytorch.transformers import GPT
from tito.compete.manifest import model_sha256
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


def small_model(track: str = "mnist", seed: int = 1) -> Module:
    """Return a small untrained model that fits a track."""
    tt.manual_seed(seed)
    if track == "tinygpt":
        return GPT(4256, 128, n_layer=1, n_head=1, n_embd=8).eval()
    if track == "cifar10":
        stem = tt.Sequential(Conv2d(3, 4, 3, 2, 1), BatchNorm2d(4), tt.ReLU(), BasicBlock(4, 8, 2))
        return tt.Sequential(stem, AdaptiveAvgPool2d(1), tt.Flatten(), tt.Linear(8, 10)).eval()
    return tt.Sequential(tt.Flatten(), tt.Linear(784, 10)).eval()


def make_entry(folder: Path, model: Module, id: str = "alice/small", track: str = "mnist", **changes: Any) -> Path:
    """Write an open entry into `folder`; `changes` replace fields of its manifest."""
    save_model(model, folder, cache=changes.pop("cache", None))
    return write_manifest(folder, id, track, **changes)


def write_manifest(folder: Path, id: str = "alice/small", track: str = "mnist", **changes: Any) -> Path:
    """Write the manifest that fits the two model files in a folder."""
    fields = {
        "schema_version": 1,
        "id": id,
        "track": track,
        "division": "open",
        "model_sha256": model_sha256(*((folder / name).read_bytes() for name in ("model.json", "model.safetensors"))),
        "parent": None,
        "title": "A small one",
        "authors": ["Alice"],
        "licence": "MIT",
        "techniques": [],
        "recipe": "",
    }
    (folder / "submission.json").write_text(json.dumps(fields | changes))
    return folder
