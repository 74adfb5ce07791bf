"""Modules 12 to 14 against PyTorch: the same values and gradients, and weights that load unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from safetensors.torch import save_file, save_model

import tinytorch as tt
from tinytorch.attention import MultiHeadAttention, padding_mask, scaled_dot_product_attention
from tinytorch.embeddings import Embedding
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT, LayerNorm, next_token_loss
from tito.versus.nanogpt import NanoGPT

F = torch.nn.functional
random = np.random.default_rng(0)
SIZES: dict[str, Any] = {"vocab_size": 40, "block_size": 16, "n_layer": 2, "n_head": 4, "n_embd": 32}


def normal(*shape: int) -> Array:
    return random.standard_normal(shape).astype(np.float32)


def both(array: Array) -> tuple[Tensor, torch.Tensor]:
    """Return the same leaf tensor in both frameworks."""
    return Tensor(array.copy(), requires_grad=True), torch.tensor(array, requires_grad=True)


def same(ours: Tensor | None, theirs: torch.Tensor | None, tolerance: float = 1e-5) -> None:
    """Assert equality up to rounding, relative to the largest value."""
    assert ours is not None
    assert theirs is not None
    expected = theirs.detach().numpy()
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours.data, expected, atol=tolerance * max(1.0, abs(expected).max()))


def test_embedding() -> None:
    layer, theirs = Embedding(50, 8), torch.nn.Embedding(50, 8)
    layer.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    tokens, g = random.integers(0, 50, (3, 7)), normal(3, 7, 8)
    y, z = layer(tokens), theirs(torch.from_numpy(tokens))
    same(y, z)
    y.backward(g)
    z.backward(torch.from_numpy(g))
    same(layer.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(bias: bool) -> None:
    layer, theirs = LayerNorm(24, bias=bias), torch.nn.LayerNorm(24, bias=bias)
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(normal(24)))
    layer.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    (x, tx), g = both(3 + 2 * normal(4, 5, 24)), normal(4, 5, 24)
    y, z = layer(x), theirs(tx)
    same(y, z)
    y.backward(g)
    z.backward(torch.from_numpy(g))
    same(x.grad, tx.grad)
    same(layer.weight.grad, theirs.weight.grad)
    if bias:
        assert layer.bias is not None
        same(layer.bias.grad, theirs.bias.grad)


@pytest.mark.parametrize("kind", ["none", "causal", "mask", "padding"])
def test_scaled_dot_product_attention(kind: str) -> None:
    mask = {"mask": random.random((2, 1, 10, 10)) < 0.7, "padding": padding_mask(np.array([6, 10]), 10)}.get(kind)
    if kind == "mask":
        assert mask is not None
        mask |= np.eye(10, dtype=bool)
    sides = [both(normal(2, 3, 10, 8)) for _ in range(3)]
    (q, k, v), theirs = zip(*sides, strict=True)
    y = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=kind == "causal")
    theirs_mask = None if mask is None else torch.from_numpy(mask)
    z = F.scaled_dot_product_attention(*theirs, attn_mask=theirs_mask, is_causal=kind == "causal")
    same(y, z)
    g = normal(2, 3, 10, 8)
    y.backward(g)
    z.backward(torch.from_numpy(g))
    for a, b in sides:
        same(a.grad, b.grad)


@pytest.mark.parametrize("causal", [True, False])
def test_multi_head_attention(causal: bool) -> None:
    theirs = torch.nn.MultiheadAttention(24, 4, batch_first=True)
    torch.nn.init.normal_(theirs.in_proj_bias)
    layer = MultiHeadAttention(24, 4, causal=causal)
    names = {"in_proj_weight": "c_attn.weight", "in_proj_bias": "c_attn.bias",
             "out_proj.weight": "c_proj.weight", "out_proj.bias": "c_proj.bias"}  # fmt: skip
    layer.load_state_dict({names[name]: value.numpy() for name, value in theirs.state_dict().items()})
    (x, tx), g = both(normal(3, 9, 24)), normal(3, 9, 24)
    lengths = np.array([9, 5, 7])
    y = layer(x, padding_mask(lengths, 9))
    ignored = torch.from_numpy(np.arange(9) >= lengths[:, None])
    ahead = torch.from_numpy(np.triu(np.ones((9, 9), bool), 1)) if causal else None
    z, shares = theirs(tx, tx, tx, key_padding_mask=ignored, attn_mask=ahead, average_attn_weights=False)
    same(y, z)
    y.backward(g)
    z.backward(torch.from_numpy(g))
    same(x.grad, tx.grad)
    gradients = {name: value.grad for name, value in theirs.named_parameters()}
    for theirs_name, name in names.items():
        same(layer.state_dict()[name].grad, gradients[theirs_name])
    np.testing.assert_allclose(shares.sum(-1).detach().numpy(), 1, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("save", ["save_model", "save_file"])
def test_gpt_loads_weights_that_pytorch_saved(tmp_path: Path, bias: bool, save: str) -> None:
    torch.manual_seed(0)
    theirs = NanoGPT(**SIZES, bias=bias)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    path = tmp_path / "nanogpt.safetensors"
    if save == "save_model":  # saves the tied weight under only one of its names
        save_model(theirs, str(path))
    else:
        save_file({name: value.clone() for name, value in theirs.state_dict().items()}, str(path))
    ours = GPT(**SIZES, bias=bias)
    ours.load(path)
    tokens, targets = random.integers(0, 40, (2, 3, 16))
    y, z = ours(tokens), theirs(torch.from_numpy(tokens))
    same(y, z)
    loss = next_token_loss(y, targets)
    their_loss = F.cross_entropy(z.flatten(0, 1), torch.from_numpy(targets).flatten())
    same(loss, their_loss)
    loss.backward()
    their_loss.backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        same(parameter.grad, gradients[name].grad)


def test_ten_training_steps_have_the_same_losses() -> None:
    torch.manual_seed(0)
    theirs, ours = NanoGPT(**SIZES), GPT(**SIZES)
    theirs.load_state_dict({n: torch.from_numpy(v.data.copy()) for n, v in ours.state_dict().items()}, strict=False)
    ours_adamw = tt.AdamW(ours.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    their_adamw = torch.optim.AdamW(theirs.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(10):
        tokens, targets = random.integers(0, 40, (2, 3, 16))
        loss = next_token_loss(ours(tokens), targets)
        their_loss = F.cross_entropy(
            theirs(torch.from_numpy(tokens)).flatten(0, 1), torch.from_numpy(targets).flatten()
        )
        same(loss, their_loss, 1e-4)
        loss.backward()
        their_loss.backward()
        tt.clip_grad_norm_(ours.parameters(), 1.0)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        for optimizer in (ours_adamw, their_adamw):
            optimizer.step()
            optimizer.zero_grad()


def test_greedy_generation_returns_the_same_tokens() -> None:
    theirs, ours = NanoGPT(**SIZES), GPT(**SIZES)
    rng = np.random.default_rng(2)
    for parameter in ours.parameters():
        if parameter.ndim > 1:  # large, so that the likeliest tokens vary and depend on the whole context
            parameter.data = rng.standard_normal(parameter.shape, np.float32)
    theirs.load_state_dict({n: torch.from_numpy(v.data.copy()) for n, v in ours.state_dict().items()}, strict=False)
    tokens = torch.tensor([[3]])
    with torch.no_grad():
        for _ in range(30):
            tokens = torch.cat((tokens, theirs(tokens[:, -16:])[:, [-1]].argmax(-1)), dim=1)
    assert len(set(tokens[0].tolist())) > 5
    np.testing.assert_array_equal(ours.generate([3], 30, temperature=0), tokens[0].numpy())
