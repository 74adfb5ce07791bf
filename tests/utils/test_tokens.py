"""Special tokens around any tokenizer."""

from __future__ import annotations

import pytest

from tinytorch.base.errors import SettingError
from tinytorch.tokenization import BPETokenizer, CharTokenizer
from tinytorch.utils.tokens import SpecialTokens

TEXT = "one<|endoftext|>two <|pad|><|pad|>"


@pytest.mark.parametrize("inner", [BPETokenizer.train(TEXT, 5), CharTokenizer(TEXT)])
def test_special_texts_become_single_tokens_and_come_back(inner) -> None:
    tokenizer = SpecialTokens(inner, ["<|endoftext|>", "<|pad|>"])
    tokens = tokenizer.encode(TEXT, allowed_special=True)
    assert [t for t in tokens if t >= inner.vocab_size] == [
        inner.vocab_size,
        inner.vocab_size + 1,
        inner.vocab_size + 1,
    ]
    assert tokenizer.decode(tokens) == TEXT
    assert tokenizer.vocab_size == inner.vocab_size + 2
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.encode(TEXT).max() < inner.vocab_size


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="expected different texts"):
        SpecialTokens(BPETokenizer(), ["a", "a"])
    with pytest.raises(SettingError, match="token 300"):
        SpecialTokens(BPETokenizer(), ["a"]).decode([300])
