"""Module 11: from text to token numbers and back.

Two ways. `CharTokenizer`: a token a character, few tokens, long sequences. `BPETokenizer`: frequent runs of
bytes become tokens of their own, so that a sequence of the same length sees several times as much text; it
starts from the 256 bytes, so any Unicode text comes back exactly. Both give int64 arrays.
"""

from __future__ import annotations

import heapq
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
from tinytorch.tensor import Array


class CharTokenizer:
    """A token for each character, in the order of their code points.

    Args:
        characters: the alphabet; what stands twice counts once.
        unknown: the character that stands for all that are not in the alphabet; without it they are an error.

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
        self._points = _code_points(self.characters)  # rising

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Array:
        """The token of each character, (len(text),).

        Raises:
            SettingError: a character is not in the alphabet, and there is no `unknown`.
        """
        points = _code_points(text)
        tokens = np.minimum(np.searchsorted(self._points, points), self.vocab_size - 1)
        strange = self._points[tokens] != points
        if strange.any():
            if self.unknown is None:
                place = int(strange.argmax())
                raise SettingError(f"CharTokenizer: character {text[place]!r} at position {place} is not among the "
                                   f"{self.vocab_size} known ones")  # fmt: skip
            tokens[strange] = self.characters.index(self.unknown)
        return tokens.astype(np.int64, copy=False)

    def decode(self, tokens: Iterable[int] | Array) -> str:
        """The text of the tokens."""
        array = _checked(tokens, self.vocab_size, "CharTokenizer")
        return self._points[array].tobytes().decode("utf-32-le", "surrogatepass")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as JSON."""
        return _save(path, {"tokenizer": "char", "characters": self.characters, "unknown": self.unknown})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CharTokenizer:
        """Read what `save` wrote; raises StateError if the file is something else."""
        content = _load(path, "char", {"characters": str, "unknown": (str, type(None))})
        try:
            return cls(content["characters"], content.get("unknown"))
        except SettingError as error:
            raise StateError(f"{path}: {error}") from None


# Words are split off first, and no token crosses their borders: a word with the space before it, a number,
# punctuation, white space. As GPT-2's pattern, in what Python's `re` knows; every character matches somewhere.
WORDS = re.compile(r"'(?:s|t|re|ve|m|ll|d)(?![^\W\d_])| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")

Pair = tuple[int, int]


class BPETokenizer:
    """Byte-level byte-pair encoding: tokens 0 to 255 are the bytes, each later one joins two earlier ones.

    Args:
        merges: the pairs in the order in which they were learnt; pair i makes token 256 + i.

    Source: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909; on bytes as in GPT-2 (Radford et al. 2019).

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
        self._ranks = {pair: i for i, pair in enumerate(self.merges)}
        self._known: dict[str, list[int]] = {}  # words met before

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    @classmethod
    def train(cls, text: str, merges: int) -> BPETokenizer:
        """Learn `merges` merges (fewer, if no pair stands twice), each time the most frequent pair.

        Pairs are counted over the different words, each once with its count, and after a merge only the words
        that hold the pair are counted anew: 4.8 MB of Shakespeare and 1,000 merges take 2.3 s.
        Of equally frequent pairs the one with the smaller numbers is merged, so that training repeats.
        """
        if merges < 0:
            raise SettingError(f"BPETokenizer: {merges} merges: expected at least 0")
        words = Counter(WORDS.findall(text))
        counts = PairCounts((list(_to_bytes(word)), count) for word, count in words.items())
        learnt: list[Pair] = []
        while len(learnt) < merges:
            pair = counts.most_frequent()
            if pair is None:
                break
            counts.merge(pair, 256 + len(learnt))
            learnt.append(pair)
        return cls(learnt)

    def encode(self, text: str) -> Array:
        """The tokens of a text, (N,). Never fails: what was not learnt stays bytes."""
        tokens: list[int] = []
        known = self._known
        for word in WORDS.findall(text):
            found = known.get(word)
            if found is None:
                found = known[word] = self._encode_word(word)
            tokens += found
        return np.array(tokens, np.int64)

    def decode(self, tokens: Iterable[int] | Array) -> str:
        """The text of the tokens; bytes that are no UTF-8, as a cut character leaves them, become U+FFFD."""
        array = _checked(tokens, self.vocab_size, "BPETokenizer")
        content = b"".join([self.vocabulary[token] for token in array.tolist()])
        try:
            return content.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return content.decode("utf-8", "replace")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as JSON."""
        return _save(path, {"tokenizer": "bpe", "merges": self.merges})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BPETokenizer:
        """Read what `save` wrote; raises StateError if the file is something else."""
        merges = _load(path, "bpe", {"merges": list})["merges"]
        if not all(isinstance(pair, list) and [type(i) for i in pair] == [int, int] for pair in merges):
            raise StateError(f"{path}: merges: expected pairs of integers")
        try:
            return cls((a, b) for a, b in merges)
        except SettingError as error:
            raise StateError(f"{path}: {error}") from None

    def _encode_word(self, word: str) -> list[int]:
        """Apply the merges that the word allows, the earliest learnt first."""
        tokens = list(_to_bytes(word))
        while len(tokens) > 1:
            rank = min(self._ranks.get(pair, len(self.merges)) for pair in pairwise(tokens))
            if rank == len(self.merges):
                break
            tokens = _merged(tokens, self.merges[rank], 256 + rank)
        return tokens


