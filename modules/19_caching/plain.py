"""The plain answer to module 19, for the course's own proof."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from tinytorch.autograd import no_grad
from tinytorch.base.errors import SettingError
from tinytorch.caching import _float_dtype, _sizes
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT, Sampler, window_start, write


class KVCache:
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
        layers, heads, block, width = _sizes(model)
        self.pairs = np.zeros((layers, 2, self.batch_size, heads, block, width), self.dtype)
        self.keys = self.pairs[:, 0]
        self.values = self.pairs[:, 1]
        self.tokens = np.zeros((self.batch_size, block), np.int64)
        self.reset()

    def reset(self) -> None:
        self.start = 0
        self.length = 0


class Decoder:
    def _next(self, new: Array) -> Array:
        cache = self.cache
        start = window_start(cache.seen + new.shape[1], cache.block_size, cache.hop)
        if start != cache.start:
            text = np.concatenate([cache.tokens[:, : cache.length], new], axis=1)
            new = text[:, start - cache.start :]
            cache.reset()
            cache.start = start
        states = self._read(new)
        return self.model.head(states[:, -1]).data

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
        self.cache.reset()

        def next_logits(text: Array) -> Array:
            return self.next_logits(text[:, self.cache.seen :])

        return write(self.model, tokens, max_new_tokens, Sampler(temperature, top_k, top_p, seed), stop, next_logits)

    def _read(self, tokens: Array) -> Tensor:
        begin = self.cache.length
        end = begin + tokens.shape[1]
        transformer = self.model.transformer
        x = transformer.wte(tokens) + transformer.wpe.weight[begin:end]
        for number, block in enumerate(transformer.h):
            qkv = block.attn.c_attn(block.ln_1(x))
            attended = Tensor(self._attend(number, qkv.data, begin, end))
            x = x + block.attn.c_proj(attended)
            x = x + block.mlp(block.ln_2(x))
        self.cache.tokens[:, begin:end] = tokens
        self.cache.length = end
        return transformer.ln_f(x)

    def _attend(self, layer: int, qkv: Array, begin: int, end: int) -> Array:
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        b, heads, _, width = keys.shape
        c = heads * width
        y = np.zeros((b, end - begin, c), qkv.dtype)
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            q = qkv[:, :, :c][:, :, part]
            keys[:, h, begin:end] = qkv[:, :, c : 2 * c][:, :, part]
            values[:, h, begin:end] = qkv[:, :, 2 * c :][:, :, part]
            for t in range(end - begin):
                k = keys[:, h, : begin + t + 1].astype(qkv.dtype)
                v = values[:, h, : begin + t + 1].astype(qkv.dtype)
                scores = (k @ q[:, t, :, None])[:, :, 0] / width**0.5
                weights = np.exp(scores - scores.max(axis=1, keepdims=True))
                weights = weights / weights.sum(axis=1, keepdims=True)
                y[:, t, part] = (weights[:, None, :] @ v)[:, 0]
        return y


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
    rows = 1
    if np.ndim(tokens) == 2:
        rows = max(1, len(tokens))
    cache = KVCache(model, rows, hop)
    with no_grad():
        return Decoder(model, cache).generate(tokens, max_new_tokens, temperature, top_k, top_p, seed, stop)
