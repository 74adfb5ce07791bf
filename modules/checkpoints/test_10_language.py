"""Checkpoint 10: can I process text? Text becomes tokens and comes back; frequent pieces become one token."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.base.errors import SettingError
from tinytorch.tokenization import BPETokenizer, CharTokenizer

TEXT = "the cat sat on the mat. the hat that the cat sat on is that hat. " * 4
STRANGE = "naïve café, 日本語, 🙂!\n\ttabs and  spaces"


def test_characters_become_numbers_and_come_back() -> None:
    tokenizer = CharTokenizer(TEXT)
    tokens = tokenizer.encode(TEXT)
    assert tokenizer.vocab_size == len(set(TEXT))
    assert tokens.min() >= 0
    assert tokens.max() < tokenizer.vocab_size
    assert tokenizer.decode(tokens) == TEXT


def test_an_unknown_character_is_an_error_or_a_placeholder() -> None:
    with pytest.raises(SettingError, match="'z' at position 3"):
        CharTokenizer("abc").encode("abcz")
    assert CharTokenizer("abc", unknown="?").decode(CharTokenizer("abc", unknown="?").encode("abcz")) == "abc?"


def test_the_most_frequent_pair_is_merged_first() -> None:
    tokenizer = BPETokenizer.train(TEXT, merges=30)
    pairs = [tokenizer.vocabulary[a] + tokenizer.vocabulary[b] for a, b in tokenizer.merges]
    assert pairs[0] == b"at", "it occurs 32 times"
    assert b" the" in tokenizer.vocabulary
    assert all(len(token) > 1 for token in tokenizer.vocabulary[256:])


def test_learned_tokens_shorten_the_text_and_lose_nothing() -> None:
    plain, learned = BPETokenizer.train(TEXT, merges=0), BPETokenizer.train(TEXT, merges=30)
    for text in (TEXT, STRANGE, ""):
        for tokenizer in (plain, learned):
            assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(plain.encode(TEXT)) == len(TEXT)
    assert len(learned.encode(TEXT)) < len(TEXT) / 2.5
    np.testing.assert_array_equal(BPETokenizer(learned.merges).encode(TEXT), learned.encode(TEXT))


def test_merges_are_applied_in_the_order_in_which_they_were_learned() -> None:
    a, b, c = b"abc"
    tokenizer = BPETokenizer([(b, c), (a, b), (a, 256)])
    assert tokenizer.encode("abc").tolist() == [258]
    assert tokenizer.encode("ab").tolist() == [257]
    assert tokenizer.encode("aab").tolist() == [a, 257]
