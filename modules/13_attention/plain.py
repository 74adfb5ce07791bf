"""The plain answer to module 13, for the course's own proof."""

from __future__ import annotations

import numpy as np

from tinytorch.activations import softmax
from tinytorch.arrays import attention as fused
from tinytorch.base.dtypes import lowest
from tinytorch.base.errors import SettingError
from tinytorch.layers import Dropout, Linear
from tinytorch.tensor import Array, Tensor, where


def causal_mask(length: int) -> Array:
    mask = np.zeros((length, length), bool)
    for i in range(length):
        mask[i, : i + 1] = True
    return mask


def padding_mask(lengths: Array, length: int) -> Array:
    mask = np.zeros((len(lengths), 1, 1, length), bool)
    for b, n in enumerate(lengths):
        mask[b, 0, 0, :n] = True
    return mask


def plain_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Array | None = None, dropout: Dropout | None = None
) -> Tensor:
    scores = q @ k.permute(0, 1, 3, 2) / float(np.sqrt(q.shape[-1]))
    if mask is None:
        weights = softmax(scores)
    else:
        mask = fused.spread_mask(mask, scores.shape)
        weights = where(mask, softmax(where(mask, scores, lowest(scores.dtype))), 0.0)
    if dropout is not None:
        weights = dropout(weights)
    return weights @ v


class MultiHeadAttention:
    def __init__(self, n_embd: int, n_head: int, causal: bool = True, dropout: float = 0.0, bias: bool = True) -> None:
        if n_head < 1 or n_embd % n_head:
            raise SettingError(
                f"MultiHeadAttention: width {n_embd}, {n_head} heads: expected a width divisible by the number of heads"
            )
        self.n_head = n_head
        self.causal = causal
        self.c_attn = Linear(n_embd, 3 * n_embd, bias)
        self.c_proj = Linear(n_embd, n_embd, bias)
        self.attn_dropout = Dropout(dropout)
        self.resid_dropout = Dropout(dropout)

    def _attend(self, qkv: Tensor, mask: Array | None) -> Tensor:
        b, t, width = qkv.shape
        c = width // 3
        parts = []
        for i in range(3):
            part = qkv[:, :, i * c : (i + 1) * c]
            parts.append(part.reshape(b, t, self.n_head, c // self.n_head).permute(0, 2, 1, 3))
        if mask is not None:
            mask = fused.spread_mask(mask, (b, self.n_head, t, t))
            if self.causal:
                mask = np.logical_and(mask, causal_mask(t))
        elif self.causal:
            mask = causal_mask(t)
        y = plain_attention(*parts, mask, self.attn_dropout)
        return y.permute(0, 2, 1, 3).reshape(b, t, c)
