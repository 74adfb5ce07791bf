"""Module 11: text to tokens and back, exactly."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch.base.errors import SettingError, StateError
from tinytorch.tokenization import WORDS, BPETokenizer, CharTokenizer, _merged

TEXT = "the cat sat on the mat; the rat sat on the cat. That's that, she'll say: 1234 times!\n" * 3

# Any text, surrogates included: a Python string may contain an unpaired surrogate
ANY_TEXT = st.text(st.characters(codec=None, categories=None))


def test_characters_are_tokens_in_code_point_order() -> None:
    tokenizer = CharTokenizer("cab")
    assert tokenizer.vocab_size == 3
    tokens = tokenizer.encode("abcab")
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [0, 1, 2, 0, 1]
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.encode("").dtype == np.int64


def test_tokens_become_characters() -> None:
    tokenizer = CharTokenizer("caé😀b")
    assert tokenizer.decode([2, 0, 1]) == "cab"
    assert tokenizer.decode(np.array([4, 3, 3])) == "😀éé"


@given(ANY_TEXT.filter(bool))
def test_characters_are_restored_exactly(text: str) -> None:
    tokenizer = CharTokenizer(text)
    assert tokenizer.vocab_size == len(set(text))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_unknown_character_is_named_with_its_position_or_replaced() -> None:
    with pytest.raises(SettingError, match=r"'é' at position 3"):
        CharTokenizer("caf").encode("café")
    for unknown, expected in (("?", "?caf??"), ("e", "ecafee"), ("~", "~caf~~")):
        tokenizer = CharTokenizer("caf", unknown=unknown)
        assert tokenizer.decode(tokenizer.encode("xcaféz")) == expected


def test_a_vocabulary_of_one_and_an_empty_text() -> None:
    tokenizer = CharTokenizer("aaa")
    assert tokenizer.vocab_size == 1
    assert tokenizer.encode("aa").tolist() == [0, 0]
    for each in (tokenizer, BPETokenizer(), BPETokenizer.train("", 10)):
        assert each.encode("").shape == (0,)
        assert each.encode("").dtype == np.int64
        assert each.decode([]) == ""
    with pytest.raises(SettingError, match="empty"):
        CharTokenizer("")


@pytest.mark.parametrize("kind", ["characters", "pairs"])
def test_tokens_outside_the_vocabulary_are_named(kind: str) -> None:
    tokenizer = CharTokenizer("ab") if kind == "characters" else BPETokenizer()
    with pytest.raises(SettingError, match=r"token 256 at position 1: expected 0 to"):
        tokenizer.decode([0, 256])
    with pytest.raises(SettingError, match="token -1 at position 0"):
        tokenizer.decode([-1])
    with pytest.raises(SettingError, match="a row of integers"):
        tokenizer.decode(np.array([0.5]))
    with pytest.raises(SettingError, match="different lengths: expected a row of integers"):
        tokenizer.decode([[1, 2], [3]])  # type: ignore[list-item]


def naive_bpe(text: str, merges: int) -> list[tuple[int, int]]:
    """Train with the textbook algorithm, which recounts all pairs of all words for each merge."""
    words = [(list(word.encode()), n) for word, n in Counter(WORDS.findall(text)).items()]
    learned: list[tuple[int, int]] = []
    for token in range(256, 256 + merges):
        counts: Counter[tuple[int, int]] = Counter()
        for word, n in words:
            for pair in pairwise(word):
                counts[pair] += n
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        learned.append(best)
        for word, _ in words:
            join(word, best, token)
    return learned


def join(tokens: list[int], pair: tuple[int, int], token: int) -> None:
    """Replace each pair with `token`, in place, from left to right."""
    i = 0
    while i < len(tokens) - 1:
        if (tokens[i], tokens[i + 1]) == pair:
            tokens[i : i + 2] = [token]
        i += 1


def test_a_pair_is_merged_from_left_to_right() -> None:
    assert _merged([1, 2, 3, 1, 2], (1, 2), 9) == [9, 3, 9]
    assert _merged([1, 1, 1], (1, 1), 9) == [9, 1]
    assert _merged([1, 1, 1, 1, 2], (1, 1), 9) == [9, 9, 2]
    assert _merged([2, 1], (1, 2), 9) == [2, 1]
    assert _merged([1, 3, 2], (1, 2), 9) == [1, 3, 2]
    assert _merged([], (1, 2), 9) == _merged([], (1, 1), 9) == []
    tokens = [1, 2]
    _merged(tokens, (1, 2), 9)
    assert tokens == [1, 2]  # the list itself stays as it was


@given(st.lists(st.text("abc", min_size=1, max_size=8), max_size=12), st.integers(0, 12))
def test_fast_training_learns_the_same_merges_as_recounting(words: list[str], merges: int) -> None:
    text = " ".join(words)
    assert BPETokenizer.train(text, merges).merges == naive_bpe(text, merges)


def test_a_word_is_merged_by_rank_not_from_left_to_right() -> None:
    a, b, c = (ord(letter) for letter in "abc")
    tokenizer = BPETokenizer([(b, c), (a, b), (256, 256), (a, 256)])
    encoded = {word: tokenizer._encode_word(word) for word in ("abc", "ab", "abab", "bcbc", "abcbc", "", "x", "aé")}
    assert encoded == {
        "abc": [259],  # b c first, although a b comes first in the word; then a bc
        "ab": [257],
        "abab": [257, 257],
        "bcbc": [258],
        "abcbc": [a, 258],
        "": [],
        "x": [ord("x")],
        "aé": [a, 0xC3, 0xA9],
    }


def test_words_are_encoded_one_by_one() -> None:
    a, b, space = (ord(letter) for letter in "ab ")
    tokens = BPETokenizer([(a, b), (space, 256), (b, space)]).encode("ab ab b ab")
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [256, 257, space, b, 257]  # b and a space are in two words, so they never merge
    assert BPETokenizer([(a, b)]).encode("").dtype == np.int64


@given(ANY_TEXT)
def test_tokens_of_bytes_are_decoded(text: str) -> None:
    assert BPETokenizer().decode(list(text.encode("utf-8", "surrogatepass"))) == text


@given(st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=8), st.integers(0, 9))
def test_encoding_applies_the_merges_in_the_learned_order(words: list[str], merges: int) -> None:
    tokenizer = BPETokenizer.train(" ".join(words), merges)
    for word in words:
        tokens = list(word.encode())
        for i, pair in enumerate(tokenizer.merges):
            join(tokens, pair, 256 + i)
        assert tokenizer.encode(word).tolist() == tokens


@given(ANY_TEXT)
def test_any_unicode_text_is_restored_exactly(text: str) -> None:
    for tokenizer in (BPETokenizer(), BPETokenizer.train(TEXT, 50), BPETokenizer.train(text, 20)):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_frequent_words_become_one_token() -> None:
    tokenizer = BPETokenizer.train(TEXT, 20)
    assert tokenizer.vocab_size == 276
    assert b" the" in tokenizer.vocabulary
    assert len(tokenizer.encode(" the")) == 1
    assert len(tokenizer.encode(TEXT)) < len(TEXT) / 2


def test_no_token_crosses_a_word_boundary() -> None:
    for token in BPETokenizer.train(TEXT, 200).vocabulary[256:]:
        text = token.decode()
        assert " " not in text[1:], text
        letters = text.removeprefix(" ").removeprefix("'")  # 's and 'll are separate words
        assert letters.isalpha() or not any(c.isalpha() for c in letters), text


def test_training_is_reproducible_and_stops_when_no_pair_occurs_twice() -> None:
    assert BPETokenizer.train(TEXT, 40).merges == BPETokenizer.train(TEXT, 40).merges
    assert BPETokenizer.train("abcdef", 10).merges == []
    assert BPETokenizer.train("aaaa", 10).merges == [(97, 97)]
    with pytest.raises(SettingError, match="-1 merges"):
        BPETokenizer.train("a", -1)


def test_incomplete_character_becomes_the_replacement_character() -> None:
    tokens = BPETokenizer().encode("é")
    assert BPETokenizer().decode(tokens[:1]) == "\ufffd"


def test_saved_tokenizers_load_unchanged(tmp_path: Path) -> None:
    char = CharTokenizer("aé\n", unknown="\ufffd")
    again = CharTokenizer.load(char.save(tmp_path / "char.json"))
    assert (again.characters, again.unknown) == (char.characters, char.unknown)
    bpe = BPETokenizer.train(TEXT, 30)
    np.testing.assert_array_equal(BPETokenizer.load(bpe.save(tmp_path / "bpe.json")).encode(TEXT), bpe.encode(TEXT))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "not a saved"),
        (json.dumps({"tokenizer": "char", "characters": "a"}), "not a saved"),
        (json.dumps({"tokenizer": "bpe"}), "merges is missing"),
        (json.dumps({"tokenizer": "bpe", "merges": [[1, "a"]]}), "pairs of integers"),
        (json.dumps({"tokenizer": "bpe", "merges": [[1, 256]]}), "merge 0 joins 1 and 256"),
    ],
)
def test_file_that_is_not_a_tokenizer_is_named(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(StateError, match=f"file.json.*{problem}"):
        BPETokenizer.load(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"characters": ""}, "the alphabet is empty"),
        ({"characters": "ab", "unknown": "??"}, r"unknown '\?\?': expected one character"),
        ({"characters": "ab", "unknown": ""}, "unknown '': expected one character"),
    ],
)
def test_invalid_alphabet_is_named_with_its_file(tmp_path: Path, content: dict[str, str], problem: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps({"tokenizer": "char"} | content))
    with pytest.raises(StateError, match=f"file.json: .*{problem}"):
        CharTokenizer.load(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"none\.json"):
        CharTokenizer.load(tmp_path / "none.json")
