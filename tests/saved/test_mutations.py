"""Saved models with randomly changed bytes: load_model returns a model or raises an error of one line."""

from __future__ import annotations

import copy
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tinytorch as tt
from tests.saved.sample import JSON, TENSORS, gpt, int8_resnet, mlp, resnet, shared
from tinytorch.layers import Module
from tinytorch.quantized import quantize_dynamic
from tinytorch.saved import load_model, save_model, table

SEEDS = [mlp, resnet, gpt, int8_resnet, lambda: quantize_dynamic(gpt()), shared]
WORDS = ["type", "layers", "weight", "bias", "in_features", "eps", "transformer", *table.KINDS]
words = st.sampled_from(WORDS) | st.text()
scalars = st.none() | st.booleans() | st.integers() | st.integers(-3, 40) | st.floats() | words
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(words, v, max_size=4))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, bytes, bytes]]:
    found = []
    for i, make in enumerate(SEEDS):
        folder = save_model(make(), tmp_path_factory.mktemp("seed") / str(i), compress=i % 2 == 1)
        found.append((folder, (folder / JSON).read_bytes(), (folder / TENSORS).read_bytes()))
    return found


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return every container in the document with each of its keys or indices."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    return [place for key in keys for place in [(node, key), *places(node[key])]]


def load_or_error(folder: Path) -> Module | None:
    try:
        model = load_model(folder)
    except tt.StateError as error:
        message = str(error)
        problems = [message.count("\n"), not message.startswith(str(folder)), len(message) > len(str(folder)) + 400]
        if any(problems):
            raise
        return None
    assert isinstance(model, Module)
    return model


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_description_loads_or_raises_one_line(folders: list[tuple[Path, bytes, bytes]], data: Any) -> None:
    folder, text, content = data.draw(st.sampled_from(folders), label="model")
    document = json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(places(document)))
        kind = data.draw(st.sampled_from(["replace", "remove", "copy", "add"]))
        if kind == "replace":
            holder[key] = data.draw(values)
        elif kind == "remove":
            del holder[key]
        elif kind == "copy":
            other, place = data.draw(st.sampled_from(places(json.loads(text))))
            holder[key] = other[place]
        elif isinstance(holder, dict):
            holder[data.draw(words)] = data.draw(values)
        if not places(document):
            break
    (folder / TENSORS).write_bytes(content)
    (folder / JSON).write_text(json.dumps(document))
    model = load_or_error(folder)
    if model is not None:
        again = load_model(save_model(model, folder.with_name("again")))
        assert {k: v.data.tobytes() for k, v in again.state_dict().items()} == {
            k: v.data.tobytes() for k, v in model.state_dict().items()
        }


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=st.integers(0, len(SEEDS) - 1), which=st.booleans(), at=st.integers(0), byte=st.binary(max_size=9))
@example(index=0, which=False, at=0, byte=b"\xff" * 8)
def test_changed_bytes_load_or_raise_one_line(
    folders: list[tuple[Path, bytes, bytes]], index: int, which: bool, at: int, byte: bytes
) -> None:
    folder, *contents = folders[index]
    at %= len(contents[which])
    changed = copy.copy(contents)
    changed[which] = contents[which][:at] + byte + contents[which][at + len(byte) if byte else len(contents[which]) :]
    for name, content in zip((JSON, TENSORS), changed, strict=True):
        (folder / name).write_bytes(content)
    load_or_error(folder)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(node=values, more=st.dictionaries(st.sampled_from(["encodings", "shared", "cache", "x"]), values, max_size=2))
def test_any_json_loads_or_raises_one_line(tmp_path: Path, node: Any, more: dict[str, Any]) -> None:
    document = {"format": "tinytorch model", "version": 1, "model": node, **more}
    (tmp_path / JSON).write_text(json.dumps(document))
    (tmp_path / TENSORS).write_bytes(struct.pack("<Q", 2) + b"{}")
    load_or_error(tmp_path)
