"""Module 11: tokenization. From text to token numbers and back.

`CharTokenizer` assigns one token to each character: a small vocabulary and long sequences. `BPETokenizer` adds tokens
for frequent byte sequences, so that a sequence of the same length covers several times as much text. It starts from
the 256 bytes, so any Unicode text is restored exactly. Both return int64 arrays.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError, StateError
from tinytorch.base.files import atomic_write
from tinytorch.base.merging import merged_by_rank
from tinytorch.base.pairs import Pair, PairCounts
from tinytorch.tensor import Array


class CharTokenizer:
    """A tokenizer with one token per character, numbered from 0 in the order of the code points.

    Args:
        characters: the alphabet. Duplicates count once.
        unknown: a character that replaces each character that is not in the alphabet; it is added to the alphabet.
            Without it, `encode` raises an error for such characters.

    >>> tokenizer = CharTokenizer("hello world")
    >>> tokenizer.decode(tokenizer.encode("hold"))
    'hold'
    """

    def __init__(self, characters: Iterable[str], unknown: str | None = None) -> None:
        if unknown is not None and len(unknown) != 1:
            raise SettingError(f"CharTokenizer: unknown {unknown!r}: expected one character")
        self.characters = "".join(sorted({*"".join(characters), *(unknown or "")}))
        self.unknown = unknown
        if not self.characters:
            raise SettingError("CharTokenizer: the alphabet is empty; expected at least one character")
        self._points = _code_points(self.characters)  # in ascending order, for searchsorted

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Array:
        """Return the token of each character, int64 of shape (len(text),): its index in `characters`.

        A character that is not in the alphabet gets the token of `unknown`. `_code_points` returns the numbers of a
        text's characters, and `_points` are those of the alphabet, in ascending order.

        Raises:
            SettingError: a character is not in the alphabet, and `unknown` is not set. `_unknown_at` makes the error.
        """
        points = _code_points(text)
        tokens = np.minimum(np.searchsorted(self._points, points), self.vocab_size - 1)
        missing = self._points[tokens] != points
        if missing.any():
            if self.unknown is None:
                raise self._unknown_at(text, int(missing.argmax()))
            tokens[missing] = self.characters.index(self.unknown)
        return tokens.astype(np.int64, copy=False)

    def _unknown_at(self, text: str, place: int) -> SettingError:
        """Return the error for a text whose first unknown character is at `place`."""
        return SettingError(f"CharTokenizer: character {text[place]!r} at position {place} is not one of the "
                            f"{self.vocab_size} known characters")  # fmt: skip

    def decode(self, tokens: Iterable[int] | Array) -> str:
        """Return the text of the tokens: the character at the index of each token in `characters`."""
        array = _checked(tokens, self.vocab_size, "CharTokenizer")
        return self._points[array].tobytes().decode("utf-32-le", "surrogatepass")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the tokenizer as JSON, and return the path."""
        return _save(path, {"tokenizer": "char", "characters": self.characters, "unknown": self.unknown})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CharTokenizer:
        """Load a tokenizer that `save` has written.

        Raises:
            StateError: the file is not a saved CharTokenizer.
        """
        content = _load(path, "char", {"characters": str, "unknown": (str, type(None))})
        try:
            return cls(content["characters"], content.get("unknown"))
        except SettingError as error:
            raise StateError(f"{path}: {error}") from None


# The text is split into words first, and no token crosses a word boundary: a word with the space before it, a number,
# punctuation, whitespace. This is GPT-2's pattern in the syntax of Python's `re`; every character is part of a match.
WORDS = re.compile(r"'(?:s|t|re|ve|m|ll|d)(?![^\W\d_])| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")

LONG_WORD = 500  # bytes; longer ones are merged with a heap: 200,000 letters take under a second instead of 43
CACHED_WORDS = 100_000


