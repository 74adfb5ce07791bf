"""Module 13: attention reads the positions that the mask allows, and no others."""

from __future__ import annotations

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.attention import MultiHeadAttention, causal_mask, padding_mask, plain_attention
from tinytorch.autograd import check_grads
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.tensor import Array, Tensor

random = np.random.default_rng(0)
TRIANGLE = np.arange(6)[:, None] >= np.arange(6)
MASKS = {  # for 2 samples of 6 positions
    "none": None,
    "causal": TRIANGLE,
    "some": random.random((2, 1, 6, 6)) < 0.6,
    "padding": np.arange(6) < np.array([4, 6])[:, None, None, None],
    "nothing": np.arange(6) < np.array([0, 6])[:, None, None, None],
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


# Masks


def test_causal_mask_allows_a_position_and_those_before_it() -> None:
    mask = causal_mask(3)
    assert mask.dtype == bool
    assert mask.tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert causal_mask(1).tolist() == [[True]]


def test_padding_mask_allows_the_first_positions_of_each_sample() -> None:
    mask = padding_mask(np.array([2, 0, 3]), 3)
    assert mask.dtype == bool
    assert mask.shape == (3, 1, 1, 3)
    assert mask[:, 0, 0].tolist() == [[True, True, False], [False, False, False], [True, True, True]]


# The idea, in plain ops


@pytest.mark.parametrize("name", MASKS)
def test_values_match_the_formula(name: str) -> None:
    q, k, v = heads(2, 3, 6, 4)
    mask = MASKS[name]
    y = plain_attention(Tensor(q), Tensor(k), Tensor(v), mask)
    np.testing.assert_allclose(y.data, truth(q, k, v, np.True_ if mask is None else mask), atol=1e-12)


@pytest.mark.parametrize("name", MASKS)
def test_gradients_of_queries_keys_and_values(name: str) -> None:
    check_grads(lambda q, k, v: plain_attention(q, k, v, MASKS[name]), *heads(2, 2, 6, 3))


def test_huge_scores_do_not_overflow() -> None:
    q, k, v = heads(1, 1, 6, 4, dtype=np.float32)
    y = plain_attention(Tensor(q * 1e4), Tensor(k * 1e4), Tensor(v), TRIANGLE)
    assert y.dtype == np.float32
    assert np.isfinite(y.data).all()
    np.testing.assert_array_equal(y.data[..., 0, :], v[..., 0, :])  # the first position sees only itself
    low = plain_attention(Tensor(k * -1e4), Tensor(k * 1e4), Tensor(v), TRIANGLE)  # its own score is far below 0
    np.testing.assert_array_equal(low.data[..., 0, :], v[..., 0, :])


def test_dropout_drops_weights_after_the_softmax() -> None:
    q, k, _ = heads(1, 2, 6, 6)
    v = Tensor(np.broadcast_to(np.eye(6), (1, 2, 6, 6)))  # so that the result is the weights
    whole = plain_attention(Tensor(q), Tensor(k), v, TRIANGLE).data
    dropped = plain_attention(Tensor(q), Tensor(k), v, TRIANGLE, tt.Dropout(0.5)).data
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], 2 * whole[kept])  # those that are kept are not normalized again
    columns = kept[0, :, :, :3].sum(axis=1)  # how many of the 6, 5, or 4 queries still read each of the first 3 values
    assert ((columns > 0) & (columns < [6, 5, 4])).any()  # a value is not dropped for all queries at once


# The layer


def test_names_match_nanogpt() -> None:
    shapes = {name: value.shape for name, value in MultiHeadAttention(4, 2).state_dict().items()}
    assert shapes == {"c_attn.weight": (12, 4), "c_attn.bias": (12,), "c_proj.weight": (4, 4), "c_proj.bias": (4,)}
    assert set(MultiHeadAttention(4, 2, bias=False).state_dict()) == {"c_attn.weight", "c_proj.weight"}


def test_width_is_divisible_by_the_number_of_heads() -> None:
    with pytest.raises(SettingError, match="width 10, 4 heads"):
        MultiHeadAttention(10, 4)


def test_weights_are_a_distribution_over_visible_positions() -> None:
    weights = MultiHeadAttention(12, 2).weights(tt.randn(3, 6, 12))
    assert weights.shape == (3, 2, 6, 6)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    assert (weights[..., ~TRIANGLE] == 0).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", MASKS)
