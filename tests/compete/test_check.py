"""tito.compete.check: each kind of bad entry is refused with its code, file, and field; nothing is run or followed."""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.compete.competition import make_entry, small_model, write_manifest
from tinytorch.activations import LogSoftmax, Softmax
from tinytorch.base.dtypes import bfloat16, rounded
from tinytorch.base.files import load_arrays, save_arrays
from tinytorch.caching import KVCache
from tinytorch.layers import Module
from tinytorch.quantized import quantize_dynamic, quantize_static
from tinytorch.saved import load_model, save_model
from tinytorch.transformers import GPT
from tito.compete.check import check_entry, inspect
from tito.compete.manifest import model_sha256
from tito.compete.problems import Problem
from tito.compete.rules import Rules

DESCRIPTION, TENSORS, MANIFEST = "model.json", "model.safetensors", "submission.json"


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    return make_entry(tmp_path / "alice" / "small", small_model())


def codes(path: Path, rules: Rules, id: str | None = "alice/small", others: Any = None) -> list[str]:
    return [problem.code for problem in check_entry(path, id, rules, others or {})]


def only(path: Path, rules: Rules, id: str | None = "alice/small", others: Any = None) -> Problem:
    """The one problem of an entry."""
    (problem,) = check_entry(path, id, rules, others or {})
    assert "\n" not in str(problem)
    return problem


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change model.json, and let the manifest fit again."""
    document = json.loads((folder / DESCRIPTION).read_text())
    change(document)
    (folder / DESCRIPTION).write_text(json.dumps(document))
    return write_manifest(folder)


def with_tensors(folder: Path, content: bytes) -> Path:
    (folder / TENSORS).write_bytes(content)
    return write_manifest(folder)


def safetensors(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# Good entries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("track", ["mnist", "cifar10", "tinygpt"])
def test_a_small_model_of_each_track_is_an_entry(tmp_path: Path, rules: Rules, track: str) -> None:
    folder = make_entry(tmp_path / "e", small_model(track), track=track)
    checked = inspect(folder, None, rules, {})
    assert (checked.problems, checked.shown) == ([], [])
    assert checked.manifest is not None
    assert checked.manifest.track == track
    assert checked.model is not None


@pytest.mark.parametrize("track", ["mnist", "cifar10", "tinygpt"])
def test_the_reference_itself_is_an_entry_of_the_closed_division(tmp_path: Path, rules: Rules, track: str) -> None:
    reference = rules.reference_folder(track)
    parent = model_sha256((reference / DESCRIPTION).read_bytes(), (reference / TENSORS).read_bytes())
    folder = make_entry(tmp_path / "e", load_model(reference), track=track, division="closed", parent=parent)
    assert check_entry(folder, None, rules, {}) == []


def cast(model: Module, dtype: Any) -> Module:
    for _, tensor in model.named_tensors():
        if tensor.data.dtype.kind == "f":
            tensor.data = rounded(tensor.data, dtype)
    return model


def zeros(model: Module) -> Module:
    for _, tensor in model.named_tensors():
        tensor.data[..., : tensor.shape[-1] // 2 + 1] = 0
    return model


TECHNIQUES: dict[str, Callable[[], Module]] = {
    "int8": lambda: quantize_dynamic(small_model()),
    "bf16": lambda: cast(small_model(), bfloat16()),
    "fp16": lambda: cast(small_model(), np.float16),
    "sparse": lambda: zeros(small_model()),
}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_technique_that_the_files_show_must_be_listed(tmp_path: Path, rules: Rules, name: str) -> None:
    model = TECHNIQUES[name]()
    assert check_entry(make_entry(tmp_path / "listed", model, techniques=[name]), None, rules, {}) == []
    problem = only(make_entry(tmp_path / "left out", model), rules, None)
    assert (problem.code, problem.file, problem.field) == ("technique", MANIFEST, "techniques")
    assert (problem.found, problem.expected) == (f"no {name}", f"{name}, as the model files show")


@pytest.mark.parametrize("name", ["int8", "bf16", "fp16", "sparse", "cache"])
def test_a_technique_that_is_claimed_must_be_in_the_files(tmp_path: Path, rules: Rules, name: str) -> None:
    problem = only(make_entry(tmp_path / "e", small_model(), techniques=[name, "pruned"]), rules, None)
    assert (problem.code, problem.found) == ("technique", name)


def test_what_files_cannot_show_is_declared(tmp_path: Path, rules: Rules) -> None:
    assert codes(make_entry(tmp_path / "e", small_model(), techniques=["pruned", "distilled"]), rules) == []


# Names, files, and sizes ------------------------------------------------------------------------------


def test_a_manifest_of_another_entry(entry: Path, rules: Rules) -> None:
    problem = only(entry, rules, "alice/other")
    assert (problem.code, problem.field, problem.found) == ("manifest", "id", "alice/small")


@pytest.mark.parametrize("id", ["..", "/etc/passwd", "alice/..", "Alice/small", "аlice/small", "con/small"])
def test_a_manifest_with_a_bad_name(entry: Path, rules: Rules, id: str) -> None:
    problem = only(write_manifest(entry, id), rules, None)
    assert (problem.code, problem.file, problem.field) == ("name", MANIFEST, "id")


def test_a_folder_that_is_missing_or_a_file(tmp_path: Path, rules: Rules) -> None:
    (tmp_path / "file").touch()
    assert codes(tmp_path / "gone", rules, None) == ["files"]
    assert codes(tmp_path / "gone" / "further", rules, None) == ["files"]
    assert codes(tmp_path / "file", rules, None) == ["not-plain"]


@pytest.mark.parametrize("name", [DESCRIPTION, TENSORS, MANIFEST])
def test_a_missing_file(entry: Path, rules: Rules, name: str) -> None:
    (entry / name).unlink()
    problem = only(entry, rules)
    assert (problem.code, problem.file, problem.found) == ("files", name, "nothing")


@pytest.mark.parametrize("name", ["train.py", ".hidden", "model.pkl", "Model.json", "a\x1b[2Jb"])
def test_a_file_too_many(entry: Path, rules: Rules, name: str) -> None:
    (entry / name).touch()
    problem = only(entry, rules)
    assert problem.code == "files"
    assert problem.found == ("a file that is hidden" if name.startswith(".") else "a file")
    assert str(problem).isprintable()


def test_a_nested_folder(entry: Path, rules: Rules) -> None:
    (entry / "more").mkdir()
    assert only(entry, rules).found == "a folder"


def test_a_thousand_files_too_many_are_a_few_lines(entry: Path, rules: Rules) -> None:
    for i in range(1000):
        (entry / f"{i}").touch()
    assert codes(entry, rules) == ["files"]


@pytest.mark.parametrize("name", [DESCRIPTION, TENSORS, MANIFEST])
def test_a_link_is_not_followed(entry: Path, rules: Rules, tmp_path: Path, name: str) -> None:
    (entry / name).rename(tmp_path / "elsewhere")
    (entry / name).symlink_to(tmp_path / "elsewhere")
    problem = only(entry, rules)
    assert (problem.code, problem.file, problem.found) == ("not-plain", name, "a symbolic link")


def test_a_linked_entry(entry: Path, rules: Rules) -> None:
    entry.rename(entry.with_name("real"))
    entry.symlink_to(entry.with_name("real"), target_is_directory=True)
    assert only(entry, rules).code == "not-plain"


def test_a_linked_submitter(entry: Path, rules: Rules, tmp_path: Path) -> None:
    entry.parent.rename(tmp_path / "bob")
    entry.parent.symlink_to(tmp_path / "bob", target_is_directory=True)
    problem = only(entry, rules)
    assert (problem.code, problem.file, problem.found) == ("not-plain", "alice", "a symbolic link")


def test_the_folder_that_one_is_in(entry: Path, rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(entry)
    assert codes(Path(), rules) == []
    assert codes(Path("../small"), rules) == []


def test_a_hard_link(entry: Path, rules: Rules, tmp_path: Path) -> None:
    os.link(entry / TENSORS, tmp_path / "second")
    problem = only(entry, rules)
    assert (problem.code, problem.found) == ("not-plain", "a hard link, one of 2")


def test_a_pipe_does_not_hang_the_check(entry: Path, rules: Rules) -> None:
    (entry / TENSORS).unlink()
    os.mkfifo(entry / TENSORS)
    assert only(entry, rules).found == "a pipe"


def test_a_socket(tmp_path: Path, rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_entry(tmp_path / "e", small_model())
    (folder / TENSORS).unlink()
    monkeypatch.chdir(folder)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(TENSORS)
        assert only(folder, rules, None).found == "a socket"


def test_a_device_is_not_opened(entry: Path, rules: Rules) -> None:
    (entry / TENSORS).unlink()
    try:
        os.mknod(entry / TENSORS, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero, without an end
    except PermissionError:
        pytest.skip("only root makes devices")
    assert only(entry, rules).found == "a device"


def test_a_folder_in_the_place_of_a_file(entry: Path, rules: Rules) -> None:
    (entry / MANIFEST).unlink()
    (entry / MANIFEST).mkdir()
    problem = only(entry, rules)
    assert (problem.code, problem.found) == ("not-plain", "a folder")


@pytest.mark.parametrize(("name", "limit"), [(MANIFEST, 65_536), (DESCRIPTION, 4_000_000), (TENSORS, 104_000_000)])
def test_a_huge_file_is_not_read(entry: Path, rules: Rules, name: str, limit: int) -> None:
    os.truncate(entry / name, 10**12)  # sparse: it takes no space
    tracemalloc.start()
    problem = only(entry, rules)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert (problem.code, problem.file, problem.found) == ("too-large", name, f"{10**12} bytes")
    assert problem.expected == f"at most {limit}"


def test_a_header_too_large(entry: Path, rules: Rules) -> None:
    text = b"{" + b" " * 4_000_000 + b"}"
    problem = only(with_tensors(entry, struct.pack("<Q", len(text)) + text), rules)
    assert (problem.code, problem.file) == ("too-large", TENSORS)


def test_a_small_file_that_unpacks_to_more_than_the_limit(tmp_path: Path, rules: Rules) -> None:
    folder = make_entry(tmp_path / "e", tt.Sequential(tt.Flatten(), tt.Linear(784, 10, bias=False)))
    document = json.loads((folder / DESCRIPTION).read_text())
    document["model"]["layers"][1]["out_features"] = 40_000
    document["encodings"] = {"1.weight": {"encoding": "deflate", "dtype": "float32", "shape": [40_000, 784]}}
    (folder / DESCRIPTION).write_text(json.dumps(document))
    save_arrays(folder / TENSORS, {"1.weight": np.frombuffer(zlib.compress(bytes(40_000 * 784 * 4)), np.uint8)})
    assert (folder / TENSORS).stat().st_size < 200_000
    write_manifest(folder)
    tracemalloc.start()
    problem = check_entry(folder, None, replace(rules, tracks={}), {})[-1]
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert (problem.code, problem.file, problem.found) == ("too-large", TENSORS, "tensors of 125440000 bytes in total")


# Manifests: each field is tested in test_manifest ------------------------------------------------------


def test_all_problems_of_folder_manifest_and_rules_come_at_once(entry: Path, rules: Rules) -> None:
    (entry / "x").touch()
    write_manifest(entry, division="closed", model_sha256="0" * 64, techniques=["int8"])
    found = codes(entry, rules, "alice/other")
    assert {"files", "manifest", "hash", "parent", "technique", "lineage"} == set(found)


def test_a_manifest_that_cannot_be_read_hides_no_problem_of_the_model(entry: Path, rules: Rules) -> None:
    (entry / MANIFEST).write_text("{}")
    (entry / TENSORS).write_bytes(b"")
    assert codes(entry, rules)[-2:] == ["manifest", "tensors"]


def test_a_hash_of_other_files(entry: Path, rules: Rules) -> None:
    problem = only(write_manifest(entry, model_sha256="0" * 64), rules)
    assert (problem.code, problem.file, problem.field, problem.found) == ("hash", MANIFEST, "model_sha256", "0" * 64)


def test_files_that_were_changed_after_the_manifest(entry: Path, rules: Rules) -> None:
    with (entry / DESCRIPTION).open("a") as file:
        file.write(" ")
    assert only(entry, rules).code == "hash"


@pytest.mark.parametrize("parent", [None, "0" * 64])
def test_a_closed_entry_names_the_reference(tmp_path: Path, rules: Rules, parent: str | None) -> None:
    folder = make_entry(tmp_path / "e", load_model(rules.reference_folder("mnist")), division="closed", parent=parent)
    problem = only(folder, rules)
    assert (problem.code, problem.file, problem.field, problem.found) == ("parent", MANIFEST, "parent", str(parent))


def test_an_untrained_model_is_not_of_the_closed_division(entry: Path, rules: Rules) -> None:
    reference = rules.reference_folder("mnist")
    parent = model_sha256((reference / DESCRIPTION).read_bytes(), (reference / TENSORS).read_bytes())
    assert set(codes(write_manifest(entry, division="closed", parent=parent), rules)) == {"lineage"}


def test_the_same_model_under_another_name(entry: Path, rules: Rules) -> None:
    sha256 = model_sha256((entry / DESCRIPTION).read_bytes(), (entry / TENSORS).read_bytes())
    problem = only(entry, rules, others={sha256: "bob/first"})
    assert (problem.code, problem.found) == ("same-model", "the model of bob/first")
    assert codes(entry, rules, others={sha256: "alice/small", "0" * 64: "bob/first"}) == []


# Models -----------------------------------------------------------------------------------------------


def nested(depth: int) -> str:
    return '{"type": "Sequential", "layers": [' * depth + "]}" * depth


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: d["model"]["layers"][1].update(type="os.system"), "model.layers[1].type"),
        (lambda d: d["model"]["layers"].append({"type": "Lambda", "code": "1"}), "model.layers[2].type"),
        (lambda d: d["model"]["layers"][1].update(in_features=0), "model.layers[1].in_features"),
        (lambda d: d.update(version=2), "version"),
        (lambda d: d.update(model=[]), "model"),
    ],
)
def test_a_description_that_is_no_model(entry: Path, rules: Rules, change: Any, field: str) -> None:
    problem = only(rewrite(entry, change), rules)
    assert (problem.code, problem.file, problem.field) == ("model", DESCRIPTION, field)


@pytest.mark.parametrize("text", ["", "[" * 100_000, nested(10_000), '{"a": NaN}', '{"a": 1, "a": 2}', "9" * 5000])
def test_text_that_is_no_description(entry: Path, rules: Rules, text: str) -> None:
    (entry / DESCRIPTION).write_text(text)
    problem = only(write_manifest(entry), rules)
    assert (problem.code, problem.file) == ("model", DESCRIPTION)


def test_layers_that_do_not_fit_one_another(tmp_path: Path, rules: Rules) -> None:
    model = tt.Sequential(tt.Flatten(), tt.Linear(784, 20), tt.Linear(30, 10))
    problem = only(make_entry(tmp_path / "e", model), rules, None)
    assert (problem.code, problem.field) == ("model", "model.layers[2]")


def test_a_language_model_that_is_not_causal(tmp_path: Path, rules: Rules) -> None:
    folder = make_entry(tmp_path / "e", small_model("tinygpt"), track="tinygpt")
    document = json.loads((folder / DESCRIPTION).read_text())
    document["model"]["transformer"]["h"][0]["attn"]["causal"] = False
    (folder / DESCRIPTION).write_text(json.dumps(document))
    problem = only(write_manifest(folder, track="tinygpt"), rules, None)
    assert problem.code == "model"
    assert "causal" in str(problem)


@pytest.mark.parametrize("layer", [Softmax(0), Softmax(-2), LogSoftmax(0)])
def test_an_operation_across_the_batch(tmp_path: Path, rules: Rules, layer: Any) -> None:
    model = tt.Sequential(tt.Flatten(), tt.Linear(784, 10), layer)
    problem = only(make_entry(tmp_path / "e", model), rules, None)
    assert (problem.code, problem.field) == ("answers", "model.layers[2].dim")


# Tensors ----------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self) -> Any:
        return (Path("evil").touch, ())


WEIGHT: dict[str, Any] = {"dtype": "F32", "shape": [10, 784], "data_offsets": [0, 31360]}
BIAS: dict[str, Any] = {"dtype": "F32", "shape": [10], "data_offsets": [31360, 31400]}
DATA = bytes(31400)
SPOILT: dict[str, bytes] = {
    "pickle": pickle.dumps(Evil()),
    "empty": b"",
    "cut": safetensors({"1.weight": WEIGHT, "1.bias": BIAS}, DATA[:-1]),
    "overlapping": safetensors({"1.weight": WEIGHT, "1.bias": BIAS | {"data_offsets": [0, 40]}}, DATA[:-40]),
    "a hole": safetensors({"1.weight": WEIGHT, "1.bias": BIAS | {"data_offsets": [31364, 31404]}}, DATA + bytes(4)),
    "more after it": safetensors({"1.weight": WEIGHT, "1.bias": BIAS}, DATA + b"x"),
    "shape is not bytes": safetensors({"1.weight": WEIGHT, "1.bias": BIAS | {"shape": [11]}}, DATA),
    "other shape": safetensors({"1.weight": WEIGHT | {"shape": [784, 10]}, "1.bias": BIAS}, DATA),
    "other dtype": safetensors({"1.weight": WEIGHT | {"dtype": "I32"}, "1.bias": BIAS}, DATA),
    "missing": safetensors({"1.weight": WEIGHT}, DATA[:31360]),
    "too many": safetensors({"1.weight": WEIGHT, "1.bias": BIAS, "x": BIAS}, DATA),
    "negative": safetensors({"1.weight": WEIGHT | {"shape": [-10, -784]}, "1.bias": BIAS}, DATA),
    "header beyond the end": struct.pack("<Q", 10_000) + b"{}",
    "header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
}


def test_the_tensors_that_the_spoilt_ones_are_made_of_are_good(entry: Path, rules: Rules) -> None:
    good = safetensors({"1.weight": WEIGHT, "1.bias": BIAS}, np.ones(7850, np.float32).tobytes())
    assert codes(with_tensors(entry, good), rules) == []


@pytest.mark.parametrize("name", SPOILT)
def test_tensors_that_are_damaged(
    entry: Path, rules: Rules, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    problem = only(with_tensors(entry, SPOILT[name]), rules)
    assert problem.code in (("too-large",) if name in ("pickle", "header of 2^63 bytes") else ("tensors",))
    assert problem.file == TENSORS
    assert not Path("evil").exists()


def int8_entry(folder: Path, name: str, value: Any) -> Path:
    model = quantize_static(small_model(), [np.ones((2, 28, 28), np.float32)])
    save_model(model, folder)
    arrays, _ = load_arrays(folder / TENSORS)
    array = arrays[name].copy()
    array.reshape(-1)[0] = value
    save_arrays(folder / TENSORS, {**arrays, name: array})
    return write_manifest(folder, techniques=["int8"])


def test_an_int8_entry(tmp_path: Path, rules: Rules) -> None:
    assert codes(int8_entry(tmp_path / "e", "1.weight", -127), rules) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("1.weight", -128)]
    + [(f"1.{scale}", value) for scale in ("weight_scale", "input_scale") for value in (0, -1, np.nan, np.inf)],
)
def test_integers_and_scales_out_of_their_range(tmp_path: Path, rules: Rules, name: str, value: float) -> None:
    problem = only(int8_entry(tmp_path / "e", name, value), rules)
    assert (problem.code, problem.file, problem.field) == ("tensors", TENSORS, name)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, bfloat16()])
def test_a_weight_that_is_not_finite(tmp_path: Path, rules: Rules, value: float, dtype: Any) -> None:
    model = cast(small_model(), dtype)
    model.state_dict()["1.weight"].data[3, 5] = value
    techniques = {"float16": ["fp16"], "bfloat16": ["bf16"]}.get(np.dtype(dtype).name, [])
    problem = only(make_entry(tmp_path / "e", model, techniques=techniques), rules, None)
    assert (problem.code, problem.file, problem.field) == ("not-finite", TENSORS, "1.weight[3, 5]")


# Tasks and caches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("track", "of"), list(permutations(["mnist", "cifar10", "tinygpt"], 2)))
def test_a_model_of_another_track(tmp_path: Path, rules: Rules, track: str, of: str) -> None:
    assert only(make_entry(tmp_path / "e", small_model(of), track=track), rules, None).code == "task"


@pytest.mark.parametrize(("inputs", "outputs"), [(784, 9), (784, 11), (783, 10)])
def test_other_inputs_or_outputs(tmp_path: Path, rules: Rules, inputs: int, outputs: int) -> None:
    model = tt.Sequential(tt.Flatten(), tt.Linear(inputs, outputs))
    assert only(make_entry(tmp_path / "e", model), rules, None).code == "task"


@pytest.mark.parametrize(("vocabulary", "block", "field"), [(4255, 128, "vocab_size"), (4256, 64, "block_size")])
def test_another_vocabulary_or_block(tmp_path: Path, rules: Rules, vocabulary: int, block: int, field: str) -> None:
    model = GPT(vocabulary, block, n_layer=1, n_head=1, n_embd=8)
    problem = only(make_entry(tmp_path / "e", model, track="tinygpt"), rules, None)
    assert (problem.code, problem.field) == ("task", f"model.{field}")


def test_the_cache_of_the_track(tmp_path: Path, rules: Rules) -> None:
    model = small_model("tinygpt")
    assert isinstance(model, GPT)
    made = make_entry(tmp_path / "e", model, track="tinygpt", techniques=["cache"], cache=KVCache(model, 1, 64))
    checked = inspect(made, None, rules, {})
    assert (checked.problems, checked.shown) == ([], ["cache"])


@pytest.mark.parametrize(("batch", "hop", "field"), [(2, 64, "batch_size"), (1, 1, "hop"), (1, 128, "hop")])
def test_another_cache(tmp_path: Path, rules: Rules, batch: int, hop: int, field: str) -> None:
    model = small_model("tinygpt")
    assert isinstance(model, GPT)
    cache = KVCache(model, batch, hop)
    folder = make_entry(tmp_path / "e", model, track="tinygpt", techniques=["cache"], cache=cache)
    problem = only(folder, rules, None)
    assert (problem.code, problem.file, problem.field) == ("cache", DESCRIPTION, f"cache.{field}")


def test_a_cache_of_images(entry: Path, rules: Rules) -> None:
    cache = {"batch_size": 1, "hop": 64, "dtype": "float32"}
    assert only(rewrite(entry, lambda d: d.update(cache=cache)), rules).code == "cache"


# Memory and time --------------------------------------------------------------------------------------


def test_gigabytes_from_a_small_file_are_foreseen(tmp_path: Path, rules: Rules) -> None:
    layers = [tt.Conv2d(3, 64, 1, padding=1024), tt.AdaptiveAvgPool2d(1), tt.Flatten(), tt.Linear(64, 10)]
    folder = make_entry(tmp_path / "e", tt.Sequential(*layers), track="cifar10")
    start = time.monotonic()
    problem = only(folder, rules, None)
    assert time.monotonic() - start < 5
    assert (problem.code, problem.field) == ("memory", "model.layers[0]")
