"""The reference weights in submissions/: undamaged, and for the model that their suite builds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tinytorch.base.files import load_arrays
from tinytorch.saved.reading import load_model
from tito.bench.suites import find_suite
from tito.bench.workload import load_workload

ROOT = Path(__file__).parents[1]
REFERENCES = sorted((ROOT / "submissions" / "reference").iterdir())


@pytest.mark.parametrize("folder", REFERENCES, ids=lambda folder: folder.name)
def test_reference_weights_match_their_recorded_hash_and_their_suites_model(folder: Path) -> None:
    origin = json.loads((folder / "reference.json").read_text())
    weights = folder / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == origin["sha256"]
    workload = load_workload(find_suite(ROOT / "suites", origin["suite"]).workload)
    model = workload.build(origin["parameters"], origin["seed"])
    model.load_state_dict(load_arrays(weights)[0])
    loaded = load_model(folder)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name].data, tensor.data)
