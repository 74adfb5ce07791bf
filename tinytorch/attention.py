"""Module 13: attention. Each position reads from the others, mostly from those whose keys match its query.

    y_i = sum_j softmax_j(q_i . k_j / sqrt(D)) v_j

`plain_attention` shows the idea, in ops that module 06 already differentiates. `packed_attention` and
`scaled_dot_product_attention` compute the same as one op (`arrays.attention`), in a little more than half the time.

Shapes: B samples, H heads, T positions, D width of a head; C = H x D. A mask is True where a query may read a key.
Masks are exact for finite values. A weight of 0 times NaN is NaN, so a NaN at a later position reaches earlier outputs.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.activations import softmax
from tinytorch.arrays import attention as fused
from tinytorch.autograd import joint_derivative
from tinytorch.base.dtypes import lowest
from tinytorch.base.errors import SettingError
from tinytorch.base.numbers import python_number
from tinytorch.layers import Dropout, Linear, Module
from tinytorch.tensor import Array, Op, Tensor, apply, where


def causal_mask(length: int) -> Array:
    """Return a mask (T, T) of bool, True at [i, j] where j <= i: position i may read itself and earlier positions."""
    if length < 0:
        raise SettingError(f"causal_mask: length {length}: expected at least 0")
    return np.tril(np.ones((length, length), bool))


def padding_mask(lengths: Array, length: int) -> Array:
    """Return a mask (B, 1, 1, T) of bool, True for the first lengths[b] positions of sample b. The rest is padding."""
    return np.arange(length) < np.asarray(lengths)[:, None, None, None]


# The idea, in plain ops -----------------------------------------------------------------------------


def plain_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Array | None = None, dropout: Dropout | None = None
) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v, computed with ops that module 06 differentiates.

    The softmax is over the keys. A score that the mask excludes becomes the lowest finite number of its dtype
    (`lowest`) before the softmax, and its weight becomes exactly 0 after it. A query that may not read any key
    therefore gets zeros, not NaN.

    Args:
        q, k, v: (B, H, T, D), and so is the result.
        mask: booleans that broadcast to (B, H, T, T), True where a query may read a key; `fused.spread_mask` broadcasts
            them, and raises an error for any other mask.
        dropout: applied to the weights.
    """
    scores = q @ k.transpose(-1, -2) * (1 / math.sqrt(q.shape[-1]))  # (B, H, T, T)
    if mask is not None:
        mask = fused.spread_mask(mask, scores.shape)
        scores = where(mask, scores, lowest(scores.dtype))  # with -inf, a fully masked row would become NaN
    weights = softmax(scores)
    if mask is not None:
        weights = where(mask, weights, 0.0)
    if dropout is not None:
        weights = dropout(weights)
    return weights @ v  # (B, H, T, D)


# The same as one op ---------------------------------------------------------------------------------


sdpa = Op("scaled_dot_product_attention", fused.sdpa)
packed_attention = Op("packed_attention", fused.packed)
joint_derivative(sdpa, fused.sdpa_back)
joint_derivative(packed_attention, fused.packed_back)


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Array | None = None, is_causal: bool = False
) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v, (..., Tq, D).

    Args:
        query: (..., Tq, D). key, value: (..., Tk, D).
        attn_mask: booleans that broadcast to (..., Tq, Tk), True where a query may read a key. A query that may not
            read any key gets zeros.
        is_causal: query i may read keys 0 to i only. Requires Tq = Tk.

    Raises:
        ShapeError: the shapes do not match.

    Source: Vaswani et al. 2017, section 3.2.1, https://arxiv.org/abs/1706.03762. PyTorch's function has the same name.
    """
    return apply(sdpa, query, key, value, causal=is_causal, mask=attn_mask)


class MultiHeadAttention(Module):
    """Self-attention with several parallel heads, each on its own part of the width.

    Weights are named as in GPT-2 and nanoGPT: `c_attn` (3 C, C) computes queries, keys, and values in one product, with
    its rows in this order, and `c_proj` (C, C) mixes the results of the heads. In PyTorch's `nn.MultiheadAttention`,
    these two weights are called `in_proj_weight` and `out_proj.weight`.

    Args:
        n_embd: the width C. n_head: the number of heads, which must divide C.
        causal: position i may read positions 0 to i only.
        dropout: the probability of dropout in training, for the attention weights and for the result.

    Attributes:
        c_attn, c_proj: Linear, with or without a bias. attn_dropout, resid_dropout: Dropout, for the attention weights
            and for the result.
    """

    def __init__(self, n_embd: int, n_head: int, causal: bool = True, dropout: float = 0.0, bias: bool = True) -> None:
        n_embd, n_head = python_number(n_embd), python_number(n_head)
        if n_head < 1 or n_embd % n_head:
            raise SettingError(f"MultiHeadAttention: width {n_embd}, {n_head} heads: "
                               f"expected a width divisible by the number of heads")  # fmt: skip
        self.n_head, self.causal = n_head, causal
        self.c_attn = Linear(n_embd, 3 * n_embd, bias)
        self.c_proj = Linear(n_embd, n_embd, bias)
        self.attn_dropout = Dropout(dropout)
        self.resid_dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Array | None = None) -> Tensor:
        """Map x (B, T, C) to (B, T, C). `mask` broadcasts to (B, H, T, T); see `padding_mask`."""
        qkv = self.c_attn(x)  # (B, T, 3 C)
        if self.training and self.attn_dropout.p:
            y = self._attend(qkv, mask)
        else:
            y = apply(packed_attention, qkv, n_head=self.n_head, causal=self.causal, mask=mask)
        return self.resid_dropout(self.c_proj(y))

    def weights(self, x: Tensor) -> Array:
        """Return the attention weights for inspection: (B, H, T, T), where each row sums to 1."""
        q, k, _ = fused.heads(self.c_attn(x).data, self.n_head)
        e, scale = fused.exponentials(q, k, self.causal, None)
        return e.swapaxes(-1, -2) * scale

    def _attend(self, qkv: Tensor, mask: Array | None) -> Tensor:
        """Return the results of all heads side by side, (B, T, C), by `plain_attention` with `attn_dropout`.

        Args:
            qkv: the output of c_attn, (B, T, 3 C). The last dimension holds the queries of head 0, of head 1, ..., then
                the keys of all heads, then the values: it is 3 x H x D, with C = H x D.
            mask: booleans that broadcast to (B, H, T, T), or None. If `causal`, a query also may not read later keys.
        """
        b, t, width = qkv.shape
        heads = qkv.reshape(b, t, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        if mask is not None:
            mask = fused.spread_mask(mask, (b, self.n_head, t, t))
        if self.causal:
            mask = causal_mask(t) if mask is None else mask & causal_mask(t)
        y = plain_attention(heads[0], heads[1], heads[2], mask, self.attn_dropout)  # (B, H, T, D)
        return y.permute(0, 2, 1, 3).reshape(b, t, width // 3)
