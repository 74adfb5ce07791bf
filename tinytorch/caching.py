"""Module 19: the key-value cache. A GPT that generates text without reading the whole context again for each token.

With causal attention, the keys and values of a position do not change when tokens are added after it. They are kept:

    q, k, v = c_attn(ln_1(x));    keys[t], values[t] = k, v;    y = softmax(q keys[:t+1]^T / sqrt(D)) values[:t+1]

One token then costs one row of each product, not one row for each token of the context. `Decoder._read` implements
this with the model's own modules, for any number of new tokens. `inference.gpt_step.Step` does the same for one token,
as a fixed sequence of array operations. `checks.cache` verifies that a cached generation agrees with the model.

GPT's positions are learned and absolute: the vector of position 5 is part of the key of the token at position 5. When
the block is full and the context moves, every token gets another position, so none of the cached values are valid. The
cache is then filled again from the tokens that remain. The context therefore moves by `hop` tokens at a time (see
`transformers.window_start`), at the cost of one such prefill per `hop` tokens. With hop 1, the default of
`GPT.generate`, each token needs a prefill: beyond the block, the cache then gains nothing.

Shapes: B rows, T new tokens, L tokens read so far, H heads, D width of a head, C = H x D, V tokens in the vocabulary.
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
from tinytorch.inference.drawing import RowSampler
from tinytorch.inference.gpt_step import Step, is_plain
from tinytorch.tensor import Array, Tensor, apply
from tinytorch.transformers import GPT, window_start, write


class KVCache:
    """Preallocated memory for the keys and values of one block of tokens.

    Args:
        model: the GPT whose sizes determine those of the cache.
        batch_size: B, the number of rows that are generated together, all of the same length.
        hop: the number of tokens that the context drops when the block is full.
        dtype: the dtype of keys and values, by default the model's. float16 halves the memory compared with float32,
            and adds errors of about 1e-3.

    Attributes:
        pairs: keys and values in one array of `dtype`, (n_layer, 2, B, H, block_size, D), so that a new token's key and
            value are written together.
        keys, values: its two halves as views, (n_layer, B, H, block_size, D).
        tokens: int64 (B, block_size), the tokens from which they were computed.
        start: the position in the text at which the context begins.
        length: the number of positions of the context that are filled.

    `KVCache(model, **cache.settings())` creates another cache with the same settings.
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
        self.pairs = np.zeros((n_layer, 2, self.batch_size, *sizes), self.dtype)
        self.keys, self.values = self.pairs[:, 0], self.pairs[:, 1]
        self.tokens = np.zeros((batch_size, self.block_size), np.int64)
        self.reset()

    def reset(self) -> None:
        """Clear the text: set `start` and `length` to 0. The memory stays allocated, with what is in it."""
        self.start = self.length = 0

    def settings(self) -> dict[str, int | str]:
        """Return the constructor's arguments except the model, as JSON values."""
        return {"batch_size": self.batch_size, "hop": self.hop, "dtype": self.dtype.name}

    @property
    def seen(self) -> int:
        """L, the number of tokens of the text so far, including those that the context has dropped."""
        return self.start + self.length

    @property
    def nbytes(self) -> int:
        """The memory of keys and values in bytes."""
        return self.pairs.nbytes


def _sizes(model: GPT) -> tuple[int, int, int, int]:
    """Return the number of layers, the number of heads, the block size, and the width of a head."""
    heads = {block.attn.n_head for block in model.transformer.h}
    if len(heads) > 1:
        raise SettingError(f"KVCache: blocks of {sorted(heads)} heads: expected the same number in each")
    n_head = heads.pop()
    return len(model.transformer.h), n_head, model.block_size, model.transformer.wpe.weight.shape[1] // n_head


def _float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        made = np.dtype(dtype)
    except TypeError:
        made = np.dtype(object)
    if made.name not in ("float16", "float32", "float64"):
        raise SettingError(f"KVCache: dtype {dtype}: expected float16, float32, or float64")
    return made


