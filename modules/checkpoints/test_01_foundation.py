"""Checkpoint 01: can I manipulate tensors? Made pictures are normalized, cut into patches, and projected."""

from __future__ import annotations

import numpy as np

from tinytorch.tensor import Tensor, cat, stack


def pictures() -> np.ndarray:
    return np.random.default_rng(1).normal(3, 2, (6, 8, 8)).astype(np.float32)  # (N, H, W)


def test_pictures_are_normalized_by_their_own_mean_and_variance() -> None:
    x = Tensor(pictures())
    mean = x.mean(dim=(1, 2), keepdim=True)  # (N, 1, 1)
    variance = x.var(dim=(1, 2), correction=0, keepdim=True)
    normal = ((x - mean) / (variance + 1e-5).sqrt()).numpy()
    np.testing.assert_allclose(normal.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=(1, 2)), 1, atol=1e-3)


def test_pictures_become_rows_of_patches_and_back() -> None:
    raw = pictures()
    patches = Tensor(raw).reshape(6, 2, 4, 2, 4).permute(0, 1, 3, 2, 4).reshape(6, 4, 16)
    np.testing.assert_array_equal(patches.numpy()[:, 1], raw[:, :4, 4:].reshape(6, 16))
    again = patches.reshape(6, 2, 2, 4, 4).transpose(2, 3).flatten(1)
    np.testing.assert_array_equal(again.numpy(), raw.reshape(6, 64))


def test_patches_are_projected_and_compared() -> None:
    raw = pictures().reshape(6, 4, 16)
    weight = np.random.default_rng(2).standard_normal((16, 5)).astype(np.float32)
    projected = Tensor(raw) @ Tensor(weight) + np.arange(5, dtype=np.float32)  # (N, 4, 5) + (5,)
    expected = raw.astype(np.float64) @ weight + np.arange(5)
    np.testing.assert_allclose(projected.numpy(), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(projected.max(dim=1).values.numpy(), expected.max(axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose((-projected).min().item(), -expected.max(), rtol=1e-4)


def test_tensors_are_taken_apart_and_joined() -> None:
    x = Tensor(pictures())
    rows = [x[i] for i in range(6)]
    np.testing.assert_array_equal(stack(rows).numpy(), x.numpy())
    np.testing.assert_array_equal(cat([x[3:], x[:3]]).numpy(), np.roll(x.numpy(), 3, axis=0))
    assert x[0].unsqueeze(0).squeeze(0).shape == (8, 8)
    np.testing.assert_allclose((x * 2 - x / 2).sum().item(), 1.5 * x.numpy().sum(), rtol=1e-4)
