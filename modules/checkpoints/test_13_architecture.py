"""Checkpoint 13: can I build transformers? A small GPT learns a text by heart and recites it from its first word."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.autograd import no_grad
from tinytorch.base.random import manual_seed
from tinytorch.optimizers import AdamW
from tinytorch.tensor import Tensor
from tinytorch.tokenization import CharTokenizer
from tinytorch.transformers import GPT, LayerNorm, Sampler, next_token_loss

TEXT = "The wheel turns while the river runs past the mill."


@pytest.fixture(scope="module")
def recited() -> tuple[GPT, CharTokenizer]:
    """A GPT that was trained on windows of the text until it knows each next character."""
    tokenizer = CharTokenizer(TEXT)
    tokens = tokenizer.encode(TEXT)
    manual_seed(0)
    model = GPT(tokenizer.vocab_size, block_size=16, n_layer=2, n_head=2, n_embd=32)
    optimizer = AdamW(model.parameters(), lr=0.01)
    windows = np.arange(len(tokens) - 16)[:, None] + np.arange(17)  # (N, 17)
    batch = tokens[windows]
    for _ in range(200):
        optimizer.zero_grad()
        loss = next_token_loss(model(batch[:, :-1]), batch[:, 1:])
        loss.backward()
        optimizer.step()
        if loss.item() < 0.1:
            break
    return model.eval(), tokenizer


def test_a_gpt_recites_the_text_from_its_first_words(recited: tuple[GPT, CharTokenizer]) -> None:
    model, tokenizer = recited
    prompt = TEXT[:9]
    written = model.generate(tokenizer.encode(prompt), len(TEXT) - len(prompt), temperature=0)
    assert tokenizer.decode(written) == TEXT


def test_what_it_learnt_is_about_the_next_character_only(recited: tuple[GPT, CharTokenizer]) -> None:
    model, tokenizer = recited
    tokens = tokenizer.encode(TEXT)[None, :16]
    changed = tokens.copy()
    changed[0, 10:] = tokenizer.encode("v")[0]
    with no_grad():
        before, after = model(tokens).numpy(), model(changed).numpy()
    np.testing.assert_allclose(after[0, :10], before[0, :10], rtol=1e-4, atol=1e-4)


def test_an_untrained_gpt_knows_nothing() -> None:
    manual_seed(0)
    model = GPT(10, block_size=8, n_layer=1, n_head=2, n_embd=16)
    tokens = np.random.default_rng(0).integers(0, 10, (4, 8))
    with no_grad():
        loss = next_token_loss(model(tokens[:, :-1]), tokens[:, 1:]).item()
    assert abs(loss - np.log(10)) < 0.1


def test_sampling_follows_the_probabilities_it_may_use() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], np.float32)).repeat(4000, axis=0)
    drawn = np.bincount(Sampler(1.0, None, None, seed=1)(logits).reshape(-1), minlength=4) / 4000
    np.testing.assert_allclose(drawn, [0.5, 0.3, 0.15, 0.05], atol=0.04)
    assert set(Sampler(1.0, 2, None, seed=1)(logits).reshape(-1)) == {0, 1}
    assert set(Sampler(1.0, None, 0.9, seed=1)(logits).reshape(-1)) == {0, 1, 2}
    assert set(Sampler(0.0, None, None, seed=1)(logits).reshape(-1)) == {0}


def test_layer_norm_makes_each_position_comparable() -> None:
    x = Tensor(np.random.default_rng(2).normal(3, 5, (2, 4, 16)).astype(np.float32))
    y = LayerNorm(16)(x).numpy()
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=-1), 1, atol=1e-3)
