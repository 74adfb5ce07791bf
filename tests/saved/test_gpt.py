"""Saved language models: a loaded one is causal by construction, and its sizes are consistent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.attention import MultiHeadAttention
from tinytorch.caching import Decoder, KVCache, generate
from tinytorch.embeddings import SinusoidalPositions
from tinytorch.quantized import prepare_qat, quantize_dynamic, quantize_static
from tinytorch.quantized.layers import QuantizedLinear
from tinytorch.saved import load_model, save_model
from tinytorch.transformers import MLP, TransformerBlock


def gpt() -> tt.GPT:
    return tt.GPT(30, 12, n_layer=2, n_head=2, n_embd=16).eval()


def with_block(**parts: Any) -> tt.GPT:
    """Return a GPT with other parts in its second block; the prefix `attn__` or `mlp__` selects a part of these."""
    model = gpt()
    for name, part in parts.items():
        holder, _, last = name.rpartition("__")
        block: Any = model.transformer.h[1]
        setattr(getattr(block, holder) if holder else block, last, part)
    return model


def wide(into: int, out: int) -> tt.Linear:
    return tt.Linear(into, out, bias=False)


MIXING: dict[str, tuple[Callable[[], Any], str]] = {
    "not causal": (lambda: with_block(attn=MultiHeadAttention(16, 2, causal=False)),
                    "model.transformer: h\\[1\\].attn.causal is False"),
    "softmax over positions": (lambda: with_block(attn__c_attn=tt.Sequential(tt.Softmax(1), wide(16, 48))),
                               "h\\[1\\].attn.c_attn.layers\\[0\\]: a Softmax may mix positions"),
    "in the projection": (lambda: with_block(attn__c_proj=tt.Sequential(wide(16, 16), tt.LogSoftmax(0))), "LogSoftmax"),
    "an attention as MLP": (lambda: with_block(mlp=MultiHeadAttention(16, 2)), "mlp: a MultiHeadAttention may mix"),
    "a block as MLP": (lambda: with_block(mlp=TransformerBlock(16, 2)), "mlp: a TransformerBlock may mix"),
    "deep": (lambda: with_block(mlp__c_fc=tt.Sequential(tt.Sequential(wide(16, 64), tt.Softmax(0)))), "a Softmax may"),
    "flattened": (lambda: with_block(mlp=tt.Sequential(tt.Flatten())), "a Flatten may mix"),
    "a convolution": (lambda: with_block(mlp=prepare_qat(tt.Conv2d(1, 1, 1))), "a Conv2d may mix"),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXING)
def test_language_model_that_sees_later_tokens_is_not_saved(tmp_path: Path, name: str) -> None:
    make, message = MIXING[name]
    with pytest.raises(tt.StateError, match=message):
        save_model(make(), tmp_path / "m")


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    save_model(gpt(), folder)
    document = json.loads((folder / "model.json").read_text())
    change(document["model"])
    (folder / "model.json").write_text(json.dumps(document))
    return folder


def block(node: dict[str, Any]) -> dict[str, Any]:
    return node["transformer"]["h"][0]


CONTRADICTIONS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "causal": (lambda d: block(d)["attn"].update(causal=False), "h[0].attn.causal is False"),
    "mixing": (lambda d: block(d)["mlp"].update(c_fc={"type": "Softmax", "dim": 1}), "a Softmax may mix positions"),
    "block": (lambda d: d.update(block_size=13), "block_size is 13: expected at most the number of rows of wpe, 12"),
    "vocabulary": (lambda d: d.update(vocab_size=40), "vocab_size is 40: expected the number of rows of wte, 30"),
    "smaller vocabulary": (lambda d: d.update(vocab_size=29),
                           "vocab_size is 29: expected the number of rows of wte, 30"),
    "heads": (lambda d: block(d)["attn"].update(n_head=3), "n_head is 3: expected a divisor of the width, 16"),
    "queries": (lambda d: block(d)["attn"]["c_attn"].update(out_features=40),
                "c_attn: expected a layer that triples the width, for query, key, and value"),
    "no layer": (lambda d: block(d)["attn"].update(c_attn={"type": "relu"}),
                 "c_attn: expected a layer that triples the width, for query, key, and value"),
    "projection": (lambda d: block(d)["attn"]["c_proj"].update(out_features=8), "c_proj: expected a layer from width"),
    "norm": (lambda d: block(d)["ln_2"].update(normalized_shape=8), "ln_2, attn: expected the width of ln_1, 16"),
    "mlp": (lambda d: block(d)["mlp"]["c_proj"].update(in_features=63), "mlp: expected a layer from width 16 to 16"),
    "table": (lambda d: d["transformer"]["wpe"].update(embedding_dim=8), "wpe, ln_f: expected the width of wte, 16"),
    "embedding": (lambda d: d["transformer"]["wte"].update(embedding_dim=8), "h[0]: expected the width of wte, 8"),
    "last norm": (lambda d: d["transformer"]["ln_f"].update(normalized_shape=8), "wpe, ln_f: expected the width"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictory_sizes_are_rejected(tmp_path: Path, name: str) -> None:
    change, message = CONTRADICTIONS[name]
    with pytest.raises(tt.StateError) as caught:
        load_model(changed(tmp_path / "m", change))
    assert message in str(caught.value)


@pytest.mark.parametrize("place", ["attn__c_attn", "attn__c_proj", "mlp__c_fc", "mlp__c_proj", "mlp"])
def test_integers_inside_a_block_stay_between_quantized_layers(tmp_path: Path, place: str) -> None:
    def chain(out: str | None) -> tt.Sequential:
        width = {"attn__c_attn": 48, "mlp__c_fc": 64}.get(place, 16)
        into = 64 if place == "mlp__c_proj" else 16
        first = QuantizedLinear(into, 3, input_dtype="int8", output_dtype="int8")
        return tt.Sequential(first, QuantizedLinear(3, width, input_dtype="int8", output_dtype=out))

    load_model(save_model(with_block(**{place: chain(None)}), tmp_path / "m"))(np.array([[1, 2]]))
    between = chain(None)
    between.layers.insert(1, tt.gelu)
    for wrong in (chain("int8"), between):
        with pytest.raises(tt.StateError, match="returns integers, expected floats"):
            save_model(with_block(**{place: wrong}), tmp_path / "m")
    model = quantize_dynamic(gpt())
    rows = QuantizedLinear(16, 30, bias=False, input_dtype="int8", output_dtype="int8")
    model.transformer.wte.rows = rows
    with pytest.raises(tt.StateError, match="wte: rows: returns integers"):
        save_model(model, tmp_path / "m")


def test_block_may_contain_layers_that_do_not_mix_positions(tmp_path: Path) -> None:
    low_rank = tt.Sequential(wide(16, 3), tt.Dropout(0.1), wide(3, 48))
    rows = tt.Sequential(tt.LayerNorm(16), MLP(16), tt.Softmax(), tt.relu)
    model = with_block(attn__c_attn=low_rank, mlp=rows).eval()
    tokens = np.array([[1, 2, 3, 4]])
    for made in (model, quantize_dynamic(model), prepare_qat(gpt())):
        if made is not model:
            made(tokens)
        loaded = load_model(save_model(made, tmp_path / "m"))
        assert isinstance(loaded, tt.GPT)
        later = loaded(np.array([[1, 2, 3, 29]])).data[:, :3]
        np.testing.assert_array_equal(later, loaded(tokens).data[:, :3])
    save_model(tt.Sequential(MultiHeadAttention(16, 2, causal=False)), tmp_path / "m")  # not a language model


def test_sinusoidal_positions_work_with_a_cache_and_from_a_file(tmp_path: Path) -> None:
    model = gpt()
    model.transformer.wpe = SinusoidalPositions(12, 16)  # type: ignore[assignment]
    loaded = load_model(save_model(model, tmp_path / "m"))
    assert isinstance(loaded, tt.GPT)
    expected = model.generate([1, 2], 20, temperature=0, hop=4)
    np.testing.assert_array_equal(generate(loaded, [1, 2], 20, temperature=0, hop=4), expected)
    assert [name for name, _ in model.named_tensors() if "wpe" in name] == []


def test_decoder_rejects_a_model_that_looks_ahead() -> None:
    model = gpt()
    model.transformer.h[1].attn.causal = False
    with pytest.raises(tt.SettingError, match=r"Decoder: h\[1\] is not causal"):
        Decoder(model, KVCache(model))
    with pytest.raises(tt.SettingError, match="not causal"):
        generate(model, [1], 3)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, 1e-40])
@pytest.mark.parametrize("name", ["0.weight_scale", "0.input_scale", "0.output_scale"])
def test_invalid_scale_is_rejected(tmp_path: Path, name: str, scale: float) -> None:
    model = quantize_static(tt.Sequential(wide(4, 3), tt.ReLU(), wide(3, 2)), [np.ones((2, 4), np.float32)])
    tensor = model.state_dict()[name]
    tensor.data = np.where(np.arange(tensor.numel()).reshape(tensor.shape) == 0, scale, tensor.data).astype(np.float32)
    with pytest.raises(tt.StateError, match=f"{name}: an element is .*: expected at (least|most)"):
        save_model(model, tmp_path / "m")
    positions = quantize_dynamic(gpt())
    positions.state_dict()["transformer.wpe.weight_scale"].data[3] = scale
    with pytest.raises(tt.StateError, match=r"wpe\.weight_scale: an element"):
        save_model(positions, tmp_path / "m")
