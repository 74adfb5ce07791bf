"""Untrusted folders: load_model returns a model or raises an error of one line, at a bounded cost."""

from __future__ import annotations

import json
import os
import struct
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.saved.sample import JSON, TENSORS, gpt, mlp, shared
from tinytorch.base.files import save_arrays
from tinytorch.quantized import quantize_dynamic
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLinear
from tinytorch.saved import folder as saved_folder
from tinytorch.saved import load_model, save_model, saved_bytes
from tinytorch.spatial import Conv2d


def error_of(folder: Path) -> str:
    """Return the error message of loading the folder, which is one line."""
    with pytest.raises(tt.StateError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    assert len(message) < len(str(folder)) + 400
    return message


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_model(mlp(), tmp_path / "m")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads((folder / JSON).read_text())
    answer = change(document)
    (folder / JSON).write_text(json.dumps(document if answer is None else answer))


def layer(document: dict[str, Any], **changes: Any) -> None:
    document["model"]["layers"][1] |= changes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: [], "is []: expected an object"),
        (lambda d: d.pop("format") and None, "format is missing"),
        (lambda d: d.update(version=2), "version is 2: expected 1"),
        (lambda d: d.update(version=True), "version is True: expected 1"),
        (lambda d: d.update(code="x"), "unknown key 'code'"),
        (lambda d: d.update(model=[]), "model is []: expected an object with a type"),
        (lambda d: d.update(model={"type": "relu"}), "model.type: expected a layer, not a function"),
        (lambda d: layer(d, type="os.system"), "model.layers[1].type is 'os.system': expected a known type"),
        (lambda d: layer(d, type=["Linear"]), "model.layers[1].type is a list"),
        (lambda d: layer(d, dtype="float32"), "model.layers[1]: unknown key 'dtype'"),
        (lambda d: d["model"]["layers"][1].pop("bias") and None, "model.layers[1]: bias is missing"),
        (lambda d: layer(d, in_features=12.0), "in_features is 12.0: expected a whole number from 1 to 100000000"),
        (lambda d: layer(d, in_features=True), "in_features is True: expected a whole number"),
        (lambda d: layer(d, in_features=0), "in_features is 0"),
        (lambda d: layer(d, in_features=-12), "in_features is -12"),
        (lambda d: layer(d, in_features=10**40), "in_features is 1000"),
        (lambda d: layer(d, in_features="12"), "in_features is '12'"),
        (lambda d: layer(d, in_features={"a": 1}), "in_features is an object"),
        (lambda d: layer(d, in_features=13), "1.weight: shape [8, 12]: expected [8, 13] from its layer's settings"),
        (lambda d: layer(d, bias=False), "'1.bias': not a tensor of the model"),
        (lambda d: layer(d, bias=1), "bias is 1: expected true or false"),
        (lambda d: d["model"].update(layers={}), "model.layers is an object: expected a list"),
        (lambda d: d["model"]["layers"].pop(0) and None, "'0.bias': missing"),
        (lambda d: d["model"]["layers"][3].update(p=1.0), "model.layers[3].p is 1.0: expected a number p"),
        (lambda d: d.update(encodings={"9.weight": {}}), "encodings.'9.weight': not a tensor with its own values"),
        (lambda d: d.update(encodings={"1.weight": {"encoding": "gzip", "dtype": "float32", "shape": [8, 12]}}),
         "encodings.'1.weight'.encoding is 'gzip': expected one of bitmask, deflate"),
        (lambda d: d.update(encodings={"1.weight": {"encoding": "deflate", "dtype": "float32", "shape": [8, 13]}}),
         "shape [8, 13]: expected [8, 12]"),
        (lambda d: d.update(encodings={"1.weight": {"encoding": "deflate", "dtype": "object", "shape": [8, 12]}}),
         "dtype 'object': expected float32"),
        (lambda d: d.update(encodings={"1.weight": {"encoding": "deflate", "dtype": "float32", "shape": [8, 12]}}),
         "1.weight: dtype float32: expected uint8, because it is packed"),
        (lambda d: d.update(encodings={"1.weight": {"encoding": "bitmask", "dtype": "float32", "shape": [8, 12]}}),
         "'1.weight.mask': missing"),
        (lambda d: d.update(shared={"1.weight": "1.weight"}), "shared.'1.weight' is '1.weight': expected two names"),
        (lambda d: d.update(shared={"1.weight": "1.bias"}), "shared.1.weight: 1.bias has another shape"),
        (lambda d: d.update(shared={"1.weight": []}), "shared.'1.weight' is []"),
        (lambda d: d.update(cache={"batch_size": 1, "hop": 1, "dtype": "float32"}), "cache: expected only for a GPT"),
    ],
)  # fmt: skip
def test_each_error_in_the_description_is_located_in_one_line(saved: Path, change: Any, message: str) -> None:
    rewrite(saved, change)
    assert message in error_of(saved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{}", "not JSON in UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON in UTF-8"),
        (b'{"format": "tinytorch model", "version": 1', "not JSON"),
        (b'{"model": 1, "model": 2}', "key 'model' occurs twice"),
        (b'{"model": NaN}', "NaN: expected finite numbers"),
        (b'{"model": -Infinity}', "-Infinity: expected finite numbers"),
        (b"[" * 100_000, "not JSON in UTF-8"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not JSON in UTF-8"),
        (b'{"model": ' + b"9" * 5_000 + b"}", "not JSON in UTF-8"),
        (b'{"\\ud800\\n": 1}', "unknown key '\\ud800\\n'"),
        (b" " * 4_000_001, "expected at most 4000000"),
        (b'{"' + b"x" * 100_000 + b'": 1}', "unknown key 'xxxx"),
    ],
    ids=range(13),
)
def test_text_that_is_not_a_description_is_rejected(saved: Path, text: bytes, message: str) -> None:
    (saved / JSON).write_bytes(text)
    assert message in error_of(saved)


