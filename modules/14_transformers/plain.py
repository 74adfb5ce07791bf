"""The plain answer to module 14, for the course's own proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinytorch.activations import gelu
from tinytorch.attention import MultiHeadAttention
from tinytorch.base.errors import NonFiniteError, SettingError, ShapeError
from tinytorch.embeddings import Embedding, LearnedPositions, checked_tokens
from tinytorch.layers import Dropout, Linear, evaluating
from tinytorch.losses import cross_entropy
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT, LayerNorm, _check_integer


def _layer_norm(x: Array, weight: Array, bias: Array | None = None, *, eps: float) -> tuple[Array, tuple[Array, Array]]:
    if x.ndim == 0 or x.shape[-1:] != weight.shape:
        raise ShapeError(f"layer_norm: input of shape {x.shape}: expected (..., {weight.shape[0]})")
    rows = x.reshape(-1, x.shape[-1])
    mean = rows.mean(axis=1, keepdims=True)
    variance = ((rows - mean) ** 2).mean(axis=1, keepdims=True)
    scale = (1 / np.sqrt(variance + eps)).astype(x.dtype)
    normed = (rows - mean) * scale
    y = normed * weight
    if bias is not None:
        y = y + bias
    return y.reshape(x.shape), (normed, scale)


def _layer_norm_back(
    g: Array, kept: tuple[Array, Array], x: Array, weight: Array, bias: Array | None = None, **_: object
) -> list[Array]:
    normed, scale = kept
    g_rows = g.reshape(normed.shape)
    h = g_rows * weight
    mean_h = h.mean(axis=1, keepdims=True)
    mean_hn = (h * normed).mean(axis=1, keepdims=True)
    dx = scale * (h - mean_h - normed * mean_hn)
    return [dx.reshape(x.shape), (g_rows * normed).sum(axis=0), g_rows.sum(axis=0)]


class MLP:
    def __init__(self, n_embd: int, dropout: float = 0.0, bias: bool = True) -> None:
        self.c_fc = Linear(n_embd, 4 * n_embd, bias)
        self.c_proj = Linear(4 * n_embd, n_embd, bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden = gelu(self.c_fc(x))
        return self.dropout(self.c_proj(hidden))


class TransformerBlock:
    def __init__(self, n_embd: int, n_head: int, dropout: float = 0.0, bias: bool = True) -> None:
        self.ln_1 = LayerNorm(n_embd, bias=bias)
        self.attn = MultiHeadAttention(n_embd, n_head, causal=True, dropout=dropout, bias=bias)
        self.ln_2 = LayerNorm(n_embd, bias=bias)
        self.mlp = MLP(n_embd, dropout, bias)

    def forward(self, x: Tensor, mask: Array | None = None) -> Tensor:
        attended = x + self.attn(self.ln_1(x), mask)
        return attended + self.mlp(self.ln_2(attended))


class Transformer:
    def __init__(
        self, vocab_size: int, block_size: int, n_layer: int, n_head: int, n_embd: int, dropout: float, bias: bool
    ) -> None:
        self.wte = Embedding(vocab_size, n_embd)
        self.wpe = LearnedPositions(block_size, n_embd)
        self.drop = Dropout(dropout)
        self.h = []
        for _ in range(n_layer):
            self.h.append(TransformerBlock(n_embd, n_head, dropout, bias))
        self.ln_f = LayerNorm(n_embd, bias=bias)

    def forward(self, tokens: Tensor | Array, mask: Array | None = None) -> Tensor:
        x = self.wte(tokens)
        x = self.wpe(x)
        x = self.drop(x)
        for block in self.h:
            x = block(x, mask)
        return self.ln_f(x)


def write(
    model: GPT,
    tokens: Array | Sequence[int] | Sequence[Sequence[int]],
    max_new_tokens: int,
    sampler: Sampler,
    stop: int | None,
    next_logits: Callable[[Array], Array],
) -> Array:
    prompt = np.asarray(tokens)
    if not prompt.size:
        raise SettingError("generate: the prompt is empty; expected at least one token")
    if prompt.ndim not in (1, 2):
        raise ShapeError(f"generate: prompt of shape {prompt.shape}: expected (T,) or (B, T)")
    context = np.atleast_2d(checked_tokens(prompt, model.vocab_size))
    _check_integer("max_new_tokens", max_new_tokens, 0)
    if stop is not None:
        _check_integer("stop", stop, 0, model.vocab_size - 1)
    text = context.astype(np.int64)
    ended = [False] * len(text)
    with evaluating(model):
        for _ in range(max_new_tokens):
            if all(ended):
                break
            new = np.array(sampler(next_logits(text)), np.int64)
            for row in range(len(text)):
                if ended[row]:
                    new[row] = stop
                elif stop is not None and new[row] == stop:
                    ended[row] = True
            text = np.concatenate([text, new[:, None]], axis=1)
    return text[0] if prompt.ndim == 1 else text


class Sampler:
    def __call__(self, logits: Array) -> Array:
        if not np.isfinite(logits).all():
            raise NonFiniteError("generate: the model's logits are NaN or infinite; are its weights finite?")
        if self.temperature == 0:
            return np.argmax(logits, axis=1)
        drawn = []
        for row in self.probabilities(logits):
            u = self.rng.random()
            total, token = 0.0, 0
            for token, p in enumerate(row):  # noqa: B007 (used after the loop)
                total += p
                if total > u:
                    break
            else:
                token = int(np.flatnonzero(row)[-1])
            drawn.append(token)
        return np.array(drawn)

    def probabilities(self, logits: Array) -> Array:
        rows = []
        for row in logits.astype(np.float64):
            keep = np.ones(row.size, bool)
            if self.top_k is not None and self.top_k < row.size:
                keep = row >= np.sort(row)[-self.top_k]
            with np.errstate(over="ignore"):
                scaled = (row - row.max()) / self.temperature
            p = np.where(keep, np.exp(scaled), 0.0)
            p = p / p.sum()
            if self.top_p is not None and self.top_p < 1:
                self._keep_fewest(p)
                p = p / p.sum()
            rows.append(p)
        return np.array(rows)

    def _keep_fewest(self, p: Array) -> None:
        reached = 0.0
        for token in np.argsort(-p, kind="stable"):
            if reached >= self.top_p:
                p[token] = 0.0
            else:
                reached += p[token]


def next_token_loss(logits: Tensor, targets: Tensor | Array) -> Tensor:
    b, t, v = logits.shape
    return cross_entropy(logits.reshape(b * t, v), targets.reshape(b * t))
