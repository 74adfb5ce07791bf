"""What layers, losses, and initializations of `nn` refuse, and settings whose effect is not a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
import tinytorch.nn as nn
import tinytorch.nn.functional as F
from tinytorch.base.errors import TinyTorchError
from tinytorch.ops.creation import tensor

X = tt.ones(3, 4)
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: F.cross_entropy(X, tensor([0, 1, 4])), "targets from 0 to 4: expected 0 to 3 for 4 classes"),
    (lambda: F.cross_entropy(X, tensor([0, 1, 9]), weight=tt.ones(4)), "expected 0 to 3 for 4 classes, or -100"),
    (lambda: F.cross_entropy(X, tensor([0, 1, 2]), weight=tt.ones(3)), r"weight of shape \(3,\): expected \(4,\)"),
    (lambda: F.cross_entropy(X, tt.ones(3, 5)), "expected the same, or integer class indices"),
    (
        lambda: F.cross_entropy(X, tensor([0, 1, 2]), reduction="avg"),
        "reduction 'avg': expected 'mean', 'sum', or 'none'",
    ),
    (lambda: F.binary_cross_entropy(X * 2, X), "probabilities from 2 to 2: expected 0 to 1; for logits use"),
    (lambda: F.mse_loss(X, tt.ones(3, 1), reduction="sum"), r"shapes \(3, 4\) and \(3, 1\) differ"),
    (lambda: nn.MSELoss(reduction="avg"), "MSELoss: reduction 'avg'"),
    (lambda: nn.CrossEntropyLoss(weights=1), "CrossEntropyLoss: weights: expected weight"),
    (lambda: nn.LeakyReLU(slope=1), "LeakyReLU: settings"),
    (lambda: F.gelu(X, approximate="erf"), "approximate 'erf': expected 'none' or 'tanh'"),
    (lambda: F.pad(X, (1,)), "expected two widths per dimension"),
    (lambda: F.pad(X, (1, 1), mode="mirror"), "mode 'mirror'"),
    (lambda: F.pad(X, (5, 0), mode="reflect"), "expected less than the size 4"),
    (lambda: F.interpolate(X), r"expected \(N, C, L\) or \(N, C, H, W\)"),
    (lambda: F.interpolate(tt.ones(1, 1, 4)), "either size or scale_factor"),
    (lambda: F.interpolate(tt.ones(1, 1, 4), 2, mode="bilinear"), "mode 'bilinear'"),
    (lambda: F.conv1d(X, tt.ones(2, 2)), r"expected \(N, C, L\) and \(K, C/groups, k\)"),
    (lambda: F.conv2d(tt.ones(1, 1, 4, 4), tt.ones(1, 1, 3, 3), stride=2, padding="same"), "'same' with a stride"),
    (lambda: nn.Conv1d(2, 3, 3, groups=2), "both channels multiples of the groups"),
    (lambda: nn.Conv2d(1, 1, 3, padding="full"), "padding 'full': expected 'same', 'valid', or numbers"),
    (lambda: nn.Conv2d(1, 1, 3, padding_mode="mirror"), "padding_mode 'mirror'"),
    (lambda: nn.ConvTranspose2d(1, 1, 3, output_padding=1)(tt.ones(1, 1, 4, 4)), "expected less than stride"),
    (lambda: nn.BatchNorm1d(3)(X), "expected 3 channels in dimension 1 of 2 or 3"),
    (lambda: nn.BatchNorm1d(4)(tt.ones(1, 4)), "training needs more than one value per channel"),
    (lambda: nn.GroupNorm(3, 4), "4 channels in 3 groups"),
    (lambda: nn.LayerNorm((3, 4))(tt.ones(4, 3)), r"expected \(..., 3, 4\)"),
    (lambda: nn.LSTM(3, 4)(X), r"LSTM: input of shape \(3, 4\): expected \(..., 3\)"),
    (
        lambda: nn.LSTM(4, 4)(tt.ones(2, 3, 4), (tt.ones(1, 2, 4), tt.ones(1, 2, 4))),
        r"state of shape .* expected \(1, 3, 4\)",
    ),
    (lambda: nn.RNN(3, 4, nonlinearity="gelu"), "nonlinearity 'gelu'"),
    (lambda: nn.MultiheadAttention(6, 4), "width 6, 4 heads"),
    (lambda: nn.TransformerEncoderLayer(4, 2, activation="swish"), "activation 'swish'"),
    (lambda: F.scaled_dot_product_attention(X, X, X, attn_mask=np.ones((3, 3), int)), "mask of dtype int64"),
    (lambda: nn.Embedding(4, 2, padding_idx=7), "padding_idx 7"),
    (lambda: F.one_hot(tensor([3]), 2), "index 3: expected less than num_classes 2"),
    (lambda: F.dropout(X, 1.5), "p 1.5"),
    (lambda: nn.init.xavier_uniform_(tt.ones(3)), "expected at least two dimensions"),
    (lambda: nn.init.calculate_gain("swish"), "'swish': expected leaky_relu"),
    (lambda: nn.utils.vector_to_parameters(tt.ones(3), [nn.Parameter(tt.ones(2))]), "3 numbers for 2 parameters"),
    (lambda: X & X, "expected booleans or integers"),
    (lambda: tt.arange(3) // 0, "integer division by zero"),
    (lambda: tensor(2) ** tensor(-1), "negative power"),
    (lambda: X.gather(1, tensor([[9]])), "indices from 9 to 9: expected -4 to 3"),
    (lambda: X.gather(1, tensor([0])), "expected as many dimensions"),
    (lambda: X.masked_fill(X, 0.0), "mask of dtype float32: expected bool; compare first"),
    (lambda: X.topk(9), "k 9: expected 0 to 4"),
    (lambda: X.split([1, 1], 1), "add up to 4"),
    (lambda: X.clamp(), "expected min, max, or both"),
    (lambda: tt.einsum("ij,jk", X), "has 2 terms for 1 tensors"),
    (lambda: tt.mm(X, tt.ones(4)), "expected 2 and 2 dimensions"),
    (lambda: X.unsqueeze(0).t(), "expected at most two dimensions"),
    (lambda: X.sum(out=np.zeros(1)), "out= is not supported"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_wrong_setting_is_refused_in_words(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TinyTorchError, TypeError), match=message):
        call()


def test_all_targets_ignored_gives_nan_as_in_pytorch() -> None:
    assert math.isnan(F.cross_entropy(X, tensor([-100] * 3)).item())
    assert F.cross_entropy(X, tensor([-100] * 3), reduction="sum").item() == 0


def test_query_without_keys_gets_zeros_and_finite_gradients() -> None:
    q = tt.randn(2, 4, requires_grad=True)
    mask = np.array([[0.0, -np.inf], [-np.inf, -np.inf]], np.float32)
    y = F.scaled_dot_product_attention(q, q, q, attn_mask=mask)
    y.sum().backward()
    assert (y.data[1] == 0).all()
    assert np.isfinite(q.grad.data).all()


def test_dropout_scales_what_it_keeps() -> None:
    tt.manual_seed(0)
    x = tt.ones(400, 8, 3)
    for y in (F.dropout(x, 0.25), nn.Dropout2d(0.25)(x)):
        assert set(np.unique(y.data)) == {0, np.float32(4 / 3)}
        assert abs(y.data.mean() - 1) < 0.05
    whole = nn.Dropout2d(0.5)(x).data
    assert (whole == whole[:, :, :1]).all()
    assert nn.Dropout2d(0.5).eval()(x) is x
    assert (nn.Dropout(1.0)(x).data == 0).all()


def test_recurrent_dropout_is_active_only_in_training() -> None:
    layer = nn.LSTM(3, 8, 2, dropout=0.5)
    x = tt.randn(4, 2, 3)
    assert not tt.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert tt.equal(layer(x)[0], layer(x)[0])


def test_embedding_from_trained_rows() -> None:
    rows = tt.randn(5, 3)
    layer = nn.Embedding.from_pretrained(rows)
    assert not layer.weight.requires_grad
    np.testing.assert_array_equal(layer(tensor([4, 0])).data, rows.data[[4, 0]])
    assert (nn.Embedding(5, 3, padding_idx=2).weight.data[2] == 0).all()


def test_gradients_are_clipped() -> None:
    w = nn.Parameter(tt.zeros(4))
    w.grad = tensor([3.0, 0.0, 4.0, 0.0])
    assert nn.utils.clip_grad_norm_([w], 1.0).item() == 5
    np.testing.assert_allclose(np.linalg.norm(w.grad.data), 1, rtol=1e-5)
    nn.utils.clip_grad_value_([w], 0.5)
    assert w.grad.data.max() == 0.5
    vector = nn.utils.parameters_to_vector([w, nn.Parameter(tt.ones(2))])
    assert vector.tolist() == [0, 0, 0, 0, 1, 1]


def test_initialization_keeps_dtype_memory_and_flag() -> None:
    w = nn.Parameter(tt.ones(4, 3))
    memory = w.data
    for name in (
        "uniform_",
        "normal_",
        "xavier_uniform_",
        "kaiming_normal_",
        "orthogonal_",
        "eye_",
        "trunc_normal_",
        "zeros_",
    ):
        assert getattr(nn.init, name)(w) is w
        assert w.data is memory
        assert w.requires_grad
    q = nn.init.orthogonal_(tt.empty(3, 5)).data
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-6)


def test_exact_gelu_differs_from_the_approximation_by_at_most_5e4() -> None:
    x = tt.linspace(-6, 6, 1001)
    difference = abs(nn.GELU()(x).data - nn.GELU("tanh")(x).data).max()
    assert 1e-4 < difference < 5e-4


def test_sequences_are_padded_and_unpadded() -> None:
    parts = [tt.ones(2, 3, requires_grad=True), tt.ones(4, 3)]
    y = nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=-1.0)
    assert y.shape == (2, 4, 3)
    assert y.data[0, 2:].max() == -1
    y.sum().backward()
    assert parts[0].grad.data.min() == 1
    assert nn.utils.rnn.pad_sequence([tt.arange(2), tt.arange(3)]).tolist() == [[0, 0], [1, 1], [0, 2]]
    back = nn.utils.rnn.unpad_sequence(y, [2, 4], batch_first=True)
    assert [b.shape for b in back] == [(2, 3), (4, 3)]
