"""Attention as one op: its values, its gradients, and the layer that uses it instead of the composition."""

from __future__ import annotations

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.attention import (
    MultiHeadAttention,
    causal_mask,
    packed_attention,
    padding_mask,
    plain_attention,
    scaled_dot_product_attention,
)
from tinytorch.autograd import check_grads
from tinytorch.base.errors import ShapeError
from tinytorch.tensor import Array, Tensor, apply

random = np.random.default_rng(0)
MASKS = {
    "none": None,
    "some": random.random((2, 1, 6, 6)) < 0.6,
    "padding": padding_mask(np.array([4, 6]), 6),
    "nothing": padding_mask(np.array([0, 6]), 6),
}


def heads(*shape: int, dtype: type = np.float64) -> tuple[Array, Array, Array]:
    return tuple(random.standard_normal(shape).astype(dtype) for _ in range(3))  # type: ignore[return-value]


def truth(q: Array, k: Array, v: Array, mask: Array | np.bool) -> Array:
    """Compute attention from its formula, one query at a time."""
    out = np.zeros(q.shape)
    for place in np.ndindex(q.shape[:-1]):
        scores = k[place[:-1]] @ q[place] / np.sqrt(q.shape[-1])
        seen = np.broadcast_to(mask, (*q.shape[:-1], k.shape[-2]))[place]
        if seen.any():
            weights = np.exp(scores[seen] - scores[seen].max())
            out[place] = weights / weights.sum() @ v[place[:-1]][seen]
    return out


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_values_match_the_formula(name: str, causal: bool) -> None:
    q, k, v = heads(2, 3, 6, 4)
    mask = MASKS[name]
    seen = (causal_mask(6) if causal else np.True_) & (np.True_ if mask is None else mask)
    y = scaled_dot_product_attention(Tensor(q), Tensor(k), Tensor(v), mask, causal)
    np.testing.assert_allclose(y.data, truth(q, k, v, seen), atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_gradients(name: str, causal: bool) -> None:
    check_grads(lambda q, k, v: scaled_dot_product_attention(q, k, v, MASKS[name], causal), *heads(2, 2, 6, 3))
    packed = random.standard_normal((2, 6, 12))
    check_grads(lambda x: apply(packed_attention, x, n_head=2, causal=causal, mask=MASKS[name]), packed)


def test_queries_and_keys_may_differ_in_number() -> None:
    q, k, v = random.standard_normal((2, 3, 4)), random.standard_normal((2, 7, 4)), random.standard_normal((2, 7, 4))
    y = scaled_dot_product_attention(Tensor(q), Tensor(k), Tensor(v))
    np.testing.assert_allclose(y.data, truth(q, k, v, np.True_), atol=1e-12)
    check_grads(scaled_dot_product_attention, q, k, v)


@pytest.mark.parametrize("length", [1, 2, 5, 16, 64])
def test_fused_op_equals_the_plain_composition(length: int) -> None:
    q, k, v = heads(2, 3, length, 8)
    fused = scaled_dot_product_attention(Tensor(q), Tensor(k), Tensor(v), is_causal=True)
    plain = plain_attention(Tensor(q), Tensor(k), Tensor(v), causal_mask(length))
    np.testing.assert_allclose(fused.data, plain.data, atol=1e-12)


def test_huge_scores_do_not_overflow() -> None:
    q, k, v = heads(1, 1, 6, 4, dtype=np.float32)
    y = scaled_dot_product_attention(Tensor(q * 1e4), Tensor(k * 1e4), Tensor(v), is_causal=True)
    assert np.isfinite(y.data).all()
    np.testing.assert_array_equal(y.data[..., 0, :], v[..., 0, :])  # the first position sees only itself


def test_no_gradient_flows_to_masked_positions() -> None:
    x = Tensor(random.standard_normal((1, 6, 12)), requires_grad=True)
    apply(packed_attention, x, n_head=2, causal=True, mask=None)[:, 2].sum().backward()
    assert x.grad is not None
    assert (x.grad.data[:, 3:] == 0).all()
    assert (x.grad.data[:, :3] != 0).any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_dropout_without_dropping_equals_the_fused_op(name: str, causal: bool) -> None:
    layer = MultiHeadAttention(16, 2, causal, dropout=1e-30)  # drops nothing, but uses the plain implementation
    x, g = random.standard_normal((2, 6, 16)).astype(np.float32), random.standard_normal((2, 6, 16))
    ways = []
    for training in (True, False):
        leaf = Tensor(x, requires_grad=True)
        y = layer.train(training)(leaf, MASKS[name])
        y.backward(g)
        assert leaf.grad is not None
        ways.append((y.data, leaf.grad.data))
    for plain, fused in zip(*ways, strict=True):
        np.testing.assert_allclose(plain, fused, atol=1e-5)


@pytest.mark.parametrize("mask", [np.ones((5, 5), bool), np.ones((4, 4))])
def test_both_implementations_reject_the_same_masks(mask: Array) -> None:
    layer = MultiHeadAttention(16, 2, dropout=0.5)
    for training in (True, False):
        with pytest.raises(ShapeError, match=r"attention: mask of .*expected bool that broadcasts to \(3, 2, 4, 4\)$"):
            layer.train(training)(tt.randn(3, 4, 16), mask)


def test_mismatched_shapes_are_stated() -> None:
    with pytest.raises(ShapeError, match=r"queries \(2, 3, 4\), keys \(2, 3, 5\)"):
        scaled_dot_product_attention(tt.zeros(2, 3, 4), tt.zeros(2, 3, 5), tt.zeros(2, 3, 5))
    with pytest.raises(ShapeError, match="3 queries and 5 keys"):
        scaled_dot_product_attention(tt.zeros(2, 3, 4), tt.zeros(2, 5, 4), tt.zeros(2, 5, 4), is_causal=True)
    for mask in (np.ones((5, 5), bool), np.ones((3, 3))):
        with pytest.raises(ShapeError, match=r"attention: mask of .*expected bool that broadcasts to \(2, 3, 3\)$"):
            scaled_dot_product_attention(tt.zeros(2, 3, 4), tt.zeros(2, 3, 4), tt.zeros(2, 3, 4), mask)
