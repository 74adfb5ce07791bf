"""Attention with PyTorch's settings, and the encoder of `nn.Transformer`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import attention as M
from tinytorch.activations import relu, softmax
from tinytorch.base.course import Longer
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.layers import Dropout, Linear, Module, Parameter
from tinytorch.nn.activations import gelu
from tinytorch.nn.containers import ModuleList
from tinytorch.nn.init import xavier_uniform_
from tinytorch.nn.norms import LayerNorm
from tinytorch.ops.common import raw
from tinytorch.tensor import Array, Tensor, is_floating, where


def _bias(mask: Any, dtype: Any) -> Tensor | Array | None:
    """Return what a mask adds to the scores: 0 where it is True and -inf elsewhere, or a float mask itself."""
    if mask is None:
        return None
    array = np.asarray(raw(mask))
    if array.dtype == bool:
        return np.where(array, 0, -np.inf).astype(dtype)
    if not is_floating(array.dtype):
        raise SettingError(f"attention: mask of dtype {array.dtype}: expected bool or floating point")
    return mask if isinstance(mask, Tensor) else array.astype(dtype)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(scale q k^T + mask) v, (..., Tq, Dv).

    Args:
        query: (..., Tq, D). key: (..., Tk, D). value: (..., Tk, Dv).
        attn_mask: booleans, True where a query may read a key, or numbers that are added to the scores.
        dropout_p: probability with which a weight is dropped; pass 0 in inference.
        is_causal: query i reads keys 0 to i only.
        scale: 1/sqrt(D) by default.
        enable_gqa: queries have more heads than keys and values, each of which serves several of them.
    """
    if attn_mask is not None and is_causal:
        raise SettingError("attention: expected attn_mask or is_causal, not both")
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    same = key.shape == value.shape and query.shape[:-2] == key.shape[:-2] and scale is None and not dropout_p
    boolean = attn_mask is None or np.asarray(raw(attn_mask)).dtype == bool
    if same and boolean and not (is_causal and query.shape[-2] != key.shape[-2]):
        mask = None if attn_mask is None else np.asarray(raw(attn_mask))
        return M.scaled_dot_product_attention(query, key, value, mask, is_causal)
    return weighted(query, key, value, attn_mask, dropout_p, is_causal, scale)[0]


def weighted(
    query: Tensor, key: Tensor, value: Tensor, mask: Any, dropout_p: float, is_causal: bool, scale: float | None
) -> tuple[Tensor, Tensor]:
    """Return the result of attention and its weights, composed of plain operations; 0 for a query without keys."""
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(f"attention: queries {query.shape}, keys {key.shape}, values {value.shape}: expected "
                         f"(..., Tq, D), (..., Tk, D), and (..., Tk, Dv)")  # fmt: skip
    scores = query @ key.transpose(-1, -2) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        mask = np.tril(np.ones(scores.shape[-2:], bool))
    added = _bias(mask, scores.dtype)
    if added is not None:
        scores = scores + added
        closed = np.isneginf(scores.data).all(axis=-1, keepdims=True)
        scores = where(closed, 0.0, scores)
        weights = where(closed, 0.0, softmax(scores))
    else:
        weights = softmax(scores)
    dropped = Dropout(dropout_p)(weights) if dropout_p else weights
    return dropped @ value, weights


