"""Module 19: the key-value cache: a GPT that writes without reading everything again for each token.

With causal attention a position's keys and values never change when tokens are added after it. So they are kept:

    q, k, v = c_attn(ln_1(x));    keys[t], values[t] = k, v;    y = softmax(q keys[:t+1]^T / sqrt(D)) values[:t+1]

and one token costs one row of each product instead of a whole context of rows. `Decoder._read` is this idea in
the model's own modules, for any number of new tokens; `inference.gpt_step.Step` does the same
for one token, as a plan over arrays. `checks.cache` checks that a cached generation agrees with the model.

GPT's positions are learned and absolute: the vector of place 5 is in the keys of whatever stands at place 5. When
the block is full and the context moves on, every token gets another place, so nothing that was kept is true any more:
the cache is filled anew from the tokens that remain. The context therefore moves by `hop` tokens at a time (see
`transformers.window_start`), and this costs one such prefill for `hop` tokens. With hop 1, the default of
`GPT.generate`, it is a prefill for each token: beyond the block the cache then gains nothing.

Shapes: B rows, T new tokens, L tokens seen, H heads, D width of a head, C = H x D, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinytorch.attention import sdpa
from tinytorch.autograd import no_grad
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.embeddings import checked_tokens
from tinytorch.inference.gpt_step import Step, is_plain
from tinytorch.tensor import Array, Tensor, apply
from tinytorch.transformers import GPT, Sampler, window_start, write


class KVCache:
    """Room for the keys and values of one block of tokens, made once; nothing in it grows.

    Args:
        model: whose sizes it fits. batch_size: rows that are written side by side, all of one length.
        hop: how many tokens the context drops when the block is full.
        dtype: of what is kept; by default the model's. float16 takes half the memory and about 1e-3 of accuracy.

    Attributes:
        keys, values: (n_layer, B, H, block_size, D). tokens: (B, block_size), what they were made from.
        start: where in the text the context begins. length: how many of its places are filled.

    `KVCache(model, **cache.settings())` makes another like it.
    """

    def __init__(self, model: GPT, batch_size: int = 1, hop: int = 1, dtype: DTypeLike | None = None) -> None:
        for name, value, most in (("batch_size", batch_size, None), ("hop", hop, model.block_size)):
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not whole or value < 1 or (most is not None and value > most):
                expected = "at least 1" if most is None else f"from 1 to the block size, {most}"
                raise SettingError(f"KVCache: {name} {value}: expected an integer, {expected}")
        self.batch_size, self.hop, self.block_size = int(batch_size), int(hop), model.block_size
        self.dtype = _float_dtype(
            np.result_type(model.transformer.wpe.weight.dtype, np.float32) if dtype is None else dtype
        )
        n_layer, *sizes = _sizes(model)
        # in one array: a new token's key and value are written together
        self.pairs = np.zeros((n_layer, 2, self.batch_size, *sizes), self.dtype)
        self.keys, self.values = self.pairs[:, 0], self.pairs[:, 1]
        self.tokens = np.zeros((batch_size, self.block_size), np.int64)
        self.reset()

    def reset(self) -> None:
        """Forget the text; the memory stays."""
        self.start = self.length = 0

    def settings(self) -> dict[str, int | str]:
        """What it was made with, as JSON can hold it."""
        return {"batch_size": self.batch_size, "hop": self.hop, "dtype": self.dtype.name}

    @property
    def seen(self) -> int:
        """L: how long the text is so far, what the context dropped included."""
        return self.start + self.length

    @property
    def nbytes(self) -> int:
        """The memory of keys and values."""
        return self.pairs.nbytes


def _sizes(model: GPT) -> tuple[int, int, int, int]:
    """Layers, heads, block size and width of a head."""
    heads = {block.attn.n_head for block in model.transformer.h}
    if len(heads) > 1:
        raise SettingError(f"KVCache: blocks of {sorted(heads)} heads: expected as many in each")
    n_head = heads.pop()
    return len(model.transformer.h), n_head, model.block_size, model.transformer.wpe.weight.shape[1] // n_head


def _float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        made = np.dtype(dtype)
    except TypeError:
        made = np.dtype(object)
    if made.name not in ("float16", "float32", "float64"):
        raise SettingError(f"KVCache: dtype {dtype}: expected float16, float32 or float64")
    return made


class Decoder:
    """A model and a cache that reads a text piece by piece.

    Raises ShapeError if the cache is not for this model, SettingError if the model is not causal.

    It takes the weights as they are now: after training on, make another. As with `GPT.next_logits`, switch the model
    to `eval()` before. Any layer may have been replaced by a module that takes and gives a Tensor (B, T, width).

    >>> model = GPT(vocab_size=65, block_size=8, n_layer=1, n_head=2, n_embd=16).eval()
    >>> decoder = Decoder(model, KVCache(model))
    >>> decoder.next_logits([[1, 2, 3]]).shape, decoder.next_logits([[4]]).shape, decoder.cache.length
    ((1, 65), (1, 65), 4)
    """

    def __init__(self, model: GPT, cache: KVCache) -> None:
        ahead = [i for i, block in enumerate(model.transformer.h) if not block.attn.causal]
        if ahead:
            raise SettingError(f"Decoder: h[{ahead[0]}] is not causal, so what comes later would change its keys: "
                               f"expected causal attention in each block")  # fmt: skip
        found = (len(cache.keys), *cache.keys.shape[2:])
        if found != _sizes(model):
            raise ShapeError(f"Decoder: the cache is for (layers, heads, block size, head width) {found}: "
                             f"expected the model's, {_sizes(model)}")  # fmt: skip
        self.model, self.cache = model, cache
        self.step = Step(model, cache.pairs) if is_plain(model) else None

    @no_grad()
    def next_logits(self, tokens: Array | Sequence[Sequence[int]]) -> Array:
        """Read more of the text, (B, T) with any T, and say what comes next: (B, V).

        Raises:
            ShapeError: no token, or another number of rows than the cache has.
            SettingError: a token is not in the vocabulary.
        """
        return self._next(self._checked(tokens)).copy()

    def _next(self, new: Array) -> Array:
        """`next_logits` of tokens that were checked; the result is good until the next call."""
        cache = self.cache
        start = window_start(cache.seen + new.shape[1], cache.block_size, cache.hop)
        if start > cache.start:  # the context moves on, and with it every token's place: read what remains anew
            text = np.concatenate([cache.tokens[:, : cache.length], new], axis=1)
            new = text[:, start - cache.start :]
            cache.start, cache.length = start, 0
        if new.shape[1] == 1 and self.step is not None:
            logits = self.step(new[:, 0], cache.length)
            cache.tokens[:, cache.length] = new[:, 0]
            cache.length += 1
            return logits
        return self.model.head(self._read(new)[:, -1]).data

    @no_grad()
    def logits(self, tokens: Array | Sequence[Sequence[int]]) -> Array:
        """Read more of the text, and say what follows each of its tokens: (B, T) -> (B, T, V). It must fit.

        Raises:
            ShapeError, SettingError: as `next_logits`, and if the block has fewer places left.
        """
        new, left = self._checked(tokens), self.cache.block_size - self.cache.length
        if new.shape[1] > left:
            raise ShapeError(f"Decoder: {new.shape[1]} tokens: expected at most {left}, or next_logits, which moves on")
        return self.model.head(self._read(new)).data

    def generate(
        self,
        tokens: Array | Sequence[int],
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: int | None = None,
    ) -> Array:
        """`GPT.generate` with the cache's hop: the same text, whatever was read before."""
        self.cache.reset()

        def next_logits(text: Array) -> Array:
            new = text[:, self.cache.seen :]
            return self._next(new if self.cache.length else self._checked(new))

        sampler = Sampler(temperature, top_k, top_p, seed)
        with no_grad():
            return write(self.model, tokens, max_new_tokens, sampler, stop, next_logits)

    def _checked(self, tokens: Array | Sequence[Sequence[int]]) -> Array:
        new = np.asarray(tokens)
        if new.ndim != 2 or new.shape[0] != self.cache.batch_size or not new.size:
            raise ShapeError(f"Decoder: tokens of shape {new.shape}: expected (B, T), "
                             f"B = {self.cache.batch_size} as in the cache, T at least 1")  # fmt: skip
        return checked_tokens(new, self.model.vocab_size)

    def _read(self, tokens: Array) -> Tensor:
        """The idea, in the model's own modules: (B, T) -> hidden states (B, T, C) of the new tokens."""
        cache, parts = self.cache, self.model.transformer
        begin, end = cache.length, cache.length + tokens.shape[1]
        x = parts.wte(tokens) + parts.wpe.weight[begin:end]
        for i, block in enumerate(parts.h):
            y = self._attend(i, block.attn.c_attn(block.ln_1(x)).data, begin, end)
            x = x + block.attn.c_proj(Tensor(y))
            x = x + block.mlp(block.ln_2(x))
        cache.tokens[:, begin:end] = tokens
        cache.length = end
        return parts.ln_f(x)

    def _attend(self, layer: int, qkv: Array, begin: int, end: int) -> Array:
        """Keep the new keys and values, and let each new query look at all up to its own: (B, T, 3 C) -> (B, T, C)."""
        pairs = self.cache.pairs[layer]  # (2, B, H, block, D)
        _, b, heads, _, width = pairs.shape
        q, k, v = qkv.reshape(b, end - begin, 3, heads, width).transpose(2, 0, 3, 1, 4)  # (B, H, T, D) each
        pairs[0, :, :, begin:end], pairs[1, :, :, begin:end] = k, v
        keys, values = pairs[:, :, :, :end].astype(qkv.dtype, copy=False)
        if begin == 0:
            y = apply(sdpa, q, keys, values, causal=True, mask=None)
        else:
            y = apply(sdpa, q, keys, values, causal=False, mask=np.tri(end - begin, end, begin, bool))
        return y.data.transpose(0, 2, 1, 3).reshape(b, end - begin, heads * width)


def generate(
    model: GPT,
    tokens: Array | Sequence[int],
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: int | None = None,
    hop: int = 1,
) -> Array:
    """`GPT.generate` with a cache: the same arguments, the same text, sooner.

    Cached logits differ from recomputed ones by float32 rounding, about 1e-6 of their size; two tokens closer
    than that could change places. For many texts from one model keep a `Decoder`.
    """
    rows = np.shape(tokens)[0] if np.ndim(tokens) == 2 else 1
    decoder = Decoder(model, KVCache(model, max(rows, 1), hop))
    return decoder.generate(tokens, max_new_tokens, temperature, top_k, top_p, seed, stop)
