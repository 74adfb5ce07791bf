"""Special tokens, such as "<|endoftext|>", for any tokenizer of module 11."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError
from tinytorch.tensor import Array, Tensor


class SpecialTokens:
    """A tokenizer with additional tokens, numbered after its own. None of them is ever part of another token.

    Args:
        tokenizer: a BPETokenizer or CharTokenizer.
        special: texts, each of which becomes one token.

    Raises:
        SettingError: a special text is empty or occurs twice.

    >>> from tinytorch.tokenization import BPETokenizer
    >>> tokenizer = SpecialTokens(BPETokenizer(), ["<|endoftext|>"])
    >>> tokenizer.encode("a<|endoftext|>", allowed_special=True).tolist()
    [97, 256]
    """

    def __init__(self, tokenizer: Any, special: Sequence[str]) -> None:
        if not all(special) or len(set(special)) != len(special):
            raise SettingError(f"SpecialTokens: {list(special)}: expected different texts, none of them empty")
        self.tokenizer = tokenizer
        self.special = {text: tokenizer.vocab_size + i for i, text in enumerate(special)}
        longest_first = sorted(special, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    @property
    def vocab_size(self) -> int:
        return int(self.tokenizer.vocab_size) + len(self.special)

    def encode(self, text: str, allowed_special: bool = False) -> Array:
        """Return the tokens of a text. Unless special texts are allowed, they are encoded letter by letter.

        Text from users may contain a special text, so they are off by default.
        """
        if not allowed_special:
            return self.tokenizer.encode(text)
        parts, place = [], 0
        for match in self._pattern.finditer(text):
            parts += [self.tokenizer.encode(text[place : match.start()]), np.array([self.special[match[0]]])]
            place = match.end()
        return np.concatenate([*parts, self.tokenizer.encode(text[place:])]).astype(np.int64)

    def decode(self, tokens: Iterable[int] | Array | Tensor) -> str:
        """Return the text of the tokens, with the special texts in it."""
        array = np.asarray(tokens.data if isinstance(tokens, Tensor) else list(tokens), np.int64)
        texts = {number: text for text, number in self.special.items()}
        places = np.flatnonzero(array >= self.tokenizer.vocab_size)
        out, start = [], 0
        for place in places:
            if int(array[place]) not in texts:
                raise SettingError(f"SpecialTokens: token {array[place]}: expected 0 to {self.vocab_size - 1}")
            out += [self.tokenizer.decode(array[start:place]), texts[int(array[place])]]
            start = int(place) + 1
        return "".join([*out, self.tokenizer.decode(array[start:])])
