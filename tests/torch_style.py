"""Expressions in PyTorch's style, with the inputs that they use.

tests/ops and tests/nn check each one's gradient against central differences; tests/parity evaluates each one with
PyTorch, too, and compares values and gradients. `torch` and `F` are either framework.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

import tinytorch
import tinytorch.nn.functional as functional
from tinytorch.tensor import Array, Tensor

RANDOM = np.random.default_rng(7)


def _normal(*shape: int) -> Array:
    return RANDOM.standard_normal(shape)


# Differentiable inputs, by the name that the expressions use
INPUTS: dict[str, Array] = {
    "x": _normal(3, 4),
    "y": _normal(3, 4),
    "p": np.abs(_normal(3, 4)) + 0.5,  # positive
    "u": RANDOM.uniform(0.05, 0.95, (3, 4)),  # between 0 and 1
    "v": _normal(4),
    "w": _normal(4),
    "a": _normal(2, 3, 4),
    "b": _normal(2, 4, 3),
    "m": _normal(4, 4),
    "c": _normal(2, 4, 5, 6),  # images
    "s": _normal(2, 4, 7),  # sequences
    "k": _normal(4, 3, 3, 2) * 0.5,  # a transposed convolution's kernel for c
    "kg": _normal(4, 2, 3, 3) * 0.5,  # with 2 groups
    "ks": _normal(6, 4, 3) * 0.5,  # a kernel for s
    "kt": _normal(4, 5, 3) * 0.5,  # a transposed one
    "f": _normal(6, 4, 3, 2) * 0.5,  # a kernel for c
    "g6": _normal(6),
    "g4": _normal(4),
}
CONSTANTS: dict[str, Array] = {
    "i": np.array([[0, 2], [1, 1], [3, 0]]),
    "j": np.array([2, 0, 2]),
    "rows": np.array([[0, 1, 2, 0], [2, 2, 0, 1]]),
    "t": np.array([1, 3, 0]),
    "t2": np.array([[0, 1, 2, 3, 0, 1, 2], [3, 3, -100, 0, 0, 1, 1]]),
    "mask": RANDOM.random((3, 4)) < 0.4,
    "bits": RANDOM.integers(0, 2, (3, 4)).astype(float),
    "signs": np.array([1.0, -1.0, 1.0]),
    "hinge": np.where(RANDOM.random((3, 4)) < 0.5, 1.0, -1.0),
    "q": np.abs(_normal(3, 4)),
    "cw": np.array([0.5, 2.0, 1.0, 1.5]),
    "am": np.where(RANDOM.random((3, 3)) < 0.3, -np.inf, RANDOM.standard_normal((3, 3))),
}
CONSTANTS["q"] = CONSTANTS["q"] / CONSTANTS["q"].sum(1, keepdims=True)
CONSTANTS["mask"][:, 1] = False  # no row is masked completely
CONSTANTS["am"][np.arange(3), np.arange(3)] = 0.5


def names_in(expression: str, known: dict[str, Array]) -> list[str]:
    """Return the inputs that an expression uses, in a fixed order."""
    code = compile(expression, "<expression>", "eval")
    stack, used = [code], set()
    while stack:
        one = stack.pop()
        used |= set(one.co_names)
        stack += [c for c in one.co_consts if hasattr(c, "co_names")]
    return [name for name in known if name in used]


def evaluate(expression: str, values: dict[str, Any], torch: ModuleType, F: Any) -> list[Any]:
    """Return the results of an expression, as a list even if there is one."""
    found = eval(expression, {"torch": torch, "F": F, "np": np, **values})
    return list(found) if isinstance(found, tuple | list) else [found]


def check_gradients(expression: str, tolerance: float = 1e-6) -> None:
    """Check the gradients of an expression against central differences in float64."""
    names = names_in(expression, INPUTS)
    constants = {name: Tensor(CONSTANTS[name]) for name in names_in(expression, CONSTANTS)}

    def function(*tensors: Tensor) -> Tensor:
        given = {**dict(zip(names, tensors, strict=True)), **constants}
        parts = [part for part in evaluate(expression, given, tinytorch, functional) if part.dtype == np.float64]
        return tinytorch.cat([part.reshape(-1) for part in parts])

    tinytorch.check_grads(function, *(INPUTS[name] for name in names), tolerance=tolerance)


ELEMENTWISE = """
torch.sin(x)
x.cos()
torch.tan(x)
torch.asin(u)
u.acos()
x.atan()
torch.sinh(x)
torch.cosh(x)
x.tanh()
x.exp()
torch.exp2(x)
torch.expm1(x)
p.log()
torch.log2(p)
p.log10()
torch.log1p(p)
p.sqrt()
torch.rsqrt(p)
p.reciprocal()
torch.square(x)
torch.erf(x)
torch.erf(x * 0.03)
torch.erfc(x * 3)
torch.sigmoid(x)
torch.relu(x)
x.abs()
torch.neg(x)
x.softmax(1)
x.log_softmax(dim=0)
torch.sign(x) * x
x.floor() + x
torch.ceil(x) * x
torch.round(x) * x
torch.trunc(x) * x
torch.frac(x)
torch.minimum(x, y)
torch.maximum(x, y)
torch.atan2(x, p)
torch.logaddexp(x, y)
torch.remainder(x, 0.7)
x % 0.7
torch.fmod(x, 0.7)
torch.pow(p, 2.5)
p ** y
2 ** x
torch.pow(p, y)
x ** 3
torch.add(x, y, alpha=2)
x.sub(y, alpha=0.5)
torch.mul(x, y)
x.div(p)
torch.lerp(x, y, 0.3)
torch.addcmul(x, y, p, value=0.5)
torch.addcdiv(x, y, p, value=0.5)
torch.clamp(x, -0.5, 0.5)
x.clamp(min=0)
x.clamp(max=0.3)
x.clamp_min(0.1)
torch.clamp(x, min=y)
x.type(torch.float64) * 2
x.to(torch.float64)
x.double()
1 - x
1 / p
x / 2
-x
"""
SHAPES = """
x.view(2, 6)
x.view(-1)
a.view(6, -1)
a.contiguous()
a.transpose(1, 2).contiguous()
x.clone()
x.flatten()
a.flatten(1)
a.flatten(0, 1)
torch.flatten(a, 1, 2)
a.unflatten(2, (2, 2))
x.expand(2, -1, -1)
v.expand(3, -1)
v.expand_as(x)
x.unsqueeze(0).squeeze()
x.unsqueeze(-1).squeeze(-1)
torch.squeeze(x.reshape(3, 1, 4))
a.permute(2, 0, 1)
torch.permute(a, (1, 2, 0))
a.transpose(0, 2)
x.t()
x.T
a.mT
a.movedim(0, -1)
torch.movedim(a, (0, 1), (1, 2))
a.swapaxes(0, 1)
x.narrow(1, 1, 2)
x.select(0, 1)
x.split(2, dim=1)
x.split([1, 3], 1)
torch.chunk(x, 3, dim=1)
a.chunk(2)
torch.tensor_split(v, 3)
x.unbind(1)
x.repeat(2, 3)
v.repeat(3, 1)
x.tile(2)
torch.repeat_interleave(x, 2, dim=1)
torch.flip(x, (0, 1))
x.roll(1, 0)
torch.roll(x, (1, 2), (0, 1))
x.roll(3)
s.unfold(2, 3, 2)
torch.tril(x)
m.triu(1)
torch.diagonal(m)
m.diagonal(1)
torch.diag(v)
torch.diag(m)
torch.cat([x, y], dim=1)
torch.stack([x, y], 1)
torch.hstack([x, y])
torch.vstack([v, x])
torch.concat([x, x], 1)
torch.concatenate([x, x])
torch.meshgrid(v, w, indexing="ij")
x[1:, [0, 2]]
x[:, None]
x[..., -1]
x[mask]
x.view(3, 4).size(1) * x
"""
REDUCTIONS = """
x.sum()
x.sum(dim=1)
x.sum(axis=0, keepdims=True)
x.sum((0, 1))
torch.sum(x, 1, keepdim=True)
x.mean()
torch.mean(a, dim=(1, 2))
x.var()
x.var(dim=1, unbiased=False)
x.std()
x.std(dim=0)
x.std(axis=1)
x.cumsum(axis=1)
x.amax(axis=0, keepdims=True)
torch.logsumexp(x, axis=1, keepdims=True)
torch.std(x, dim=1, keepdim=True)
x.norm()
x.norm(dim=1)
torch.norm(x, p=1, dim=0)
x.norm(3, 1)
x.norm(float("inf"))
x.amax(1)
x.amin(dim=(0, 1))
torch.logsumexp(x, 1)
x.prod(1)
x.prod()
x.cumsum(1)
torch.cumsum(x, dim=0)
x.cumprod(1)
x.sort(dim=1).values
torch.sort(x, 0, descending=True)
x.topk(2)
x.topk(2, dim=0, largest=False)
x.kthvalue(2, 1)
x.median()
x.median(1)
x.max()
x.min()
x.argmax(1) * x.sum()
x.argmin(dim=0, keepdim=True) * x.sum()
torch.argsort(x, 1) * x
(x > 0).sum() * x
"""
INDEXING = """
x.gather(1, i)
torch.gather(x, 0, rows)
torch.take_along_dim(x, i, 1)
torch.index_select(x, 0, j)
x.index_select(1, t)
x.take(j)
x.masked_fill(mask, 0.5)
x.masked_fill(mask, float("-inf")).softmax(1)
torch.masked_select(x, mask)
torch.where(mask, x, y)
torch.where(x > 0, x, 0.1)
x.where(mask, y)
x.scatter(1, i[:, :1], y[:, :1])
x.scatter_add(1, i, y[:, :2])
x.index_add(0, j, y)
x.index_fill(1, t, 2.0)
"""
PRODUCTS = """
x @ m
torch.matmul(a, b)
torch.mm(x, m)
torch.bmm(a, b)
x.mv(v)
v.dot(w)
torch.outer(v, w)
torch.inner(x, y)
torch.addmm(g4, x, m, beta=0.5, alpha=2)
torch.baddbmm(a @ b, a, b)
torch.trace(m)
torch.cdist(x, y)
torch.einsum("ij,jk->ik", x, m)
torch.einsum("bij,bjk->bik", a, b)
torch.einsum("bij,bkj->bik", a, a)
torch.einsum("i,j->ij", v, w)
torch.einsum("ij->ji", x)
torch.einsum("ij->", x)
torch.einsum("ii->i", m)
torch.einsum("ii", m)
torch.einsum("...ij,...jk->...ik", a, b)
torch.einsum("bij,j", a, v)
torch.einsum("ij,ij->i", x, y)
torch.einsum("bqd,bdk,kq->bq", a, b, m[:3, :3])
"""
FUNCTIONAL = """
F.relu(x)
F.leaky_relu(x, 0.2)
F.elu(x, 0.7)
F.selu(x)
F.celu(x, 0.5)
F.gelu(x)
F.gelu(x * 3, approximate="tanh")
F.silu(x)
F.softplus(x)
F.softplus(x, 2.0)
F.mish(x)
F.hardtanh(x)
F.relu6(x * 5)
F.hardsigmoid(x)
F.hardswish(x)
F.softsign(x)
F.tanhshrink(x)
F.logsigmoid(x * 10)
F.softmin(x, dim=1)
F.softmax(x, dim=-1)
F.log_softmax(x, 0)
F.prelu(a, v[:3])
F.prelu(x, v[:1])
F.glu(x)
F.linear(x, m, v)
F.normalize(x)
F.cosine_similarity(x, y)
F.pairwise_distance(x, y)
F.pad(x, (1, 2))
F.pad(c, (1, 0, 2, 1), value=0.5)
F.pad(x, (-1, 1))
F.pad(c, (1, 2, 1, 1), mode="reflect")
F.pad(s, (2, 1), mode="replicate")
F.pad(s, (2, 1), mode="circular")
F.conv2d(c, f, g6, padding="same")
F.conv2d(c, f, stride=2, padding=1)
F.conv2d(c[0], f)
F.conv1d(s, ks, g6)
F.conv1d(s, ks, padding=2, stride=2, dilation=2)
F.conv1d(s, ks, padding="same")
F.conv_transpose2d(c, k)
F.conv_transpose2d(c, k, stride=2, padding=1, output_padding=1)
F.conv_transpose2d(c, k, stride=(2, 1), padding=(0, 1), dilation=(1, 2))
F.conv_transpose2d(c, kg, g4, stride=2, groups=2)
F.conv_transpose1d(s, kt, stride=2, padding=1)
F.max_pool1d(s, 2)
F.avg_pool1d(s, 3, stride=2, padding=1)
F.adaptive_avg_pool1d(s, 3)
F.adaptive_max_pool2d(c, (2, 3))
F.max_pool2d(c, 2)
F.interpolate(c, scale_factor=2)
F.interpolate(c, size=(7, 4), mode="nearest")
F.interpolate(c, scale_factor=2, mode="bilinear")
F.interpolate(c, size=(8, 9), mode="bilinear", align_corners=True)
F.interpolate(s, size=5, mode="linear")
F.interpolate(s, scale_factor=1.5, mode="linear", align_corners=False)
F.interpolate(c, size=(3, 2), mode="area")
F.pixel_shuffle(c, 2)
F.layer_norm(a, (4,), v, w)
F.layer_norm(a, (3, 4), x, y)
F.group_norm(c, 2, v, w)
F.group_norm(s, 4)
F.instance_norm(c)
F.rms_norm(x, (4,), v)
F.batch_norm(s, None, None, v, w, training=True)
F.batch_norm(x, None, None, training=True)
F.scaled_dot_product_attention(a, a, a)
F.scaled_dot_product_attention(a, a, a, attn_mask=am)
F.scaled_dot_product_attention(a, a, b.transpose(1, 2)[..., :2])
F.scaled_dot_product_attention(x, m, m, is_causal=True)
F.scaled_dot_product_attention(a, a, a, is_causal=True, scale=0.3)
F.embedding(i, m)
F.bilinear(x, y, s[:, :, :4], v[:2])
"""
NOT_THE_DERIVATIVE = """
F.embedding(i, m, padding_idx=1)
F.embedding(t, x.T, padding_idx=-1)
"""  # the padding's row gets no gradient, although the result depends on it
LOSSES = """
F.cross_entropy(x, t)
F.cross_entropy(x, t, reduction="sum")
F.cross_entropy(x, t, reduction="none")
F.cross_entropy(x, t, weight=cw)
F.cross_entropy(x, t, weight=cw, label_smoothing=0.1)
F.cross_entropy(x, t, label_smoothing=0.2)
F.cross_entropy(x, t, ignore_index=3)
F.cross_entropy(x, q)
F.cross_entropy(x, q, weight=cw, label_smoothing=0.1)
F.cross_entropy(x, q, reduction="none")
F.cross_entropy(s, t2)
F.cross_entropy(s, t2, weight=cw, reduction="sum")
F.cross_entropy(s, t2, weight=cw, label_smoothing=0.1)
F.cross_entropy(v, t[0])
F.nll_loss(F.log_softmax(x, 1), t)
F.nll_loss(F.log_softmax(s, 1), t2, weight=cw)
F.binary_cross_entropy(u, bits)
F.binary_cross_entropy(u, bits, weight=cw, reduction="sum")
F.binary_cross_entropy_with_logits(x, bits)
F.binary_cross_entropy_with_logits(x, bits, pos_weight=cw)
F.binary_cross_entropy_with_logits(x, bits, weight=cw, reduction="none")
F.mse_loss(x, y)
F.mse_loss(x, y, reduction="sum")
F.l1_loss(x, y)
F.smooth_l1_loss(x, y)
F.smooth_l1_loss(x, y, beta=0.4, reduction="none")
F.huber_loss(x, y, delta=0.7)
F.kl_div(F.log_softmax(x, 1), q, reduction="batchmean")
F.kl_div(F.log_softmax(x, 1), F.log_softmax(y, 1), reduction="sum", log_target=True)
F.gaussian_nll_loss(x, y, p)
F.gaussian_nll_loss(x, y, p, full=True, reduction="sum")
F.poisson_nll_loss(x, q)
F.margin_ranking_loss(x[:, 0], y[:, 0], signs, margin=0.5)
F.hinge_embedding_loss(x, hinge)
F.cosine_embedding_loss(x, y, signs, margin=0.1)
F.triplet_margin_loss(x, y, p)
F.triplet_margin_loss(x, y, p, margin=2.0, swap=True, reduction="none")
"""


def lines(text: str) -> list[str]:
    """Return the expressions of a table."""
    return text.strip().splitlines()