class PairCounts:
    """How often each pair of neighbours stands in the words, kept right as pairs are merged.

    A heap gives the most frequent pair. Its entries are not changed when a count falls: an entry whose count
    is out of date is pushed again with the right one when it comes up.
    """

    def __init__(self, words: Iterable[tuple[list[int], int]]) -> None:
        self.words: list[list[int]] = []
        self.times: list[int] = []
        self.counts: Counter[Pair] = Counter()
        self.holders: dict[Pair, set[int]] = {}  # pair -> the words that (may) hold it
        for word, times in words:
            self._count(len(self.words), word, times)
            self.words.append(word)
            self.times.append(times)
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.heap)

    def most_frequent(self) -> Pair | None:
        """The pair that stands most often, if any stands twice."""
        while self.heap:
            negative, pair = self.heap[0]
            count = self.counts[pair]
            if count == -negative:
                return pair if count > 1 else None
            heapq.heappop(self.heap)
            if count > 0:
                heapq.heappush(self.heap, (-count, pair))
        return None

    def merge(self, pair: Pair, token: int) -> None:
        """Put `token` where the pair stood."""
        changed: set[Pair] = set()
        for i in self.holders.pop(pair):
            before, times = self.words[i], self.times[i]
            after = _merged(before, pair, token)
            if len(after) == len(before):
                continue
            for old in pairwise(before):
                self.counts[old] -= times
            changed.update(self._count(i, after, times))
            self.words[i] = after
        del self.counts[pair]
        for new in changed:  # only these can have risen
            heapq.heappush(self.heap, (-self.counts[new], new))

    def _count(self, i: int, word: list[int], times: int) -> list[Pair]:
        """Add the pairs of word i; gives them."""
        pairs = list(pairwise(word))
        for pair in pairs:
            self.counts[pair] += times
            self.holders.setdefault(pair, set()).add(i)
        return pairs


def _merged(tokens: list[int], pair: Pair, token: int) -> list[int]:
    """The tokens with `token` for each pair, from left to right."""
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
    return text.encode("utf-8", "surrogatepass")  # lone halves of pairs are in Python's texts, too


def _code_points(text: str) -> Array:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _checked(tokens: Iterable[int] | Array, vocab_size: int, name: str) -> Array:
    try:
        array = np.asarray(tokens if isinstance(tokens, np.ndarray) else list(tokens))
    except ValueError:  # rows of different lengths
        raise SettingError(f"{name}: tokens in rows of different lengths: expected a row of integers") from None
    if not array.size:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise SettingError(f"{name}: tokens of shape {array.shape} and type {array.dtype}: expected a row of integers")
    strange = (array < 0) | (array >= vocab_size)
    if strange.any():
        place = int(strange.argmax())
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
        raise StateError(f"{path}: not JSON; expected what a tokenizer's save() wrote") from None
    if not isinstance(content, dict) or content.get("tokenizer") != kind:
        raise StateError(f"{path}: not a saved '{kind}' tokenizer")
    for name, kinds in fields.items():
        if not isinstance(content.get(name), kinds):
            raise StateError(f"{path}: {name} is missing or of another kind")
    return content
