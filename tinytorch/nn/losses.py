"""Losses with PyTorch's settings: weights, ignored targets, soft targets, and reductions.

`reduction` is "mean", "sum", or "none". The course's losses are the plain cases, which run unchanged.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch import activations as A
from tinytorch import losses as L
from tinytorch.autograd import derivative
from tinytorch.base.errors import InputTypeError, SettingError, ShapeError
from tinytorch.base.words import described
from tinytorch.layers import Module
from tinytorch.nn.activations import softplus
from tinytorch.ops.reductions import norm as vector_norm
from tinytorch.tensor import Array, Op, Tensor, apply, is_floating, where

IGNORED = -100


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """Return the mean or the sum of the elements, or all of them.

    Raises:
        SettingError: the reduction is none of these.
    """
    if reduction not in ("mean", "sum", "none"):
        raise SettingError(f"reduction {reduction!r}: expected 'mean', 'sum', or 'none'")
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


def _pair(name: str, x: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Return both as tensors of x's dtype.

    Raises:
        ShapeError: their shapes differ.
    """
    target = target if isinstance(target, Tensor) else Tensor(target)
    if x.shape != target.shape:
        raise ShapeError(f"{name}: shapes {x.shape} and {target.shape} differ; expected the same")
    return x, target if target.dtype == x.dtype else target.to(x.dtype)


# Classes ------------------------------------------------------------------------------------------------