def one_layer(folder: Path, node: dict[str, Any], **more: Any) -> Path:
    (folder / JSON).write_text(json.dumps({"format": "tinytorch model", "version": 1, "model": node, **more}))
    (folder / TENSORS).write_bytes(struct.pack("<Q", 2) + b"{}")
    return folder


def nested(depth: int) -> dict[str, Any]:
    return {"type": "Sequential", "layers": [nested(depth - 1)] if depth > 1 else []}


BIG = 100_000_000
SINUSOIDS = {"type": "SinusoidalPositions", "max_length": 10**7, "embedding_dim": 2}
BOMBS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "linear": ({"type": "Linear", "in_features": BIG, "out_features": BIG, "bias": False}, {}),
    "sinusoids": ({"type": "SinusoidalPositions", "max_length": BIG, "embedding_dim": 2}, {}),
    "many sinusoids": (
        {"type": "Sequential", "layers": [SINUSOIDS] * 99},
        {},
    ),
    "packed": (
        {"type": "Linear", "in_features": BIG, "out_features": 1, "bias": False},
        {"encodings": {"weight": {"encoding": "deflate", "dtype": "float32", "shape": [1, BIG]}}},
    ),
    "convolution": (
        {"type": "Conv2d", "in_channels": BIG, "out_channels": BIG, "kernel_size": [1024, 1024], "stride": [1, 1],
         "padding": [0, 0], "dilation": [1, 1], "groups": 1, "bias": True}, {},
    ),
    "parts": ({"type": "Sequential", "layers": [{"type": "relu"}] * 20_000}, {}),
    "deep": (nested(33), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_huge_settings_allocate_nothing(saved: Path, name: str) -> None:
    node, more = BOMBS[name]
    one_layer(saved, node, **more)
    tracemalloc.start()
    error_of(saved)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize(("groups", "into", "out"), [(3, 4, 6), (3, 6, 4)])
def test_contradictory_settings_are_rejected(saved: Path, groups: int, into: int, out: int) -> None:
    node = json.loads((save_model(Conv2d(6, 6, 1), saved) / JSON).read_text())["model"]
    one_layer(saved, {**node, "groups": groups, "in_channels": into, "out_channels": out})
    assert f"channels {into} and {out}: expected multiples of groups 3" in error_of(saved)
    for pair in ([1, 1, 1], [1], 1, [1, 0], [1, 1025]):
        one_layer(saved, {**node, "kernel_size": pair})
        assert f"model.kernel_size is {pair}: expected two numbers, each a whole number from 1" in error_of(saved)
    one_layer(saved, {**SINUSOIDS, "max_length": 4, "embedding_dim": 5})
    assert "embedding_dim is 5: expected an even number" in error_of(saved)


def test_depth_within_the_limit_is_allowed(saved: Path) -> None:
    load_model(one_layer(saved, nested(32)))


def test_small_stream_cannot_unpack_to_more_than_the_limit(saved: Path) -> None:
    layers = [{"type": "Linear", "in_features": 10**6, "out_features": 8, "bias": False}] * 4
    zero = tt.Linear(10**6, 8, bias=False)
    zero.weight.data[...] = 0
    save_model(tt.Sequential(zero), saved, compress=True)
    assert saved_bytes(saved) < 2_000_000
    packed = saved_folder.stored_arrays((saved / TENSORS).read_bytes(), most=1)
    encoding = json.loads((saved / JSON).read_text())["encodings"]["0.weight"]
    arrays = {f"{i}{name[1:]}": saved_folder.as_array(entry) for name, entry in packed.items() for i in range(4)}
    save_arrays(saved / TENSORS, arrays)
    rewrite(saved, lambda d: d.update(model={"type": "Sequential", "layers": layers},
                                      encodings={f"{i}.weight": encoding for i in range(4)}))  # fmt: skip
    assert "tensors of 128000000 bytes in total" in error_of(saved)


def empty_tensors(count: int) -> bytes:
    return b",".join(b'"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(count))


HEADERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "longer than allowed": (lambda: b"{" + empty_tensors(80_000) + b"}", "bytes: expected at most 4000000"),
    "many tensors": (lambda: b"{" + empty_tensors(60_000) + b"}", "a header of 60000 entries or more"),
    "many dimensions": (
        lambda: b'{"1.bias":{"dtype":"F32","shape":[0' + b",1" * 1_900_000 + b'],"data_offsets":[0,0]}}',
        "dimensions or more",
    ),
    "long metadata": (
        lambda: json.dumps({"__metadata__": {"a": "x" * 5_000_000}}).encode(),
        "expected at most 4000000",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_oversized_header_is_rejected_before_it_is_parsed(
    saved: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, message = HEADERS[name]
    header = make()
    (saved / TENSORS).write_bytes(struct.pack("<Q", len(header)) + header)
    monkeypatch.setattr("safetensors.deserialize", lambda content: pytest.fail("was parsed"))
    assert message in error_of(saved)


@pytest.mark.parametrize("cut", [0, 5, 8, 100, -1])
def test_truncated_tensors_are_rejected(saved: Path, cut: int) -> None:
    content = (saved / TENSORS).read_bytes()
    (saved / TENSORS).write_bytes(content[:cut])
    assert "not a complete safetensors file" in error_of(saved)


def test_missing_extra_and_mismatched_tensors_are_rejected(saved: Path) -> None:
    state = {name: tensor.data for name, tensor in load_model(saved).state_dict().items()}
    for change, message in (
        ({"more": np.zeros(1)}, "'more': not a tensor of the model"),
        ({"1.bias": np.zeros(9, np.float32)}, "1.bias: shape [9]: expected [8]"),
        ({"1.bias": np.zeros(8, np.int64)}, "1.bias: dtype 'int64': expected float32 or"),
        ({"1.bias": np.zeros(8, np.uint16)}, "1.bias: dtype 'U16': expected float32 or"),
    ):
        save_arrays(saved / TENSORS, {**state, **change})
        assert f"{TENSORS}: {message}" in error_of(saved)
    del state["1.weight"]
    save_arrays(saved / TENSORS, state)
    assert "'1.weight': missing" in error_of(saved)


def test_int8_values_and_settings_that_no_quantizer_produces_are_rejected(tmp_path: Path) -> None:
    saved = save_model(QuantizedLinear(3, 2), tmp_path / "m")
    arrays: dict[str, np.ndarray] = {"weight": np.full((2, 3), -128, np.int8), "bias": np.zeros(2, np.float32)}
    arrays["weight_scale"] = np.ones(2, np.float32)
    save_arrays(saved / TENSORS, arrays)
    assert "weight: an element is -128: expected at least -127" in error_of(saved)
    rewrite(saved, lambda d: d["model"].update(output_dtype="int8"))
    assert "model: output_dtype without input_dtype" in error_of(saved)
    one_layer(saved, {**json.loads((saved / JSON).read_text())["model"], "output_dtype": None, "in_features": BIG})
    assert "products in a sum" in error_of(saved)
    lowest = QuantizedConv2d(1, 1, (1, 1))
    lowest.weight.data = np.full((1, 1, 1, 1), -128, np.int8)
    with pytest.raises(tt.StateError, match="-128"):
        save_model(lowest, saved)


def test_a_shared_tensor_is_stored_and_packed_under_its_first_name_only(tmp_path: Path) -> None:
    saved = save_model(shared(), tmp_path / "m")
    entry = {"encoding": "deflate", "dtype": "float32", "shape": [4, 4]}
    rewrite(saved, lambda d: d.update(encodings={"2.weight": entry}))
    assert "encodings.'2.weight': not a tensor with its own values" in error_of(saved)
    save_model(shared(), saved)
    rewrite(saved, lambda d: d["shared"].update({"2.bias": "3.bias"}))
    assert "shared.'2.bias' is '3.bias': expected two names" in error_of(saved)
    rewrite(saved, lambda d: d.pop("shared") and None)
    assert "'2.bias': missing" in error_of(saved)


def wider(node: dict[str, Any], block_size: int) -> None:
    node.update(block_size=block_size)
    node["transformer"]["wpe"] = {"type": "SinusoidalPositions", "max_length": block_size, "embedding_dim": 8}


def test_gpt_without_blocks_or_with_an_oversized_cache_is_rejected(tmp_path: Path) -> None:
    saved = save_model(gpt(), tmp_path / "m")

    def with_cache(document: dict[str, Any], **changes: Any) -> None:
        document["cache"] = {"batch_size": 1024, "hop": 6, "dtype": "float64", **changes}

    def too_large(document: dict[str, Any]) -> None:
        with_cache(document, batch_size=1)
        wider(document["model"], 10**6)

    for change, message in (
        ({"dtype": "int8"}, 'cache.dtype is \'int8\': expected "float32", "float16", or "float64"'),
        ({"hop": 7}, "cache.hop is 7: expected at most the block size, 6"),
        ({"batch_size": 0}, "cache.batch_size is 0: expected a whole number from 1 to 1024"),
        ({"length": 1}, "cache: unknown key 'length'"),
    ):
        rewrite(saved, partial(with_cache, **change))
        assert message in error_of(saved)
    rewrite(saved, too_large)
    assert "cache: keys and values of" in error_of(saved)
    rewrite(saved, lambda d: d["model"]["transformer"].update(h=[]))
    assert "model.transformer.h is []: expected a list of at least 1" in error_of(saved)


def test_quantized_embedding_with_mismatched_rows_is_rejected(tmp_path: Path) -> None:
    saved = save_model(quantize_dynamic(gpt()), tmp_path / "m")
    rewrite(saved, lambda d: d["model"]["transformer"]["wte"].update(num_embeddings=8))
    assert "model.transformer.wte: rows is 7 x 8: expected 8 x 8" in error_of(saved)


def test_only_regular_files_are_read(saved: Path, tmp_path: Path) -> None:
    for name in (JSON, TENSORS):
        (saved / name).rename(tmp_path / name)
        assert f"{saved / name}: no such file" in error_of(saved)
        (saved / name).symlink_to(tmp_path / name)
        assert f"{saved / name}: a link, folder, or device; expected a regular file" in error_of(saved)
        with pytest.raises(tt.StateError, match="a link"):
            saved_bytes(saved)
        (saved / name).unlink()
        (saved / name).mkdir()
        assert "a link, folder, or device" in error_of(saved)
        (saved / name).rmdir()
        os.mkfifo(saved / name)
        assert "a link, folder, or device" in error_of(saved)
        (saved / name).unlink()
        (tmp_path / name).rename(saved / name)
    load_model(saved)
    for path in (tmp_path / "none", saved / JSON):
        with pytest.raises(tt.StateError, match=str(path)):
            load_model(path)
        with pytest.raises(tt.StateError, match="no such file"):
            saved_bytes(path)


def test_nothing_in_the_folder_is_executed(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = saved / "ran"
    for name in ("model.py", "__init__.py", "tinytorch.py", "sitecustomize.py", "table.py"):
        (saved / name).write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.chdir(saved)
    before = set(sys.modules)
    load_model(saved)
    load_model(".")
    (saved / TENSORS).write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")  # a pickle
    error_of(saved)
    for name in ("posix.system", "__import__", "builtins.eval", "model.Model", "__class__"):
        one_layer(saved, {"type": name})
        error_of(saved)
    assert not marker.exists()
    assert set(sys.modules) - before <= {"safetensors", "ml_dtypes"} | {m for m in sys.modules if "." in m}


def test_files_of_two_models_are_never_mixed(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = saved_folder._read

    def read(path: Path, limit: int) -> bytes:
        content = real(path, limit)
        if path.name == JSON:
            save_model(tt.Linear(1, 1), saved)
        return content

    monkeypatch.setattr(saved_folder, "_read", read)
    assert "was changed while it was read" in error_of(saved)


def test_a_file_that_appears_while_a_model_is_written_is_not_lost(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*args: Any) -> None:
        save_arrays(*args)
        (saved / "receipt").write_text("new")

    monkeypatch.setattr(saved_folder, "save_arrays", save)
    with pytest.raises(tt.StateError, match="contains receipt"):
        save_model(tt.Linear(1, 1), saved)
    assert (saved / "receipt").read_text() == "new"
    assert isinstance(load_model(saved), tt.Sequential)
    assert [path.name for path in saved.parent.iterdir()] == ["m"]
