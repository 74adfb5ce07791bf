"""Merging a long word: the same tokens as the loop over ranks, in a time that does not stall."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import tokenization
from tinytorch.base.merging import merged_by_rank
from tinytorch.tokenization import BPETokenizer

TEXT = "low lower lowest slow slower aaaa aaab abab banana bandana " * 3
TOKENIZER = BPETokenizer.train(TEXT, merges=40)


@given(st.text(alphabet="abnlowersdt", max_size=60))
def test_heap_and_loop_return_the_same_tokens(word: str) -> None:
    tokens = list(word.encode())
    assert merged_by_rank(tokens, TOKENIZER._ranks) == TOKENIZER._encode_word(word)


def test_word_of_many_letters_is_encoded_and_decoded() -> None:
    word = "".join(np.random.default_rng(0).choice(list("abnlowersdt"), 20_000))
    tokens = TOKENIZER.encode(word)
    assert TOKENIZER.decode(tokens) == word
    assert len(tokens) < len(word)


def test_cache_of_words_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(tokenization, "CACHED_WORDS", 5)
    tokenizer = BPETokenizer(TOKENIZER.merges)
    tokenizer.encode(" ".join(f"word{'x' * i}" for i in range(50)))
    assert len(tokenizer._known) <= 5