def cross_entropy(
    input: Tensor,
    target: Any,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = IGNORED,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return -sum_c q_c log softmax(input)_c, with the classes in dimension 1 (or 0, if there is only one).

    Args:
        input: logits, (N, C, ...) or (C,).
        target: class indices, (N, ...) or (), or probabilities q in the input's shape.
        weight: a factor for each class, (C,). The mean is then divided by the sum of the targets' weights.
        ignore_index: targets with this index do not count.
        label_smoothing: q = (1 - s) one-hot + s / C.
    """
    target = target if isinstance(target, Tensor) else Tensor(target)
    plain = weight is None and reduction == "mean" and input.ndim == 2 and not is_floating(target.dtype)
    if plain and target.ndim == 1 and not (target.data == ignore_index).any():
        return L.cross_entropy(input, target, label_smoothing)
    log_p = A.log_softmax(input, 0 if input.ndim == 1 else 1)
    if is_floating(target.dtype):
        return _soft(log_p, target, weight, reduction, label_smoothing)
    return _picked(log_p, target, weight, ignore_index, reduction, label_smoothing)


def nll_loss(
    input: Tensor,
    target: Any,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = IGNORED,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return -input[target], for log-probabilities (N, C, ...) or (C,): `cross_entropy` without the softmax."""
    return _picked(
        input, target if isinstance(target, Tensor) else Tensor(target), weight, ignore_index, reduction, 0.0
    )


def _factors(weight: Tensor | None, classes: int, dtype: Any) -> Array:
    if weight is None:
        return np.ones(classes, dtype)
    if not isinstance(weight, Tensor):
        raise InputTypeError(f"cross_entropy: weight is {described(weight)}: expected a Tensor of shape ({classes},)")
    if weight.shape != (classes,):
        raise ShapeError(f"cross_entropy: weight of shape {weight.shape}: expected ({classes},), one per class")
    return weight.data.astype(dtype, copy=False)


def _soft(log_p: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float) -> Tensor:
    if target.shape != log_p.shape:
        raise ShapeError(f"cross_entropy: logits of shape {log_p.shape} and probabilities of shape {target.shape}: "
                         f"expected the same, or integer class indices")  # fmt: skip
    dim = 0 if log_p.ndim == 1 else 1
    classes = log_p.shape[dim]
    factors = _factors(weight, classes, log_p.dtype).reshape((-1,) + (1,) * (log_p.ndim - dim - 1))
    q = target if not smoothing else target * (1 - smoothing) + smoothing / classes
    loss = -(q * log_p * factors).sum(dim)
    return loss.sum() / max(1, loss.numel()) if reduction == "mean" else reduced(loss, reduction)


def _picked(
    log_p: Tensor, target: Tensor, weight: Tensor | None, ignored: int, reduction: str, smoothing: float
) -> Tensor:
    dim = 0 if log_p.ndim == 1 else 1
    classes = log_p.shape[dim] if log_p.ndim else 0
    expected = log_p.shape[:dim] + log_p.shape[dim + 1 :]
    if is_floating(target.dtype) or target.dtype == bool:
        raise SettingError(f"cross_entropy: targets of dtype {target.dtype}: expected integer class indices")
    if target.shape != expected:
        raise ShapeError(f"cross_entropy: input of shape {log_p.shape} and targets of shape {target.shape}: "
                         f"expected targets {expected}")  # fmt: skip
    chosen = target.data.astype(np.int64)
    counted = chosen != ignored
    safe = np.where(counted, chosen, 0)
    if safe.size and not 0 <= safe.min() <= safe.max() < classes:
        raise ShapeError(f"cross_entropy: targets from {safe.min()} to {safe.max()}: "
                         f"expected 0 to {classes - 1} for {classes} classes, or {ignored}")  # fmt: skip
    factors = _factors(weight, classes, log_p.dtype)
    own = factors[safe] * counted  # the weight of each target
    if log_p.ndim > 2:
        log_p = log_p.permute(0, *range(2, log_p.ndim), 1)
    loss = where(counted, -log_p[(*np.indices(safe.shape), safe)] * own, 0.0)
    if smoothing:
        spread = where(counted, -(log_p * factors).sum(-1), 0.0)
        loss = loss * (1 - smoothing) + spread * (smoothing / classes)
    if reduction != "mean":
        return reduced(loss, reduction)
    with np.errstate(invalid="ignore"):  # all targets ignored: NaN, as in PyTorch
        return loss.sum() / own.sum(dtype=log_p.dtype)


# Probabilities ------------------------------------------------------------------------------------------


def _bce(x: Array, target: Array) -> Array:
    if x.size and not 0 <= x.min() <= x.max() <= 1:
        raise SettingError(f"binary_cross_entropy: probabilities from {x.min():.4g} to {x.max():.4g}: expected 0 to 1; "
                           f"for logits use binary_cross_entropy_with_logits")  # fmt: skip
    with np.errstate(divide="ignore"):
        return -(target * np.maximum(np.log(x), -100) + (1 - target) * np.maximum(np.log1p(-x), -100))


bce_ = Op("binary_cross_entropy", _bce)
derivative(
    bce_,
    lambda g, y, x, t: g * (x - t) / np.maximum(x * (1 - x), 1e-12),
    lambda g, y, x, t: g * (np.maximum(np.log1p(-x), -100) - np.maximum(np.log(x), -100)),
)


def binary_cross_entropy(input: Tensor, target: Any, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """Return -(t log x + (1 - t) log(1 - x)) for probabilities x, with logarithms of at least -100."""
    x, t = _pair("binary_cross_entropy", input, target)
    loss = apply(bce_, x, t)
    return reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Any,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the binary cross-entropy of sigmoid(input), without overflow; pos_weight is a factor where t is 1."""
    if weight is None and pos_weight is None and reduction == "mean":
        return L.binary_cross_entropy_with_logits(input, target)
    x, t = _pair("binary_cross_entropy_with_logits", input, target)
    positive = t if pos_weight is None else t * pos_weight
    loss = (1 - t) * x + (positive + 1 - t) * softplus(-x, threshold=math.inf)
    return reduced(loss if weight is None else loss * weight, reduction)


def kl_div(input: Tensor, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Return t (log t - input) for log-probabilities `input`, 0 where t is 0; "batchmean" divides by the first size."""
    x, t = _pair("kl_div", input, target)
    if log_target:
        loss = t.exp() * (t - x)
    else:
        safe = where(t.data > 0, t, 1.0)
        loss = where(t.data > 0, t * safe.log(), 0.0) - t * x
    return loss.sum() / x.shape[0] if reduction == "batchmean" else reduced(loss, reduction)


def gaussian_nll_loss(input: Tensor, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
                      reduction: str = "mean") -> Tensor:  # fmt: skip
    """Return (log var + (input - t)^2 / var) / 2, with var of at least eps."""
    x, t = _pair("gaussian_nll_loss", input, target)
    spread = (var if isinstance(var, Tensor) else Tensor(var)).clamp(eps)
    loss = (spread.log() + (x - t) ** 2 / spread) * 0.5
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def poisson_nll_loss(input: Tensor, target: Any, log_input: bool = True, reduction: str = "mean") -> Tensor:
    """Return e^input - t input, or input - t log(input) without log_input."""
    x, t = _pair("poisson_nll_loss", input, target)
    return reduced(x.exp() - t * x if log_input else x - t * (x + 1e-8).log(), reduction)


# Distances ----------------------------------------------------------------------------------------------


def mse_loss(
    input: Tensor, target: Any, size_average: None = None, reduce: None = None, reduction: str = "mean"
) -> Tensor:
    """Return (input - target)^2."""
    if reduction == "mean":
        return L.mse_loss(input, target)
    x, t = _pair("mse_loss", input, target)
    return reduced((x - t) ** 2, reduction)


def l1_loss(input: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Return |input - target|."""
    x, t = _pair("l1_loss", input, target)
    return reduced((x - t).abs(), reduction)


def huber_loss(input: Tensor, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Return d^2 / 2 where |d| is at most delta, and delta (|d| - delta / 2) elsewhere, for d = input - target."""
    x, t = _pair("huber_loss", input, target)
    d = (x - t).abs()
    inside = d.clamp(max=delta)  # without a choice of two results: infinity times a gradient of 0 is NaN
    return reduced(inside * inside * 0.5 + where(d.data > delta, d - delta, 0.0) * delta, reduction)


def smooth_l1_loss(input: Tensor, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Return `huber_loss` with delta = beta, divided by beta."""
    if beta == 0:
        return l1_loss(input, target, reduction)
    return huber_loss(input, target, reduction, beta) / beta


def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Any, margin: float = 0.0,
                        reduction: str = "mean") -> Tensor:  # fmt: skip
    """Return max(0, -t (input1 - input2) + margin), for t of 1 or -1."""
    return reduced((-(input1 - input2) * target + margin).clamp(0), reduction)


def hinge_embedding_loss(input: Tensor, target: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """Return input where the target is 1, and max(0, margin - input) where it is -1."""
    x, t = _pair("hinge_embedding_loss", input, target)
    return reduced(where(t.data == 1, x, (margin - x).clamp(0)), reduction)


def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Any, margin: float = 0.0,
                          reduction: str = "mean") -> Tensor:  # fmt: skip
    """Return 1 - cos where the target is 1, and max(0, cos - margin) where it is -1."""
    t = (target if isinstance(target, Tensor) else Tensor(target)).data
    eps = 1e-12
    squares = ((input1 * input1).sum(-1) + eps) * ((input2 * input2).sum(-1) + eps)
    cosine = (input1 * input2).sum(-1) / squares.sqrt()
    return reduced(where(t == 1, 1 - cosine, (cosine - margin).clamp(0)), reduction)


def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0,
                        eps: float = 1e-6, swap: bool = False, reduction: str = "mean") -> Tensor:  # fmt: skip
    """Return max(0, |anchor - positive| - |anchor - negative| + margin)."""
    near, far = (vector_norm(anchor - other + eps, p, -1) for other in (positive, negative))
    if swap:
        far = far.minimum(vector_norm(positive - negative + eps, p, -1))
    return reduced((near - far + margin).clamp(0), reduction)


# Modules ------------------------------------------------------------------------------------------------


class _Loss(Module):
    """A loss as a module: its settings are attributes, and are passed by name."""

    function: Any
    settings: dict[str, Any] = {}  # noqa: RUF012 (each class has its own, and none is changed)

    def __init__(self, *given: Any, **named: Any) -> None:
        names = list(self.settings)
        unknown = named.keys() - self.settings.keys()
        if unknown or len(given) > len(names):
            raise SettingError(
                f"{type(self).__name__}: {', '.join(sorted(unknown)) or given}: expected {', '.join(names)}"
            )
        for name, value in (self.settings | dict(zip(names, given, strict=False)) | named).items():
            setattr(self, name, value)
        if self.settings.get("reduction") and self.reduction not in ("mean", "sum", "none", "batchmean"):
            raise SettingError(
                f"{type(self).__name__}: reduction {self.reduction!r}: expected 'mean', 'sum', or 'none'"
            )

    def forward(self, *inputs: Any) -> Tensor:
        return type(self).function(*inputs, **{name: getattr(self, name) for name in self.settings})


def _loss(name: str, function: Any, bases: tuple[type, ...] = (), **settings: Any) -> Any:
    content = {"function": staticmethod(function), "settings": settings, "__module__": __name__,
               "__doc__": f"`{function.__name__}` as a module."}  # fmt: skip
    kind: Any = type(Module)
    return kind(name, (_Loss, *bases), content)


CrossEntropyLoss = _loss(
    "CrossEntropyLoss", cross_entropy, (L.CrossEntropyLoss,),
    weight=None, size_average=None, ignore_index=IGNORED, reduce=None, reduction="mean", label_smoothing=0.0,
)  # fmt: skip
NLLLoss = _loss(
    "NLLLoss", nll_loss, weight=None, size_average=None, ignore_index=IGNORED, reduce=None, reduction="mean"
)
BCELoss = _loss("BCELoss", binary_cross_entropy, weight=None, reduction="mean")
BCEWithLogitsLoss = _loss(
    "BCEWithLogitsLoss", binary_cross_entropy_with_logits, (L.BCEWithLogitsLoss,),
    weight=None, reduction="mean", pos_weight=None,
)  # fmt: skip
MSELoss = _loss("MSELoss", mse_loss, (L.MSELoss,), size_average=None, reduce=None, reduction="mean")
L1Loss = _loss("L1Loss", l1_loss, reduction="mean")
SmoothL1Loss = _loss("SmoothL1Loss", smooth_l1_loss, reduction="mean", beta=1.0)
HuberLoss = _loss("HuberLoss", huber_loss, reduction="mean", delta=1.0)
KLDivLoss = _loss("KLDivLoss", kl_div, reduction="mean", log_target=False)
GaussianNLLLoss = _loss("GaussianNLLLoss", gaussian_nll_loss, full=False, eps=1e-6, reduction="mean")
PoissonNLLLoss = _loss("PoissonNLLLoss", poisson_nll_loss, log_input=True, reduction="mean")
MarginRankingLoss = _loss("MarginRankingLoss", margin_ranking_loss, margin=0.0, reduction="mean")
HingeEmbeddingLoss = _loss("HingeEmbeddingLoss", hinge_embedding_loss, margin=1.0, reduction="mean")
CosineEmbeddingLoss = _loss("CosineEmbeddingLoss", cosine_embedding_loss, margin=0.0, reduction="mean")
TripletMarginLoss = _loss(
    "TripletMarginLoss", triplet_margin_loss, margin=1.0, p=2.0, eps=1e-6, swap=False, reduction="mean"
)
