"""A GPT prepared for whole texts: its module's logits, with both backends, whatever its layers and shapes are."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinytorch as tt
from tinytorch.arrays import parallel
from tinytorch.inference import predictor, texts, watching
from tinytorch.inference.texts import TextPredictor
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT

pytestmark = pytest.mark.usefixtures("backend")
SIZES = {"vocab_size": 23, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 16}


def gpt(seed: int = 0, **sizes: int | bool) -> GPT:
    """Return a GPT whose weights, norms, and biases are all far from their first values."""
    tt.manual_seed(seed)
    model, rng = GPT(**SIZES | sizes), np.random.default_rng(seed)  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.data = parameter.data + 0.3 * rng.standard_normal(parameter.shape).astype(np.float32)
    return model.eval()


def words(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).integers(0, SIZES["vocab_size"], shape)


def assert_same(model: GPT, tokens: Array, predict: TextPredictor, tolerance: float = 1e-5) -> None:
    with tt.no_grad():
        expected = model(tokens).data
    limit = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(predict(tokens), expected, rtol=0, atol=limit)
    np.testing.assert_allclose(predict.next_logits(tokens), expected[:, -1], rtol=0, atol=limit)


@given(
    layers=st.integers(1, 3), heads=st.integers(1, 4), width=st.integers(1, 9), bias=st.booleans(),
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 8)), min_size=1, max_size=3),
)  # fmt: skip
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_logits_are_the_modules(layers: int, heads: int, width: int, bias: bool, shapes: list[tuple[int, int]]) -> None:
    model = gpt(n_layer=layers, n_head=heads, n_embd=heads * width, bias=bias)
    predict = predictor(model)
    for shape in [*shapes, *shapes]:
        # a norm of a few nearly equal values enlarges rounding, up to 1 / sqrt(eps) = 316 times in each layer
        assert_same(model, words(*shape), predict, tolerance=1e-3)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_models_in_another_dtype(dtype: str) -> None:
    model = gpt().to(dtype)
    assert_same(model, words(3, 8), predictor(model), 1e-5 if dtype == "float64" else 0.03)


@pytest.mark.parametrize("part", ["all", "c_attn", "c_fc", "wte", "wpe"])
def test_int8_models_stay_within_what_rounding_explains(part: str) -> None:
    integers: Any = tt.quantize_dynamic(gpt())
    model = integers if part == "all" else gpt()
    ours: Any = model.transformer
    theirs = integers.transformer
    if part in ("wte", "wpe"):
        setattr(ours, part, getattr(theirs, part))
    elif part == "c_attn":
        ours.h[0].attn.c_attn = theirs.h[0].attn.c_attn
    elif part == "c_fc":
        ours.h[1].mlp.c_fc = theirs.h[1].mlp.c_fc
    assert_same(model, words(4, 8), predictor(model), 0.03)


@pytest.mark.parametrize("part", ["c_fc", "c_proj"])
@pytest.mark.parametrize("count", [1, 3, 600])
def test_layers_of_another_type_are_called_for_many_rows(part: str, count: int) -> None:
    class Other(tt.Linear):
        """A layer that the predictor does not know, so NumPy runs what is between the products."""

    model: Any = gpt(bias=True)
    for block in model.transformer.h:
        layer = getattr(block.mlp, part)
        other = Other(layer.in_features, layer.out_features)
        other.load_state_dict(layer.state_dict())
        setattr(block.mlp, part, other)
    assert_same(model, words(count, 8), predictor(model))


CHOICES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5, "top_k": 5},
    {"top_p": 0.8},
    {"temperature": 0.0},
    {"stop": 4},
]


@pytest.mark.parametrize("prompt", [[3], list(range(12)), [[1, 2], [3, 4]]])
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("hop", [1, 3, 8])
def test_generates_the_modules_text(prompt: Any, choice: dict[str, Any], hop: int) -> None:
    model = gpt()
    expected = model.generate(prompt, 40, seed=2, hop=hop, **choice)
    np.testing.assert_array_equal(predictor(model).generate(prompt, 40, seed=2, hop=hop, **choice), expected)


@pytest.mark.parametrize("block_size", [1, 2, 7, 20])
@pytest.mark.parametrize("causal", [True, False])
def test_generates_with_blocks_of_any_size(block_size: int, causal: bool) -> None:
    model = gpt(block_size=block_size)
    for block in model.transformer.h:
        block.attn.causal = causal
    predict = predictor(model)
    np.testing.assert_array_equal(predict.generate([5], 50, seed=1), model.generate([5], 50, seed=1))
    assert len(predict._plans) <= 8


def test_a_model_of_other_blocks_generates_as_a_module() -> None:
    class Block(tt.transformers.TransformerBlock):
        pass

    model = gpt()
    model.transformer.h[0].__class__ = Block
    predict = predictor(model)
    assert not predict.is_prepared
    np.testing.assert_array_equal(predict.generate([5], 30, seed=1), model.generate([5], 30, seed=1))


WRONG: list[dict[str, Any]] = [
    {"tokens": []}, {"tokens": [23]}, {"temperature": -1}, {"max_new_tokens": -1}, {"hop": 0}, {"hop": 9},
    {"hop": True}, {"hop": 1.5}, {"seed": -1}, {"top_k": 0}, {"top_p": 2}, {"stop": 23},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_settings_are_refused_in_generates_words(wrong: dict[str, Any]) -> None:
    model = gpt()
    settings_: dict[str, Any] = {"tokens": [1], "max_new_tokens": 3} | wrong
    with pytest.raises(tt.TinyTorchError) as expected:
        model.generate(**settings_)
    with pytest.raises(type(expected.value)) as found:
        predictor(model).generate(**settings_)
    assert str(found.value) == str(expected.value)


def test_tokens_of_any_integer_dtype_and_layout() -> None:
    model = gpt()
    predict, tokens = predictor(model), words(4, 16)
    for given_ in (tokens[:, ::2], tokens[:, :8].astype(np.uint16), np.asfortranarray(tokens[:, :8]), tokens[::-1, 8:]):
        assert_same(model, given_, predict)


@pytest.mark.parametrize(
    "tokens", [np.zeros((2, 9), int), np.zeros((2, 0), int), np.zeros(3, int), [[23]], [[-1]], [[0.5]]]
)
def test_wrong_tokens_are_refused_in_the_modules_words(tokens: object) -> None:
    model = gpt()
    with pytest.raises(tt.TinyTorchError) as expected:
        model(np.asarray(tokens))
    for call in (predictor(model), predictor(model).next_logits):
        with pytest.raises(type(expected.value)) as found:
            call(np.asarray(tokens))
        assert str(found.value) == str(expected.value)


def test_an_empty_batch_has_no_logits() -> None:
    assert predictor(gpt())(words(0, 4)).shape == (0, 4, 23)
    assert predictor(gpt()).next_logits(words(0, 4)).shape == (0, 23)


def test_changed_weights_are_noticed() -> None:
    model = gpt()
    predict, tokens = predictor(model), words(2, 8)
    predict(tokens)
    model.load_state_dict(gpt(seed=5).state_dict())
    assert_same(model, tokens, predict)
    with tt.no_grad():
        model.transformer.h[0].mlp.c_fc.weight.add_(1.0)
    assert_same(model, tokens, predict)


def test_a_model_with_other_blocks_runs_as_a_module() -> None:
    class Doubled(tt.TransformerBlock):
        def forward(self, x: Tensor, mask: Array | None = None) -> Tensor:
            return 2 * super().forward(x, mask)

    model = gpt()
    model.transformer.h[1] = Doubled(16, 2, bias=False)
    predict = predictor(model.eval())
    assert not predict.is_prepared
    assert "as a module" in repr(predict)
    assert_same(model, words(2, 8), predict)


def test_a_model_that_reads_ahead_does_so() -> None:
    model = gpt()
    for block in model.transformer.h:
        block.attn.causal = False
    assert_same(model, words(2, 8), predictor(model))


def test_large_batches_are_split_and_every_text_has_the_same_logits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = gpt(), words(7, 8)
    whole = predictor(model)(tokens)
    monkeypatch.setattr(texts, "TOGETHER", 4 * 8 * 16 * 2)
    monkeypatch.setattr(parallel, "SMALLEST", 1)
    predict = predictor(model)
    np.testing.assert_allclose(predict(tokens), whole, rtol=0, atol=1e-5 * np.abs(whole).max())
    alone = np.concatenate([predict(tokens[i : i + 1]) for i in range(7)])
    np.testing.assert_allclose(alone, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_results_stay_and_are_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "SHAPES", 2)
    predict = predictor(gpt())
    first = {shape: predict(words(*shape)) for shape in [(1, 3), (2, 8), (3, 5), (1, 8)]}
    kept = {shape: logits.copy() for shape, logits in first.items()}
    for shape, logits in first.items():
        np.testing.assert_array_equal(predict(words(*shape)), logits)
        np.testing.assert_array_equal(logits, kept[shape])
    assert len(predict._plans) == 2


def test_threads_and_copies_compute_the_same() -> None:
    model, tokens = gpt(), words(3, 8)
    predict = predictor(model)
    expected, found = predict(tokens), []

    def work() -> None:
        for _ in range(20):
            found.append(np.array_equal(predict(tokens), expected))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [True] * 80
    copied = pickle.loads(pickle.dumps(predict))
    np.testing.assert_array_equal(copied(tokens), expected)
    assert {predict, copied} <= set(watching._all)  # whose locks a forked child replaces


def test_a_text_that_makes_numbers_infinite_is_no_different() -> None:
    model = gpt()
    model.transformer.wte.weight.data[3] = np.inf
    tokens = np.array([[1, 3, 2]])
    with np.errstate(all="ignore"), tt.no_grad():
        expected = np.isfinite(model(tokens).data)
        np.testing.assert_array_equal(np.isfinite(predictor(model)(tokens)), expected)
