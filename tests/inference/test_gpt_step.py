"""The prepared step for one token of a GPT returns the logits of the model's modules, for layers of any type."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytorch as tt
from tests.models import BLOCK, lively, text
from tinytorch.caching import Decoder, KVCache, generate
from tinytorch.layers import Linear, Module
from tinytorch.native import backend as backend_in_use
from tinytorch.quantized import quantize_dynamic
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT


class Wrapped(Module):
    """A layer of another type, like a quantized one: it maps Tensors (B, T, width) to Tensors (B, T, width)."""

    def __init__(self, layer: Linear) -> None:
        self.layer, self.calls = layer, 0

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 3
        self.calls += 1
        return self.layer(x)


def replaced(model: GPT, names: tuple[str, ...]) -> GPT:
    """Return a copy in which these layers of each block are wrapped."""
    made = copy.deepcopy(model)
    for block in made.transformer.h:
        for part in (block.attn, block.mlp):
            for name in names:
                if name in vars(part) and (name != "c_proj" or part is block.mlp):
                    setattr(part, name, Wrapped(getattr(part, name)))
    return made


@pytest.mark.parametrize("names", [("c_attn",), ("c_fc",), ("c_proj",), ("c_attn", "c_fc", "c_proj")])
def test_layers_of_another_type_are_called(names: tuple[str, ...]) -> None:
    model = lively(bias=True)
    other = replaced(model, names)
    decoder = Decoder(other, KVCache(other, 2, 4))
    wrapped = [module for module in other.modules() if isinstance(module, Wrapped)]
    before = [module.calls for module in wrapped]
    tokens = text(2)
    for i in range(BLOCK):
        expected = model(tokens[:, : i + 1]).data[:, -1]
        np.testing.assert_allclose(decoder.next_logits(tokens[:, i : i + 1]), expected, rtol=1e-4, atol=1e-4)
    assert [module.calls - n for module, n in zip(wrapped, before, strict=True)] == [BLOCK] * len(names) * 2
    np.testing.assert_array_equal(generate(other, [1], 30, seed=1, hop=4), model.generate([1], 30, seed=1, hop=4))


def test_embedding_and_mlp_of_another_type_are_called() -> None:
    model = lively(bias=True)
    expected = model.generate([1], 30, seed=1, hop=4)
    other = copy.deepcopy(model)
    for block in other.transformer.h:
        block.mlp = Wrapped(block.mlp)  # type: ignore[assignment, arg-type]
    np.testing.assert_array_equal(generate(other, [1], 30, seed=1, hop=4), expected)

    class Table(type(model.transformer.wte)):  # type: ignore[misc]
        pass

    other.transformer.wte.__class__ = Table
    np.testing.assert_array_equal(generate(other, [1], 30, seed=1, hop=4), expected)


def test_block_with_an_unknown_norm_runs_through_its_modules() -> None:
    class Doubled(tt.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2 + x

    model = lively()
    model.transformer.h[1].ln_2.__class__ = Doubled
    assert Decoder(model, KVCache(model)).step is None
    np.testing.assert_array_equal(generate(model, [1], 30, seed=1, hop=4), model.generate([1], 30, seed=1, hop=4))


def test_huge_scores_do_not_overflow() -> None:
    model = lively()
    for block in model.transformer.h:
        block.attn.c_attn.weight.data *= 1e3
    decoder, tokens = Decoder(model, KVCache(model)), text()
    for i in range(BLOCK):
        logits = decoder.next_logits(tokens[:, i : i + 1])
        assert np.isfinite(logits).all()


@settings(max_examples=40, deadline=None, derandomize=True)  # a random draw near a boundary may round to either side
@given(st.data())
def test_generated_text_matches_gpt_generate(data: st.DataObject) -> None:
    model = lively(data.draw(st.integers(0, 2)))
    rows = data.draw(st.integers(0, 3))
    length = data.draw(st.integers(1, 2 * BLOCK))
    prompt = text(rows, length) if rows else text(1, length)[0]
    chosen: dict[str, Any] = {
        "temperature": data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])),
        "top_k": data.draw(st.sampled_from([None, 1, 3])),
        "top_p": data.draw(st.sampled_from([None, 0.5, 0.9])),
        "seed": data.draw(st.integers(0, 9)),
        "stop": data.draw(st.sampled_from([None, 0, 5])),
        "hop": data.draw(st.integers(1, BLOCK)),
    }
    expected = model.generate(prompt, 25, **chosen)
    np.testing.assert_array_equal(generate(model, prompt, 25, **chosen), expected)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("bias", [True, False])
def test_int8_step_returns_the_logits_of_the_modules(bias: bool) -> None:
    model = quantize_dynamic(lively(bias=bias))
    assert isinstance(model, GPT)
    for rows in (1, 2):
        decoder, tokens = Decoder(model, KVCache(model, rows)), text(rows)
        assert decoder.step is not None
        by_program = rows == 1 and backend_in_use.native(np.int8)
        assert (decoder.step.native is not None) == by_program
        for i in range(BLOCK):
            expected = model.next_logits(tokens[:, : i + 1])
            logits = decoder.next_logits(tokens[:, i : i + 1])
            np.testing.assert_allclose(logits, expected, atol=0.02 * np.abs(expected).max())


def test_int8_step_needs_finite_weights() -> None:
    model: Any = quantize_dynamic(lively(bias=True))
    model.transformer.h[0].ln_1.weight.data[0] = np.nan
    assert Decoder(model, KVCache(model)).step.native is None  # type: ignore[union-attr]