def test_each_head_attends_with_its_own_part_of_the_width(name: str, causal: bool, training: bool) -> None:
    layer = MultiHeadAttention(6, 3, causal, dropout=1e-30 if training else 0.0)  # drops nothing
    x = random.standard_normal((2, 6, 6))
    layer.c_attn.weight.data = weight = random.standard_normal((18, 6))
    layer.c_proj.weight.data, layer.c_proj.bias = np.eye(6), None
    layer.c_attn.bias = None
    q, k, v = ((x @ part.T).reshape(2, 6, 3, 2).transpose(0, 2, 1, 3) for part in np.split(weight, 3))
    mask = MASKS[name]
    seen = (TRIANGLE if causal else np.True_) & (np.True_ if mask is None else mask)
    expected = truth(q, k, v, seen).transpose(0, 2, 1, 3).reshape(2, 6, 6)
    np.testing.assert_allclose(layer(Tensor(x), mask).data, expected, atol=1e-12)


@pytest.mark.parametrize("length", [3, 16, 64])
def test_later_position_leaves_earlier_outputs_unchanged_bit_for_bit(length: int) -> None:
    layer = MultiHeadAttention(32, 4)
    x = random.standard_normal((2, length, 32)).astype(np.float32)
    y = layer(Tensor(x)).data
    for place in {1, length // 2, length - 1}:
        changed = x.copy()
        changed[:, place:] = 100 * random.standard_normal(changed[:, place:].shape)
        again = layer(Tensor(changed)).data
        np.testing.assert_array_equal(again[:, :place], y[:, :place])
        assert (again[:, place:] != y[:, place:]).any()


def test_padding_leaves_outputs_unchanged_bit_for_bit() -> None:
    layer = MultiHeadAttention(16, 2, causal=False)
    mask = np.arange(5) < np.array([3, 5])[:, None, None, None]
    x = random.standard_normal((2, 5, 16)).astype(np.float32)
    changed = x.copy()
    changed[0, 3:] = 100
    y, again = layer(Tensor(x), mask).data, layer(Tensor(changed), mask).data
    np.testing.assert_array_equal(again[0, :3], y[0, :3])
    np.testing.assert_array_equal(again[1], y[1])


def test_no_gradient_flows_to_masked_positions() -> None:
    x = Tensor(random.standard_normal((1, 6, 12)).astype(np.float32), requires_grad=True)
    MultiHeadAttention(12, 2)(x)[:, 2].sum().backward()
    assert x.grad is not None
    assert (x.grad.data[:, 3:] == 0).all()
    assert (x.grad.data[:, :3] != 0).any()


def test_gradients_reach_all_weights_of_the_layer() -> None:
    layer = MultiHeadAttention(6, 2)

    def run(x: Tensor, weight: Tensor, bias: Tensor, projection: Tensor) -> Tensor:
        layer.c_attn.weight, layer.c_attn.bias, layer.c_proj.weight = weight, bias, projection  # type: ignore[assignment]
        return layer(x)

    shapes = (2, 4, 6), (18, 6), (18,), (6, 6)
    layer.c_proj.bias = None
    check_grads(run, *(random.standard_normal(shape) for shape in shapes))


def test_dropout_is_active_only_in_training_and_keeps_the_mask() -> None:
    layer = MultiHeadAttention(16, 2, dropout=0.5)
    x = tt.randn(2, 8, 16)
    assert (layer(x).data != layer(x).data).any()
    tt.manual_seed(1)
    y = layer(x).data
    changed = x.data.copy()
    changed[:, 5:] = 9
    tt.manual_seed(1)
    np.testing.assert_array_equal(layer(Tensor(changed)).data[:, :5], y[:, :5])
    layer.eval()
    still = MultiHeadAttention(16, 2)
    still.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(layer(x).data, still(x).data)


@pytest.mark.parametrize("mask", [np.ones((5, 5), bool), np.ones((4, 4))])
def test_masks_that_do_not_fit_are_rejected(mask: Array) -> None:
    layer = MultiHeadAttention(16, 2, dropout=0.5)
    for training in (True, False):
        with pytest.raises(ShapeError, match=r"attention: mask of .*expected bool that broadcasts to \(3, 2, 4, 4\)$"):
            layer.train(training)(tt.randn(3, 4, 16), mask)
