"""Module 19: the key-value cache."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytorch as tt
from tinytorch.base.errors import NonFiniteError, SettingError, ShapeError
from tinytorch.caching import Decoder, KVCache, generate
from tinytorch.checks import check_cache
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT, window_start

V, BLOCK = 11, 8


def lively(
    seed: int = 0, n_layer: int = 2, n_head: int = 2, width: int = 8, dropout: float = 0.0, bias: bool = False
) -> GPT:
    """Build a model whose logits depend on the whole context, with norms and biases that differ from 1 and 0."""
    tt.manual_seed(seed)
    model = GPT(V, BLOCK, n_layer, n_head, width, dropout, bias)
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        drawn = np.float32(0.4) * rng.standard_normal(parameter.shape, np.float32)
        parameter.data = drawn + np.float32("ln_" in name and "weight" in name)
    model.transformer.wpe.weight.data *= 3
    model.transformer.ln_f.weight.data[::2] *= -1  # otherwise the tied weights would repeat the last token forever
    return model.eval()


def text(rows: int = 1, length: int = BLOCK, seed: int = 3) -> Array:
    return np.random.default_rng(seed).integers(0, V, (rows, length))


def test_cache_is_allocated_for_one_block() -> None:
    cache = KVCache(lively(), 3, 2)
    assert cache.pairs.shape == (2, 2, 3, 2, BLOCK, 4)
    assert cache.keys.shape == cache.values.shape == (2, 3, 2, BLOCK, 4)
    for i, half in enumerate((cache.keys, cache.values)):
        assert half.dtype == np.float32
        assert np.shares_memory(half, cache.pairs)
        half[...] = i + 1
    assert (cache.pairs[:, 0] == 1).all()
    assert (cache.pairs[:, 1] == 2).all()
    assert cache.nbytes == 2 * 2 * 3 * BLOCK * 8 * 4
    assert cache.tokens.shape == (3, BLOCK)
    assert cache.tokens.dtype == np.int64
    assert (cache.start, cache.length, cache.seen) == (0, 0, 0)
    cache.start, cache.length = 4, 3
    assert cache.seen == 7
    cache.reset()
    assert (cache.start, cache.length) == (0, 0)


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, 5), (3, 4), (3, 6)])
def test_new_queries_attend_to_the_keys_up_to_their_own(begin: int, end: int) -> None:
    model, rng = lively(), np.random.default_rng(0)
    decoder = Decoder(model, KVCache(model, 3))
    old = rng.standard_normal((2, 3, 2, begin, 4)).astype(np.float32)
    decoder.cache.pairs[1] = np.nan  # what is not written must not be read
    decoder.cache.pairs[1, :, :, :, :begin] = old
    qkv = rng.standard_normal((3, end - begin, 24)).astype(np.float32)
    y = decoder._attend(1, qkv, begin, end)
    q, k, v = (part.reshape(3, -1, 2, 4).transpose(0, 2, 1, 3) for part in np.split(qkv, 3, axis=2))
    keys, values = np.concatenate([old[0], k], axis=2), np.concatenate([old[1], v], axis=2)
    np.testing.assert_array_equal(decoder.cache.keys[1, :, :, :end], keys)
    np.testing.assert_array_equal(decoder.cache.values[1, :, :, :end], values)
    for t in range(end - begin):
        seen = begin + t + 1
        scores = np.exp((q[:, :, t, None] * keys[:, :, :seen]).sum(-1) / 2)  # (B, H, seen)
        weights = scores / scores.sum(-1, keepdims=True)
        expected = (weights[..., None] * values[:, :, :seen]).sum(axis=2).reshape(3, 8)
        np.testing.assert_allclose(y[:, t], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pieces", [[BLOCK], [1] * BLOCK, [3, 1, 4], [2, 5]])
def test_hidden_states_match_full_recomputation(pieces: list[int]) -> None:
    model = lively(bias=True)
    decoder, tokens, done = Decoder(model, KVCache(model, 2)), text(2), 0
    whole = model.transformer(tokens).data
    for piece in pieces:
        states = decoder._read(tokens[:, done : done + piece])
        assert isinstance(states, Tensor)
        np.testing.assert_allclose(states.data, whole[:, done : done + piece], rtol=1e-4, atol=1e-4)
        done += piece
        assert decoder.cache.length == done
    np.testing.assert_array_equal(decoder.cache.tokens[:, :done], tokens[:, :done])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_logits_match_full_recomputation(data: st.DataObject) -> None:
    heads, rows = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    model = lively(
        data.draw(st.integers(0, 5)), data.draw(st.integers(1, 3)), heads, 4 * heads, bias=data.draw(st.booleans())
    )
    length = data.draw(st.integers(1, BLOCK))
    tokens = text(rows, length)
    whole = model(tokens).data
    decoder, done = Decoder(model, KVCache(model, rows)), 0
    while done < length:
        piece = tokens[:, done : done + data.draw(st.integers(1, length - done))]
        if data.draw(st.booleans()):
            np.testing.assert_allclose(
                decoder.logits(piece), whole[:, done : done + piece.shape[1]], rtol=1e-4, atol=1e-4
            )
        else:
            np.testing.assert_allclose(
                decoder.next_logits(piece), whole[:, done + piece.shape[1] - 1], rtol=1e-4, atol=1e-4
            )
        done += piece.shape[1]
        assert decoder.cache.length == done


@settings(max_examples=40, deadline=None)
@given(st.integers(1, BLOCK), st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_text_longer_than_the_block_slides_by_the_hop(hop: int, pieces: list[int]) -> None:
    model = lively()
    tokens, decoder, done = text(2, sum(pieces)), Decoder(model, KVCache(model, 2, hop)), 0
    for piece in pieces:
        logits = decoder.next_logits(tokens[:, done : done + piece])
        done += piece
        start = window_start(done, BLOCK, hop)
        assert (decoder.cache.start, decoder.cache.seen) == (start, done)
        assert 1 <= decoder.cache.length <= BLOCK
        np.testing.assert_array_equal(decoder.cache.tokens[:, : done - start], tokens[:, start:done])
        np.testing.assert_allclose(logits, model.next_logits(tokens[:, start:done]), rtol=1e-4, atol=1e-4)


def test_window_start_follows_the_rule() -> None:
    assert [window_start(length, 8, 1) for length in (1, 8, 9, 10, 20)] == [0, 0, 1, 2, 12]
    assert [window_start(length, 8, 3) for length in (7, 8, 9, 11, 12, 20)] == [0, 0, 3, 3, 6, 12]
    assert [window_start(length, 8, 8) for length in (8, 9, 16, 17)] == [0, 8, 8, 16]


@pytest.mark.beyond
def test_one_step_equals_the_models_own_modules() -> None:
    model = lively(bias=True)
    fast, plain = Decoder(model, KVCache(model, 3)), Decoder(model, KVCache(model, 3))
    assert fast.step is not None
    plain.step = None
    for i in range(BLOCK):
        token = text(3)[:, i : i + 1]
        np.testing.assert_allclose(fast.next_logits(token), plain.next_logits(token), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fast.cache.pairs, plain.cache.pairs, rtol=1e-4, atol=1e-4)


def test_without_a_seed_the_default_generator_is_used() -> None:
    model = lively()
    tt.manual_seed(4)
    expected = [model.generate([1], 12, hop=3) for _ in range(2)]
    tt.manual_seed(4)
    for one in expected:
        np.testing.assert_array_equal(generate(model, [1], 12, hop=3), one)


def test_a_stop_token_ends_a_text() -> None:
    model = lively()
    whole = generate(model, [1], 30, seed=3, hop=4)
    stop = int(whole[12])
    assert len(generate(model, [1], 30, seed=3, hop=4, stop=stop)) == 2 + whole[1:].tolist().index(stop)


def test_generation_disables_dropout_and_restores_each_modules_mode() -> None:
    model = lively(dropout=0.5)
    model.train()
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    np.testing.assert_array_equal(generate(model, [1], 20, 0.0, hop=4), model.generate([1], 20, 0.0, hop=4))
    assert [module.training for module in model.modules()] == modes
    assert generate(model, [1], 0).tolist() == [1]


@pytest.mark.parametrize("long", [False, True])
def test_nonfinite_logits_raise_an_error(long: bool) -> None:
    model = lively()
    model.transformer.ln_f.weight.data[0] = np.nan
    with pytest.raises(NonFiniteError, match="logits"):
        generate(model, [1, 2] if long else [1], 2)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"tokens": []}, "prompt is empty"),
        ({"tokens": [[], []]}, "prompt is empty"),
        ({"tokens": [1, 11]}, r"token 11 at \(1\)"),
        ({"hop": 0}, "hop 0: expected an integer, from 1 to the block size, 8"),
        ({"hop": True}, "hop True: expected an integer, from 1"),
        ({"hop": 9}, "hop 9"),
        ({"hop": 2.5}, "hop 2.5"),
        ({"temperature": -1.0}, "temperature -1"),
        ({"stop": 11}, "stop 11"),
        ({"max_new_tokens": -1}, "max_new_tokens -1"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        generate(lively(), **({"tokens": [1], "max_new_tokens": 2} | arguments))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"prompt of shape \(1, 1, 2\)"):
        generate(lively(), np.ones((1, 1, 2), np.int64), 2)
    with pytest.raises(SettingError, match="hop 9: expected an integer from 1 to 8"):
        lively().generate([1], 2, hop=9)


@pytest.mark.beyond
def test_memory_is_allocated_once() -> None:
    model = lively()
    cache = KVCache(model, 2, 3)
    places = [array.__array_interface__["data"][0] for array in (cache.keys, cache.values, cache.tokens)]
    decoder = Decoder(model, cache)
    buffers = {name: id(value) for name, value in vars(decoder.step).items()}
    decoder.generate(text(2, 20), 100, seed=1)
    assert places == [array.__array_interface__["data"][0] for array in (cache.keys, cache.values, cache.tokens)]
    assert buffers == {name: id(value) for name, value in vars(decoder.step).items()}


def test_reset_forgets_the_previous_text() -> None:
    model = lively()
    decoder = Decoder(model, KVCache(model, 1, 4))
    first = decoder.next_logits(text(1, 5))
    decoder.next_logits(text(1, 30, seed=8))
    decoder.cache.reset()
    assert (decoder.cache.seen, decoder.cache.length) == (0, 0)
    np.testing.assert_array_equal(decoder.next_logits(text(1, 5)), first)
    texts = [decoder.generate([token], 20, seed=2) for token in (1, 2, 1)]
    np.testing.assert_array_equal(texts[0], texts[2])
    np.testing.assert_array_equal(texts[1], model.generate([2], 20, seed=2, hop=4))
    decoder.cache.reset()
    decoder.cache.pairs[...] = np.nan  # everything is written before it is read
    np.testing.assert_array_equal(decoder.generate([1], 20, seed=2), texts[0])


def test_result_is_not_overwritten_by_the_next_call() -> None:
    model = lively()
    decoder = Decoder(model, KVCache(model))
    logits = decoder.next_logits([[1]])
    kept = logits.copy()
    decoder.next_logits([[2]])
    np.testing.assert_array_equal(logits, kept)


def test_row_in_a_batch_matches_the_row_alone() -> None:
    model = lively()
    one, three = Decoder(model, KVCache(model, 1, 4)), Decoder(model, KVCache(model, 3, 4))
    tokens = text(3, 12)
    for i in range(12):
        together = three.next_logits(tokens[:, i : i + 1])
        alone = one.next_logits(tokens[1:2, i : i + 1])
        np.testing.assert_allclose(together[1], alone[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 3), (3, 3), (3,), (2, 0), (2, 1, 1)])
def test_tokens_that_do_not_fit_the_cache_are_rejected(shape: tuple[int, ...]) -> None:
    model = lively()
    decoder = Decoder(model, KVCache(model, 2))
    for read in (decoder.next_logits, decoder.logits):
        with pytest.raises(ShapeError, match=r"expected \(B, T\), B = 2 as in the cache"):
            read(np.ones(shape, np.int64))
    with pytest.raises(ShapeError, match="B = 2"):
        decoder.generate([[1], [2], [3]], 2)
    with pytest.raises(ShapeError, match="9 tokens: expected at most 8"):
        decoder.logits(text(2, 9))
    with pytest.raises(SettingError, match="token 11"):
        decoder.next_logits([[1], [11]])
    assert decoder.cache.length == 0


def test_cache_of_another_model_is_rejected() -> None:
    with pytest.raises(ShapeError, match=r"\(3, 2, 8, 4\): expected the model's, \(2, 2, 8, 4\)"):
        Decoder(lively(), KVCache(lively(n_layer=3)))


def test_boolean_batch_size_is_rejected() -> None:
    with pytest.raises(SettingError, match="batch_size True: expected an integer, at least 1"):
        KVCache(lively(), batch_size=True)


def test_settings_are_json() -> None:
    model = lively()
    cache = KVCache(model, 3, 4, np.float16)
    assert cache.settings() == {"batch_size": 3, "hop": 4, "dtype": "float16"}
    again = KVCache(model, **json.loads(json.dumps(cache.settings())))
    assert again.settings() == cache.settings()
    assert again.keys.shape == cache.keys.shape
    for wrong in ({"batch_size": 0}, {"batch_size": 1.5}, {"dtype": "int8"}, {"dtype": "nonsense"}):
        with pytest.raises(SettingError, match="KVCache"):
            KVCache(model, **wrong)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 5e-3), ("float32", 1e-5), ("float64", 1e-5)])
def test_cache_may_have_another_dtype(dtype: str, tolerance: float) -> None:
    model = lively()
    cache = KVCache(model, 1, 4, dtype)
    assert cache.keys.dtype == cache.values.dtype == dtype
    assert cache.nbytes == 2 * 2 * BLOCK * 8 * np.dtype(dtype).itemsize
    report = check_cache(model, lambda: Decoder(model, KVCache(model, 1, 4, dtype)).next_logits, text(), tolerance)
    assert report.problems == ()
    assert dtype != "float16" or report.difference > 1e-6


def test_float64_model_keeps_its_precision() -> None:
    model = lively()
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float64)
    decoder, tokens = Decoder(model, KVCache(model)), text()
    assert decoder.cache.dtype == np.float64
    for i in range(BLOCK):
        logits = decoder.next_logits(tokens[:, i : i + 1])
        np.testing.assert_allclose(logits, model(tokens[:, : i + 1]).data[:, -1], rtol=1e-11, atol=1e-11)


@pytest.mark.beyond
def test_decoder_keeps_the_weights_from_its_creation() -> None:
    model = lively()
    decoder = Decoder(model, KVCache(model))
    before = decoder.next_logits([[1]])
    for parameter in model.parameters():
        parameter.data = parameter.data * 2
    decoder.cache.reset()
    np.testing.assert_array_equal(decoder.next_logits([[1]]), before)
