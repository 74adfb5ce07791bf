"""`native.attention` computes what `arrays.attention` does, for any shapes, in groups of texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinytorch.arrays import attention
from tinytorch.native import library
from tinytorch.native.attention import Attention
from tinytorch.native.program import Program

WHY_NOT = library.why_not()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-"), pytest.mark.usefixtures("onednn")]


def both(texts: int, length: int, heads: int, width: int, causal: bool, alone: bool, size: float = 1) -> float:
    """Return the largest difference between the two implementations."""
    c, rng = heads * width, np.random.default_rng(length)
    qkv = np.float32(size) * rng.standard_normal((texts, length, 3 * c), np.float32)
    y, expected = np.full((2, texts, length, c), np.nan, np.float32)
    program = Program(Attention(qkv, y, heads, causal).primitives(alone))
    for _ in range(2):
        program()
    attention.attend_scaled(*attention.heads(qkv, heads), causal, attention.joined(expected, heads))
    assert np.isfinite(y).all()
    return float(np.abs(y - expected).max())


@given(
    texts=st.integers(1, 6), length=st.integers(1, 40), heads=st.integers(1, 5), width=st.integers(1, 33),
    causal=st.booleans(), alone=st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_same_values(texts: int, length: int, heads: int, width: int, causal: bool, alone: bool) -> None:
    assert both(texts, length, heads, width, causal, alone) < 1e-5


@pytest.mark.parametrize(("texts", "length"), [(3, 128), (9, 64), (35, 8), (40, 70), (17, 1)])
def test_texts_are_computed_in_groups(texts: int, length: int) -> None:
    assert both(texts, length, heads=4, width=8, causal=True, alone=False) < 1e-5


def test_large_scores_do_not_overflow() -> None:
    assert both(2, 16, heads=2, width=8, causal=True, alone=False, size=1e4) < 0.1  # of values up to 4e4


def test_a_later_token_changes_nothing_before_it() -> None:
    rng = np.random.default_rng(0)
    qkv = rng.standard_normal((2, 12, 48), np.float32)
    y = np.empty((2, 12, 16), np.float32)
    program = Program(Attention(qkv, y, 2, causal=True).primitives(alone=False))
    program()
    before = y.copy()
    qkv[:, 7:] *= 3
    program()
    assert np.array_equal(y[:, :7], before[:, :7])
    assert not np.array_equal(y[:, 7:], before[:, 7:])
