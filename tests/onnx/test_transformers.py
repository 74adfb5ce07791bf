"""tinytorch.onnx.transformers: attention, positions, and blocks alone, with lengths that are known and that are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinytorch as tt
from tests.models import lively, text
from tests.onnx.sample import error, loaded, operations
from tinytorch.attention import MultiHeadAttention
from tinytorch.embeddings import Embedding, LearnedPositions, SinusoidalPositions
from tinytorch.layers import Linear, Module, Sequential
from tinytorch.onnx.export import OPSETS
from tinytorch.onnx.session import session
from tinytorch.quantized import quantize_dynamic
from tinytorch.transformers import LayerNorm, TransformerBlock

X = np.random.default_rng(0).standard_normal((3, 5, 8), np.float32)
PARTS: dict[str, Callable[[], Module]] = {
    "attention": lambda: MultiHeadAttention(8, 2),
    "attention to all positions": lambda: MultiHeadAttention(8, 4, causal=False),
    "block": lambda: TransformerBlock(8, 2),
    "norm": lambda: LayerNorm(8),
    "norm without bias": lambda: LayerNorm(8, bias=False),
    "positions": lambda: LearnedPositions(6, 8),
    "waves": lambda: SinusoidalPositions(6, 8),
    "sequence": lambda: Sequential(SinusoidalPositions(5, 8), TransformerBlock(8, 2), LayerNorm(8), Linear(8, 3)),
    "linear first": lambda: Sequential(Linear(8, 8), TransformerBlock(8, 2)),
}


# A norm alone does not say that its input is a sequence
KNOWN = [(name, known) for name in PARTS for known in (False, True) if known or not name.startswith("norm")]


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
@pytest.mark.parametrize(("name", "known"), KNOWN)
def test_part_of_a_transformer(name: str, opset: int, known: bool) -> None:
    given = {"input_shape": X.shape[1:]} if known else {}
    assert error(PARTS[name](), X, opset=opset, **given) < 1e-5


@pytest.mark.parametrize("quantized", [False, True])
def test_gpt_with_a_known_length(quantized: bool) -> None:
    model = quantize_dynamic(lively()) if quantized else lively()
    assert error(model, text(2, 5), input_shape=(5,)) < 1e-4


def test_tokens_of_any_integer_dtype_are_read() -> None:
    assert error(Sequential(Embedding(11, 4), Linear(4, 2)), text(2, 5).astype(np.int32)) < 1e-6


def test_mask_is_computed_once_for_all_blocks() -> None:
    assert operations(lively()).count("LessOrEqual") == 1


def test_tied_table_is_stored_once() -> None:
    model = lively()
    sizes = [tuple(array.dims) for array in loaded(model).graph.initializer]
    assert sizes.count((model.vocab_size, 8)) == 1


def test_attention_over_images_is_refused() -> None:
    with pytest.raises(tt.SettingError, match=r"MultiHeadAttention gets an input of shape .*: expected 3 dimensions"):
        operations(Sequential(Linear(8, 8), MultiHeadAttention(8, 2)), input_shape=(8,))


def test_one_row_of_positions_is_not_added_to_a_longer_text() -> None:
    model = tt.GPT(11, 1, 1, 2, 8).eval()
    assert error(model, np.zeros((3, 1), np.int64)) < 1e-5
    with pytest.raises(tt.ShapeError, match=r"of shape \(1, 5\): expected \(batch, 1\)"):
        session(model, threads=1)(np.zeros((1, 5), np.int64))