class BPETokenizer:
    """Byte-level byte-pair encoding. Tokens 0 to 255 are the bytes, and each later token joins two earlier ones.

    Args:
        merges: the pairs of tokens, in the order in which they were learned. Pair i becomes token 256 + i.

    Attributes:
        vocabulary: the bytes of each token.

    Source: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909; applied to bytes as in GPT-2 (Radford et al. 2019).

    >>> tokenizer = BPETokenizer.train("low lower lowest", merges=3)
    >>> tokenizer.decode(tokenizer.encode("slow é"))
    'slow é'
    """

    def __init__(self, merges: Iterable[Pair] = ()) -> None:
        self.merges = [(int(a), int(b)) for a, b in merges]
        self.vocabulary = [bytes([i]) for i in range(256)]
        for i, (a, b) in enumerate(self.merges):
            if not (0 <= a < 256 + i and 0 <= b < 256 + i):
                raise SettingError(f"BPETokenizer: merge {i} joins {a} and {b}: expected tokens below {256 + i}")
            self.vocabulary.append(self.vocabulary[a] + self.vocabulary[b])
        self._ranks = {pair: i for i, pair in enumerate(self.merges)}  # pair -> its index in `merges`
        self._known: dict[str, list[int]] = {}  # the tokens of each word encoded so far

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    @classmethod
    def train(cls, text: str, merges: int) -> BPETokenizer:
        """Learn `merges` merges from a text, each one of the most frequent pair of adjacent tokens.

        Training stops early if no pair occurs twice. Of equally frequent pairs, the one with the smaller numbers is
        merged, so that the same text always produces the same merges.

        The text is split into words (`WORDS`), and each word starts as the list of its bytes (`_to_bytes`). Pairs are
        counted within words only, over the different words, each weighted by its frequency. Merge i joins each
        occurrence of its pair to token 256 + i (`_merged`) before the next pair is chosen.
        """
        if merges < 0:
            raise SettingError(f"BPETokenizer: {merges} merges: expected at least 0")
        words = Counter(WORDS.findall(text))
        counts = PairCounts(((list(_to_bytes(word)), count) for word, count in words.items()), _merged)
        learned: list[Pair] = []
        while len(learned) < merges:
            pair = counts.most_frequent()
            if pair is None:
                break
            counts.merge(pair, 256 + len(learned))
            learned.append(pair)
        return cls(learned)

    def encode(self, text: str) -> Array:
        """Return the tokens of a text, int64 of shape (N,). Never fails: unknown byte sequences stay single bytes.

        The text is split into words (`WORDS`), and each word is encoded by itself (`_encode_word`). `_known` keeps the
        tokens of each word encoded so far, because most words of a text occur again.
        """
        tokens: list[int] = []
        known = self._known
        for word in WORDS.findall(text):
            found = known.get(word)
            if found is None:
                if len(known) >= CACHED_WORDS:
                    known.clear()
                found = known[word] = self._encode_word(word)
            tokens += found
        return np.array(tokens, np.int64)

    def decode(self, tokens: Iterable[int] | Array) -> str:
        """Return the text of the tokens. Bytes that are not valid UTF-8, as in a truncated character, become U+FFFD.

        The bytes of all tokens are joined before they are decoded, because a character may be split between tokens.
        Unpaired surrogates are restored ("surrogatepass"), as `_to_bytes` writes them, if all bytes are valid.
        """
        array = _checked(tokens, self.vocab_size, "BPETokenizer")
        content = b"".join([self.vocabulary[token] for token in array.tolist()])
        try:
            return content.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return content.decode("utf-8", "replace")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the tokenizer as JSON, and return the path."""
        return _save(path, {"tokenizer": "bpe", "merges": self.merges})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BPETokenizer:
        """Load a tokenizer that `save` has written.

        Raises:
            StateError: the file is not a saved BPETokenizer.
        """
        merges = _load(path, "bpe", {"merges": list})["merges"]
        if not all(isinstance(pair, list) and [type(i) for i in pair] == [int, int] for pair in merges):
            raise StateError(f"{path}: merges: expected pairs of integers")
        try:
            return cls((a, b) for a, b in merges)
        except SettingError as error:
            raise StateError(f"{path}: {error}") from None

    def _encode_word(self, word: str) -> list[int]:
        """Return the tokens of one word: apply the merges to its bytes (`_to_bytes`), the earliest learned first.

        As long as two adjacent tokens are a pair of `merges`, the pair that was learned first is replaced everywhere in
        the word (`_merged`): pair i by token 256 + i. A merge may create another pair, also one that was learned later.
        """
        tokens = list(_to_bytes(word))
        if len(tokens) > LONG_WORD:
            return merged_by_rank(tokens, self._ranks)
        while len(tokens) > 1:
            rank = min(self._ranks.get(pair, len(self.merges)) for pair in pairwise(tokens))
            if rank == len(self.merges):
                break
            tokens = _merged(tokens, self.merges[rank], 256 + rank)
        return tokens


def _merged(tokens: list[int], pair: Pair, token: int) -> list[int]:
    """Return a new list of the tokens with each occurrence of the pair replaced by `token`, from left to right.

    Occurrences do not overlap: with the pair (1, 1), the tokens 1 1 1 become `token` 1.
    """
    out: list[int] = []
    i, last = 0, len(tokens) - 1
    while i <= last:
        if i < last and tokens[i] == pair[0] and tokens[i + 1] == pair[1]:
            out.append(token)
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return out


def _to_bytes(text: str) -> bytes:
    """Return the text in UTF-8."""
    return text.encode("utf-8", "surrogatepass")  # a Python string may contain unpaired surrogates


def _code_points(text: str) -> Array:
    """Return the number of each character (`ord`), uint32 of shape (len(text),)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _checked(tokens: Iterable[int] | Array, vocab_size: int, name: str) -> Array:
    """Return the tokens as an array of integers (N,), after checking that all of them are in the vocabulary."""
    try:
        array = np.asarray(tokens if isinstance(tokens, np.ndarray) else list(tokens))
    except ValueError:  # rows of different lengths
        raise SettingError(f"{name}: tokens in rows of different lengths: expected a row of integers") from None
    if not array.size:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise SettingError(f"{name}: tokens of shape {array.shape} and dtype {array.dtype}: expected a row of integers")
    invalid = (array < 0) | (array >= vocab_size)
    if invalid.any():
        place = int(invalid.argmax())
        raise SettingError(f"{name}: token {array[place]} at position {place}: expected 0 to {vocab_size - 1}")
    return array


def _save(path: str | os.PathLike[str], content: dict[str, Any]) -> Path:
    return atomic_write(path, json.dumps(content).encode())


def _load(path: str | os.PathLike[str], kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise StateError(f"{path}: not JSON; expected a file written by a tokenizer's save()") from None
    if not isinstance(content, dict) or content.get("tokenizer") != kind:
        raise StateError(f"{path}: not a saved '{kind}' tokenizer")
    for name, kinds in fields.items():
        if not isinstance(content.get(name), kinds):
            raise StateError(f"{path}: {name} is missing or has the wrong type")
    return content
