"""Checkpoint 12: can I implement attention? A layer learns to look up which token came after a name."""

from __future__ import annotations

import numpy as np

from tinytorch.attention import MultiHeadAttention, causal_mask, padding_mask, plain_attention
from tinytorch.autograd import no_grad
from tinytorch.base.random import manual_seed
from tinytorch.embeddings import Embedding, LearnedPositions
from tinytorch.layers import Linear, Module
from tinytorch.losses import cross_entropy
from tinytorch.optimizers import Adam
from tinytorch.tensor import Tensor, stack

KEYS, VALUES, PAIRS = 4, 4, 3


def lookups(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of pairs (key and value as one token) and a key; the answer is the value that was paired with it."""
    rng = np.random.default_rng(seed)
    keys = rng.permuted(np.tile(np.arange(KEYS), (count, 1)), axis=1)[:, :PAIRS]
    values = rng.integers(0, VALUES, (count, PAIRS))
    asked = rng.integers(0, PAIRS, count)
    rows = np.arange(count)
    tokens = np.concatenate([keys * VALUES + values, KEYS * VALUES + keys[rows, asked, None]], axis=1)
    return tokens, values[rows, asked]


class Lookup(Module):
    """Embedding, attention by the learner's `plain_attention`, and a linear layer on the last position."""

    def __init__(self, width: int) -> None:
        self.table = Embedding(KEYS * VALUES + KEYS, width)
        self.q, self.k, self.v = (Linear(width, width) for _ in range(3))
        self.out = Linear(width, VALUES)

    def forward(self, tokens: np.ndarray) -> Tensor:
        x = self.table(tokens)  # (B, T, D)
        q, k, v = (layer(x).unsqueeze(1) for layer in (self.q, self.k, self.v))  # (B, 1, T, D)
        return self.out(plain_attention(q, k, v, causal_mask(tokens.shape[1])).squeeze(1)[:, -1])


def test_attention_learns_to_look_up_a_value_by_its_key() -> None:
    manual_seed(0)
    model = Lookup(16)
    optimizer = Adam(model.parameters(), lr=0.01)
    for step in range(300):
        tokens, answers = lookups(64, seed=step)
        optimizer.zero_grad()
        cross_entropy(model(tokens), answers).backward()
        optimizer.step()
    tokens, answers = lookups(200, seed=1000)
    with no_grad():
        assert (model(tokens).numpy().argmax(axis=1) == answers).mean() >= 0.95


def sequence(width: int = 8) -> Tensor:
    manual_seed(1)
    return LearnedPositions(6, width)(Embedding(9, width)(np.arange(12).reshape(2, 6) % 9))


def test_no_position_reads_what_comes_after_it() -> None:
    x, layer = sequence().numpy(), MultiHeadAttention(8, 2)
    changed = x.copy()
    changed[:, 4:] += 10
    with no_grad():
        before, after = layer(Tensor(x)).numpy(), layer(Tensor(changed)).numpy()
    np.testing.assert_allclose(after[:, :4], before[:, :4], atol=1e-6)
    assert not np.allclose(after[:, 4:], before[:, 4:])


def test_padding_is_not_read() -> None:
    x, layer = sequence().numpy(), MultiHeadAttention(8, 2, causal=False)
    mask = padding_mask(np.array([4, 6]), 6)
    changed = x.copy()
    changed[0, 4:] = 99
    with no_grad():
        before, after = layer(Tensor(x), mask).numpy(), layer(Tensor(changed), mask).numpy()
    np.testing.assert_allclose(after[0, :4], before[0, :4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after[1], before[1], rtol=1e-5, atol=1e-6)


def test_heads_are_several_attentions_side_by_side() -> None:
    q, k, v = (Tensor(np.random.default_rng(i).standard_normal((2, 3, 5, 4))) for i in range(3))
    together = plain_attention(q, k, v, causal_mask(5)).numpy()
    alone = [plain_attention(q[:, h : h + 1], k[:, h : h + 1], v[:, h : h + 1], causal_mask(5)) for h in range(3)]
    np.testing.assert_allclose(stack([one.squeeze(1) for one in alone], dim=1).numpy(), together)
    scores = q.numpy() @ k.numpy().swapaxes(-1, -2) / 2
    weights = np.exp(np.where(np.tri(5, dtype=bool), scores, -np.inf))
    np.testing.assert_allclose(together, weights / weights.sum(axis=-1, keepdims=True) @ v.numpy(), rtol=1e-6)
