"""`inference.drawing`: the tokens, the use of random numbers, and the errors of `transformers.Sampler`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinytorch.base.errors import NonFiniteError
from tinytorch.inference.drawing import RowSampler
from tinytorch.transformers import Sampler


@given(
    data=st.data(),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    temperature=st.sampled_from([0, 5e-324, 1e-300, 0.1, 0.8, 1, 1.0, 3, 1e300, float("inf")]),
    seed=st.integers(0, 2**32),
)
def test_same_tokens_and_random_numbers_as_the_sampler(
    data: st.DataObject, dtype: type[np.floating], temperature: float, seed: int
) -> None:
    rows, words = data.draw(st.sampled_from([1, 1, 1, 2])), data.draw(st.integers(1, 300))
    width: Any = np.finfo(dtype).bits
    logits = data.draw(
        arrays(dtype, (rows, words), elements=st.floats(width=width, allow_nan=False, allow_infinity=False))
    )
    quick, plain = (kind(temperature, None, None, seed) for kind in (RowSampler, Sampler))
    kept = logits.copy()
    for _ in range(3):
        with np.errstate(all="ignore"):
            expected = plain(logits)
            drawn = quick(logits)
        assert drawn.shape == expected.shape
        assert drawn.tolist() == expected.tolist()
    assert np.array_equal(logits, kept)
    assert quick.rng.random() == plain.rng.random()


@pytest.mark.parametrize("settings", [(1.0, None, None), (1.0, 5, None), (1.0, None, 0.9), (0.7, 5, 0.9), (0, 5, 0.9)])
def test_same_texts_with_all_settings(settings: tuple[float, int | None, float | None]) -> None:
    logits = np.random.default_rng(3).standard_normal((200, 1, 65)).astype(np.float32) * 3
    quick, plain = RowSampler(*settings, seed=4), Sampler(*settings, seed=4)
    assert [int(quick(row)[0]) for row in logits] == [int(plain(row)[0]) for row in logits]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0, 0.5, 1])
def test_logits_must_be_finite(bad: float, temperature: float) -> None:
    logits = np.array([[0.0, bad, 1.0]], np.float32)
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        RowSampler(temperature, None, None, 1)(logits)


def test_no_warning_for_a_tiny_temperature() -> None:
    with np.errstate(all="raise", under="ignore"):
        assert RowSampler(5e-324, None, None, 1)(np.array([[1.0, 2.0, -1e300]])).tolist() == [1]