class MultiheadAttention(Module, metaclass=Longer):
    """Attention with several heads, each on its own part of the width, with PyTorch's names and layouts.

    The course's `MultiHeadAttention` is faster, and reads only its own input.

    Args:
        embed_dim: the width E. num_heads: the number of heads, which must divide E.
        dropout: probability with which attention weights are dropped in training.
        batch_first: whether inputs are (B, T, E) instead of (T, B, E).
        kdim, vdim: the widths of keys and values, if they differ from E.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, batch_first: bool = False,
        kdim: int | None = None, vdim: int | None = None,
    ) -> None:  # fmt: skip
        if num_heads < 1 or embed_dim % num_heads:
            raise SettingError(f"MultiheadAttention: width {embed_dim}, {num_heads} heads: expected a multiple")
        if (kdim or embed_dim, vdim or embed_dim) != (embed_dim, embed_dim):
            raise SettingError(f"MultiheadAttention: kdim {kdim}, vdim {vdim}: expected the width {embed_dim}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = (
            embed_dim,
            num_heads,
            float(dropout),
            batch_first,
        )
        self.in_proj_weight = Parameter(np.empty((3 * embed_dim, embed_dim), np.float32))
        self.in_proj_bias = Parameter(np.zeros(3 * embed_dim, np.float32)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias)
        xavier_uniform_(self.in_proj_weight)
        if self.out_proj.bias is not None:
            self.out_proj.bias.data = np.zeros(embed_dim, np.float32)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Any = None, need_weights: bool = True,
        attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Return the result and the weights, (B, Tq, Tk).

        Boolean masks are True where a key may not be read, as in PyTorch: key_padding_mask (B, Tk) and attn_mask
        (Tq, Tk) or (B heads, Tq, Tk).
        """
        single = query.ndim == 2
        batches = [
            x.unsqueeze(0) if single else x if self.batch_first else x.transpose(0, 1) for x in (query, key, value)
        ]
        e, heads = self.embed_dim, self.num_heads
        split = []
        for i, x in enumerate(batches):
            part = slice(i * e, (i + 1) * e)
            y = x @ self.in_proj_weight[part].T
            y = y if self.in_proj_bias is None else y + self.in_proj_bias[part]
            split.append(y.reshape(x.shape[0], x.shape[1], heads, e // heads).transpose(1, 2))  # (B, H, T, D)
        mask = self._mask(attn_mask, key_padding_mask, split[0].shape, split[1].shape[-2])
        p = self.dropout if self.training else 0.0
        y, weights = weighted(split[0], split[1], split[2], mask, p, False, None)
        y = self.out_proj(y.transpose(1, 2).reshape(batches[0].shape))
        y = y.squeeze(0) if single else y if self.batch_first else y.transpose(0, 1)
        if not need_weights:
            return y, None
        weights = weights.mean(1) if average_attn_weights else weights
        return y, weights.squeeze(0) if single else weights

    def _mask(self, attn_mask: Any, padding: Any, shape: tuple[int, ...], keys: int) -> Array | None:
        """Return what both masks add to the scores (B, H, Tq, Tk)."""
        _, heads, tq, _ = shape
        total: Array | None = None
        for given, place in ((attn_mask, (-1, heads, tq, keys)), (padding, (-1, 1, 1, keys))):
            if given is None:
                continue
            array = np.asarray(raw(given))
            added = np.where(array, -np.inf, 0).astype(np.float32) if array.dtype == bool else array
            added = added.reshape(place) if added.ndim == 3 or place[1] == 1 else added
            total = added if total is None else total + added
        return total


def _need_mask(name: str, is_causal: bool, mask: Any) -> None:
    """Refuse what PyTorch refuses: `is_causal` says that the given mask is causal, and does not replace it."""
    if is_causal and mask is None:
        raise SettingError(f"{name}: is_causal without a mask: expected also the mask, "
                           f"nn.Transformer.generate_square_subsequent_mask(T)")  # fmt: skip


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": relu, "gelu": gelu}


class TransformerEncoderLayer(Module, metaclass=Longer):
    """Self-attention and two linear layers, each added to its input and normalized (before it with norm_first).

    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Any = "relu",
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
    ) -> None:  # fmt: skip
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            raise SettingError(
                f"TransformerEncoderLayer: activation {activation!r}: expected relu, gelu, or a function"
            )
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first)
        self.linear1, self.dropout = Linear(d_model, dim_feedforward, bias), Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.norm_first = norm_first
        self.norm1: Any = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2: Any = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)
        self.activation: Any = _ACTIVATIONS[activation] if isinstance(activation, str) else activation

    def forward(self, src: Tensor, src_mask: Any = None, src_key_padding_mask: Any = None,
                is_causal: bool = False) -> Tensor:  # fmt: skip
        """Map src (T, B, D), or (B, T, D) with batch_first, to the same shape."""
        _need_mask("TransformerEncoderLayer", is_causal, src_mask)

        def attend(x: Tensor) -> Tensor:
            y, _ = self.self_attn(x, x, x, src_key_padding_mask, False, src_mask)
            return self.dropout1(y)

        def think(x: Tensor) -> Tensor:
            return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))

        if self.norm_first:
            x = src + attend(self.norm1(src))
            return x + think(self.norm2(x))
        x = self.norm1(src + attend(src))
        return self.norm2(x + think(x))


class TransformerEncoder(Module):
    """Several copies of an encoder layer, one after the other, and optionally a last normalization."""

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None,
                 enable_nested_tensor: bool = True) -> None:  # fmt: skip
        self.layers = ModuleList(copy.deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm

    def forward(self, src: Tensor, mask: Any = None, src_key_padding_mask: Any = None,
                is_causal: bool | None = None) -> Tensor:  # fmt: skip
        """Map src to the same shape; masks as in the layer."""
        _need_mask("TransformerEncoder", bool(is_causal), mask)
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask)
        return src if self.norm is None else self.norm(src)


class Transformer(Module):
    """A namespace for `generate_square_subsequent_mask`; of nn.Transformer, only the encoder exists."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise SettingError(f"nn.{type(self).__name__} is not supported: TinyTorch has the encoder only; for a decoder, "
                           f"write a layer with two nn.MultiheadAttention, or use tinytorch.GPT")  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """Return (T, T): 0 where position i may read position j, that is j <= i, and -inf elsewhere."""
        return Tensor(np.triu(np.full((sz, sz), -np.inf, np.float32), 1))


class TransformerDecoderLayer(Transformer):
    """Refused with an explanation."""


class TransformerDecoder(Transformer):
    """Refused with an explanation."""
