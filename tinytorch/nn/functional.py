"""`nn.functional`: layers and losses as functions. `import tinytorch.nn.functional as F`."""

from __future__ import annotations

from typing import Any

from tinytorch import layers as L
from tinytorch.activations import log_softmax as _log_softmax
from tinytorch.activations import sigmoid, tanh
from tinytorch.activations import softmax as _softmax
from tinytorch.base.words import all_in_words
from tinytorch.nn.activations import (
    celu,
    elu,
    gelu,
    glu,
    gumbel_softmax,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    silu,
    softmin,
    softplus,
    softsign,
    tanhshrink,
)
from tinytorch.nn.attention import scaled_dot_product_attention
from tinytorch.nn.conv import conv1d, conv2d, conv_transpose1d, conv_transpose2d, pad
from tinytorch.nn.lookup import (
    bilinear,
    cosine_similarity,
    dropout,
    dropout2d,
    embedding,
    normalize,
    one_hot,
    pairwise_distance,
)
from tinytorch.nn.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cross_entropy,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    nll_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    triplet_margin_loss,
)
from tinytorch.nn.norms import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from tinytorch.nn.pools import (
    adaptive_avg_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)
from tinytorch.nn.resizing import interpolate, pixel_shuffle
from tinytorch.spatial import adaptive_avg_pool2d
from tinytorch.tensor import Tensor, apply


def softmax(input: Tensor, dim: int = -1, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Return e^x_i / sum_j e^x_j along `dim`, the last dimension by default."""
    return _softmax(input if dtype is None else input.to(dtype), dim)


def log_softmax(input: Tensor, dim: int = -1, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Return x_i - log sum_j e^x_j along `dim`, the last dimension by default."""
    return _log_softmax(input if dtype is None else input.to(dtype), dim)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b."""
    return apply(L.linear, input, weight) if bias is None else apply(L.linear, input, weight, bias)


__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout2d",
    "elu",
    "embedding",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "softsign",
    "tanh",
    "tanhshrink",
    "triplet_margin_loss",
]

all_in_words(globals(), "tinytorch.nn.functional")