class Decoder:
    """A model with a cache, which reads a text piece by piece.

    It uses the weights at the time of construction. After further training, create another. As with `GPT.next_logits`,
    call the model's `eval()` first. Each layer may be replaced by a module that maps a Tensor (B, T, width) to another.

    Raises:
        ShapeError: the cache does not have the model's sizes.
        SettingError: the model is not causal.

    >>> model = GPT(vocab_size=65, block_size=8, n_layer=1, n_head=2, n_embd=16).eval()
    >>> decoder = Decoder(model, KVCache(model))
    >>> decoder.next_logits([[1, 2, 3]]).shape, decoder.next_logits([[4]]).shape, decoder.cache.length
    ((1, 65), (1, 65), 4)
    """

    def __init__(self, model: GPT, cache: KVCache) -> None:
        ahead = [i for i, block in enumerate(model.transformer.h) if not block.attn.causal]
        if ahead:
            raise SettingError(f"Decoder: h[{ahead[0]}] is not causal, so later tokens would change its keys: "
                               f"expected causal attention in each block")  # fmt: skip
        found = (len(cache.keys), *cache.keys.shape[2:])
        if found != _sizes(model):
            raise ShapeError(f"Decoder: the cache is for (layers, heads, block size, head width) {found}: "
                             f"expected the model's, {_sizes(model)}")  # fmt: skip
        self.model, self.cache = model, cache
        self.step = Step(model, cache.pairs) if is_plain(model) else None

    @no_grad()
    def next_logits(self, tokens: Array | Sequence[Sequence[int]]) -> Array:
        """Read the next tokens of the text, (B, T) with any T, and return the logits of the token after them, (B, V).

        Raises:
            ShapeError: there is no token, or the number of rows is not the batch size of the cache.
            SettingError: a token is not in the vocabulary.
        """
        return self._next(self._checked(tokens)).copy()

    def _next(self, new: Array) -> Array:
        """Compute `next_logits` for checked tokens. The result is only valid until the next call.

        The context of the text, including the new tokens, begins at `window_start`. If this is later than
        `cache.start`, every token gets another position. The tokens that remain in the context, from `cache.tokens` and
        the new ones, are then read again from position 0, and `cache.start` moves. Otherwise only the new tokens are
        read.
        """
        cache = self.cache
        start = window_start(cache.seen + new.shape[1], cache.block_size, cache.hop)
        if start > cache.start:  # every token gets another position: read the tokens that remain again
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
        """Read the next tokens of the text, and return the logits after each of them: (B, T) -> (B, T, V).

        Raises:
            ShapeError, SettingError: as in `next_logits`, and ShapeError if fewer than T positions of the block are
                left.
        """
        new, left = self._checked(tokens), self.cache.block_size - self.cache.length
        if new.shape[1] > left:
            raise ShapeError(f"Decoder: {new.shape[1]} tokens: expected at most {left}; use next_logits for more")
        return self.model.head(self._read(new)).data

    def generate(
        self,
        tokens: Array | Sequence[int] | Sequence[Sequence[int]],
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: int | None = None,
    ) -> Array:
        """Generate the text of `GPT.generate` with the cache's hop. The cache is reset first.

        `write` runs the loop. It passes the whole text so far; only what the cache has not read yet (`cache.seen`) is
        read. The first piece, the prompt, is checked; nothing is recorded for a backward pass.
        """
        self.cache.reset()

        def next_logits(text: Array) -> Array:
            new = text[:, self.cache.seen :]
            return self._next(new if self.cache.length else self._checked(new))

        sampler = RowSampler(temperature, top_k, top_p, seed)
        with no_grad():
            return write(self.model, tokens, max_new_tokens, sampler, stop, next_logits)

    def _checked(self, tokens: Array | Sequence[Sequence[int]]) -> Array:
        new = np.asarray(tokens)
        if new.ndim != 2 or new.shape[0] != self.cache.batch_size or not new.size:
            raise ShapeError(f"Decoder: tokens of shape {new.shape}: expected (B, T), "
                             f"B = {self.cache.batch_size} as in the cache, T at least 1")  # fmt: skip
        return checked_tokens(new, self.model.vocab_size)

    def _read(self, tokens: Array) -> Tensor:
        """Read tokens (B, T) with the model's own modules, and return their hidden states, (B, T, C), after ln_f.

        They get the positions from `cache.length` on, and see the keys and values of all earlier positions (`_attend`).
        Afterwards they are in `cache.tokens`, and `cache.length` counts them. As in the model's own forward pass,
        x = wte + wpe, and each block adds attn.c_proj(y), with y from attn.c_attn(ln_1(x)), and then mlp(ln_2(x)).
        """
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
        """Store the new keys and values, and attend from each new query to all keys up to its own position.

            y[t] = softmax(q[t] keys[:t + 1]^T / sqrt(D)) values[:t + 1]

        qkv (B, T, 3 C) is c_attn's output for positions begin to end - 1: the queries of all heads, then their keys,
        then their values. The result has all heads side by side, (B, T, C), and the dtype of qkv, also if the cache has
        another one; the new keys and values are read back from the cache, as the old ones are.
        """
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
    tokens: Array | Sequence[int] | Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: int | None = None,
    hop: int = 1,
) -> Array:
    """Generate the text of `GPT.generate` faster, with a cache. The arguments are the same.

    It is `Decoder.generate` with a new cache, of one row for each row of the prompt and at least one.

    Cached logits differ from recomputed ones by float32 rounding, about 1e-6 of their size. Two tokens whose logits
    differ by less may change places. To generate many texts with one model, keep a `Decoder`.
    """
    rows = np.shape(tokens)[0] if np.ndim(tokens) == 2 else 1
    decoder = Decoder(model, KVCache(model, max(rows, 1), hop))
    return decoder.generate(tokens, max_new_tokens, temperature, top_k, top_p, seed, stop)
