"""The plain answer to module 11, for the course's own proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from tinytorch.base.errors import SettingError
from tinytorch.base.pairs import Pair
from tinytorch.tensor import Array
from tinytorch.tokenization import WORDS, _checked, _to_bytes


class CharTokenizer:
    def encode(self, text: str) -> Array:
        number = {character: i for i, character in enumerate(self.characters)}
        tokens = np.zeros(len(text), np.int64)
        for place, character in enumerate(text):
            if character in number:
                tokens[place] = number[character]
            elif self.unknown is not None:
                tokens[place] = number[self.unknown]
            else:
                raise self._unknown_at(text, place)
        return tokens

    def decode(self, tokens: Iterable[int] | Array) -> str:
        array = _checked(tokens, self.vocab_size, "CharTokenizer")
        return "".join(self.characters[token] for token in array)


class BPETokenizer:
    @classmethod
    def train(cls, text: str, merges: int) -> BPETokenizer:
        if merges < 0:
            raise SettingError(f"BPETokenizer: {merges} merges: expected at least 0")
        words = [(list(_to_bytes(word)), times) for word, times in Counter(WORDS.findall(text)).items()]
        learned = []
        for i in range(merges):
            counts = Counter()
            for tokens, times in words:
                for j in range(len(tokens) - 1):
                    counts[tokens[j], tokens[j + 1]] += times
            if not counts:
                break
            most = max(counts.values())
            if most < 2:
                break
            pair = min(pair for pair, count in counts.items() if count == most)
            learned.append(pair)
            words = [(_merged(tokens, pair, 256 + i), times) for tokens, times in words]
        return cls(learned)

    def encode(self, text: str) -> Array:
        tokens = []
        for word in WORDS.findall(text):
            if word not in self._known:
                self._known[word] = self._encode_word(word)
            tokens.extend(self._known[word])
        return np.array(tokens, dtype=np.int64)

    def decode(self, tokens: Iterable[int] | Array) -> str:
        array = _checked(tokens, self.vocab_size, "BPETokenizer")
        content = b""
        for token in array:
            content += self.vocabulary[token]
        try:
            return content.decode("utf-8", errors="surrogatepass")
        except UnicodeDecodeError:
            return content.decode("utf-8", errors="replace")

    def _encode_word(self, word: str) -> list[int]:
        tokens = list(_to_bytes(word))
        while True:
            ranks = []
            for i in range(len(tokens) - 1):
                pair = tokens[i], tokens[i + 1]
                if pair in self._ranks:
                    ranks.append(self._ranks[pair])
            if not ranks:
                return tokens
            tokens = _merged(tokens, self.merges[min(ranks)], 256 + min(ranks))


def _merged(tokens: list[int], pair: Pair, token: int) -> list[int]:
    out = []
    i = 0
    while i < len(tokens):
        if (*tokens[i : i + 2],) == pair:
            out.append(token)
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return out
