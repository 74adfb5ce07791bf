"""Entries whose files were changed by chance: each one is accepted, or refused with a code. No crash, no hang, nothing
is written elsewhere. `nox -s compete-mutations` runs 10,000 of them."""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.compete.competition import make_entry, small_model
from tinytorch.autograd import no_grad
from tinytorch.caching import KVCache
from tinytorch.quantized import quantize_static
from tinytorch.saved import load_model, table
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT
from tito.compete.check import check_entry
from tito.compete.folder import SharedFolder, read_model
from tito.compete.manifest import Manifest, model_sha256
from tito.compete.problems import CODES, Problem, RefusedError
from tito.compete.rules import Rules

EXAMPLES = int(os.environ.get("TITO_MUTATIONS", "200"))
LONGEST_SECONDS = 10  # of one check, on a busy machine; it takes some milliseconds
FILES = ("model.json", "model.safetensors", "submission.json")
WORDS = [*Manifest.model_fields, "closed", "open", "mnist", "cifar10", "tinygpt", "int8", "type", "layers", "weight",
         "cache", "encodings", "shared", *table.KINDS]  # fmt: skip
words = st.sampled_from(WORDS) | st.text(max_size=50)
scalars = st.none() | st.booleans() | st.integers() | st.integers(-3, 40) | st.floats() | words
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(words, v, max_size=4))
Contents = dict[str, bytes]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory, rules: Rules) -> list[Contents]:
    """Good entries of all tracks and both divisions."""
    root = tmp_path_factory.mktemp("seeds")
    gpt, photos = small_model("tinygpt"), small_model("cifar10")
    assert isinstance(gpt, GPT)
    parent = model_sha256(*read_model(rules.reference_folder("cifar10")))
    closed = load_model(rules.reference_folder("cifar10"))
    int8 = quantize_static(closed, [np.ones((2, 3, 32, 32), np.float32)])
    folders = [
        make_entry(root / "0", small_model()),
        make_entry(root / "1", photos, track="cifar10", techniques=["pruned"]),
        make_entry(root / "2", gpt, track="tinygpt", techniques=["cache"], cache=KVCache(gpt, 1, 64)),
        make_entry(root / "3", closed, track="cifar10", division="closed", parent=parent),
        make_entry(root / "4", int8, track="cifar10", division="closed", parent=parent, techniques=["int8"]),
    ]
    for folder in folders:
        assert check_entry(folder, None, rules, {}) == []
    return [{name: (folder / name).read_bytes() for name in FILES} for folder in folders]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> SharedFolder:
    return SharedFolder(tmp_path_factory.mktemp("world") / "shared")


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every container in a document with every key or index in it."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    return [place for key in keys for place in [(node, key), *places(node[key])]]


def change_json(data: Any, text: bytes) -> bytes:
    document = json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        if not places(document):
            break
        holder, key = data.draw(st.sampled_from(places(document)))
        kind = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if kind == "replace":
            holder[key] = data.draw(values)
        elif kind == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            holder[data.draw(words)] = data.draw(values)
    return json.dumps(document).encode()


def change_bytes(data: Any, content: bytes) -> bytes:
    at, new = data.draw(st.integers(0, len(content))), data.draw(st.binary(max_size=9))
    return content[:at] + new + content[at + len(new) if new else len(content) :]


def change_header(data: Any, content: bytes) -> bytes:
    size = int.from_bytes(content[:8], "little")
    header = change_json(data, content[8 : 8 + size])
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def change_number(data: Any, content: bytes) -> bytes:
    """Put another number into a tensor: NaN, infinity, -128, and others."""
    first, last = 8 + int.from_bytes(content[:8], "little"), len(content) - 4
    if first > last:
        return content
    at = data.draw(st.integers(first, last))
    known = st.sampled_from([b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\x80\x80\x80\x80"])
    return content[:at] + data.draw(known | st.binary(min_size=4, max_size=4)) + content[at + 4 :]


CHANGES: dict[str, list[Callable[[Any, bytes], bytes]]] = {
    "model.json": [change_json, change_bytes],
    "model.safetensors": [change_header, change_number, change_bytes],
    "submission.json": [change_json, change_bytes],
}


def mutate(data: Any, seeds: list[Contents]) -> Contents:
    places = st.integers(0, len(seeds) - 1)
    files = dict(seeds[data.draw(places)])
    for _ in range(data.draw(st.integers(0, 2))):
        name = data.draw(st.sampled_from(FILES))
        if data.draw(st.integers(0, 5)) == 0:
            files[name] = seeds[data.draw(places)][name]
            continue
        with suppress(ValueError, IndexError):  # it was changed before, and is no JSON any more
            files[name] = data.draw(st.sampled_from(CHANGES[name]))(data, files[name])
    if data.draw(st.booleans()):
        with suppress(ValueError, TypeError):  # let the manifest fit the files again
            manifest = json.loads(files["submission.json"])
            manifest["model_sha256"] = model_sha256(files["model.json"], files["model.safetensors"])
            files["submission.json"] = json.dumps(manifest).encode()
    return files


def checked(shared: SharedFolder, files: Contents, rules: Rules) -> list[Problem]:
    folder = shared.path / "alice" / "small"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    start = time.monotonic()
    problems = check_entry(folder, "alice/small", rules, {})
    assert time.monotonic() - start < LONGEST_SECONDS
    for problem in problems:
        assert problem.code in CODES
        assert problem.file in (*FILES, ", ".join(FILES[:2]))
        assert str(problem).isprintable()
        assert len(str(problem)) < 1500
    return problems


def copied(shared: SharedFolder) -> list[Problem]:
    """Make a private copy and remove it; return why it was refused."""
    copy = shared.path.parent / "copy"
    try:
        shared.private_copy("alice/small", copy)
    except RefusedError as error:
        return list(error.problems)
    assert sorted(path.name for path in copy.iterdir()) == sorted(FILES)
    shutil.rmtree(copy)
    return []


def runs(folder: Path) -> None:
    """What was accepted is a model of its track: it answers with the track's outputs."""
    model, track = load_model(folder), json.loads((folder / "submission.json").read_text())["track"]
    with np.errstate(all="ignore"), no_grad():
        if track == "tinygpt":
            assert model(np.zeros((2, 128), np.int64)).shape == (2, 128, 4256)
        else:
            shape = (28, 28) if track == "mnist" else (3, 32, 32)
            assert model(Tensor(np.ones((2, *shape), np.float32))).shape == (2, 10)


def test_mutated_entries_are_accepted_or_refused_with_a_code(
    seeds: list[Contents], shared: SharedFolder, rules: Rules
) -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def attempt(data: Any) -> None:
        problems = checked(shared, mutate(data, seeds), rules)
        counts.update({problem.code for problem in problems} or {"accepted"})
        if problems:
            copied(shared)
        else:
            runs(shared.path / "alice" / "small")
            assert copied(shared) == []
        left = sorted(path.name for path in shared.path.parent.rglob("*"))
        assert left == sorted([*FILES, "alice", "shared", "small"])

    attempt()
    print(dict(counts))  # noqa: T201 (shown by `nox -s compete-mutations`)
    assert counts["accepted"] >= EXAMPLES // 30
    assert {"manifest", "hash", "model", "tensors"} <= counts.keys()
