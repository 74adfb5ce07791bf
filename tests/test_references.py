"""The references in submissions/: undamaged weights for the model that their suite builds, and their tokenizer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tinytorch import datasets
from tinytorch.base.errors import DataError
from tinytorch.base.files import load_arrays
from tinytorch.saved.reading import load_model
from tinytorch.tokenization import BPETokenizer
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


TINYGPT = ROOT / "submissions" / "reference" / "tinygpt"


def test_the_stored_tokenizer_has_the_vocabulary_of_its_model() -> None:
    parameters = json.loads((TINYGPT / "reference.json").read_text())["parameters"]
    tokenizer, words = BPETokenizer.load(TINYGPT / "tokenizer.json"), "Now is the winter of our discontent"
    assert len(tokenizer.merges) == parameters["merges"]
    assert tokenizer.vocab_size == parameters["vocab_size"]
    assert tokenizer.decode(tokenizer.encode(words)) == words


def test_the_stored_tokenizer_is_learned_from_the_training_text() -> None:
    """Where the text is not there, the suite tinymlperf shows it: with other merges, the GPT misses its gate."""
    try:
        text = datasets.shakespeare(download=False)
    except DataError:
        pytest.skip("shakespeare is not in the cache: tito data fetch shakespeare")
    stored = BPETokenizer.load(TINYGPT / "tokenizer.json")
    assert BPETokenizer.train(text.train, len(stored.merges)).merges == stored.merges
