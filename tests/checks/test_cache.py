"""The checks of the cache accept correct caches and detect planted cheats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinytorch as tt
from tests.models import BLOCK, V, lively, text
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.caching import Decoder, KVCache, generate
from tinytorch.checks import check_cache, check_text, most_dependent
from tinytorch.inference.gpt_step import Step
from tinytorch.tensor import Array
from tinytorch.transformers import GPT


def honest(model: GPT, rows: int = 1) -> Callable[[], Callable[[Array], Array]]:
    return lambda: Decoder(model, KVCache(model, rows)).next_logits


@pytest.mark.parametrize("fresh_weights", [False, True])
def test_check_passes_a_correct_cache(fresh_weights: bool) -> None:
    model = GPT(V, BLOCK, 2, 2, 8).eval() if fresh_weights else lively()
    report = check_cache(model, honest(model, 2), text(2))
    assert report.problems == ()
    assert report.difference < 1e-5
    assert report.influence == pytest.approx(report.expected_influence, rel=1e-2)


def no_past(model: GPT) -> Callable[[Array], Array]:
    """Read each piece as if it were the whole text."""
    return lambda piece: model.next_logits(piece)


def correct_positions_no_past(model: GPT) -> Callable[[Array], Array]:
    """Ignore the past but keep correct positions: overwrite the cached keys and values with zeros."""
    decoder = Decoder(model, KVCache(model))

    def read(piece: Array) -> Array:
        logits = decoder.next_logits(piece)
        decoder.cache.pairs[...] = 0
        return logits

    return read


def last_three_tokens(model: GPT) -> Callable[[Array], Array]:
    """Use only the last three tokens."""
    seen: list[Array] = []

    def read(piece: Array) -> Array:
        seen.append(piece)
        return model.next_logits(np.concatenate(seen, axis=1)[:, -3:])

    return read


def first_logits_only(model: GPT) -> Callable[[Array], Array]:
    """Return the logits of the first piece for all pieces."""
    kept: list[Array] = []

    def read(piece: Array) -> Array:
        kept.append(model.next_logits(piece))
        return kept[0]

    return read


@pytest.mark.parametrize("cheat", [no_past, correct_positions_no_past, last_three_tokens, first_logits_only])
@pytest.mark.parametrize("trained", [False, True])
def test_planted_cheats_are_detected(cheat: Callable[[GPT], Callable[[Array], Array]], trained: bool) -> None:
    tt.manual_seed(0)
    model = lively() if trained else GPT(V, BLOCK, 2, 2, 8).eval()
    assert check_cache(model, lambda: cheat(model), text(), 1e-4).problems


def test_step_that_skips_the_past_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    model, honest_call = lively(), Step.__call__

    def skipping(self: Step, tokens: Array, place: int) -> Array:
        self.pairs[:, :, :, :, :place] = 0
        return honest_call(self, tokens, place)

    monkeypatch.setattr(Step, "__call__", skipping)
    report = check_cache(model, honest(model), text())
    assert any("past is ignored" in problem for problem in report.problems)
    assert any("differ" in problem for problem in report.problems)
    assert check_text(model, generate(model, [1, 2], 40, 0.0, hop=4), 2, hop=4) > 0.01


def test_nan_is_detected() -> None:
    model = lively()
    report = check_cache(model, lambda: lambda piece: np.full((1, V), np.nan, np.float32), text())
    assert len(report.problems) == 2


def test_check_reports_when_it_cannot_decide() -> None:
    model = lively()
    for block in model.transformer.h:
        block.attn.c_proj.weight.data[...] = 0  # no attention: earlier tokens have no influence
    with pytest.raises(SettingError, match="another first token moves the model's own logits by 0"):
        check_cache(model, honest(model), text())
    assert check_cache(model, honest(model), text(), must_depend=False).problems == ()
    for shape in ((1, 3), (1, 9), (8,)):
        with pytest.raises(ShapeError, match="expected"):
            check_cache(model, honest(model), np.ones(shape, np.int64))
    with pytest.raises(ShapeError, match="logits of shape"):
        check_cache(lively(), lambda: lambda piece: np.zeros((1, V - 1)), text())


def test_what_need_not_depend_on_the_past_must_still_be_the_models_own() -> None:
    model, other = lively(), lively(1)
    for part in (model, other):
        for block in part.transformer.h:
            block.attn.c_proj.weight.data[...] = 0
    (problem,) = check_cache(model, honest(other), text(), must_depend=False).problems
    assert problem.startswith("cached logits differ from recomputed ones")


def test_the_text_is_chosen_whose_logits_depend_most_on_its_first_token() -> None:
    model = lively()
    texts = np.concatenate([text(seed=seed) for seed in range(6)])
    influence = [check_cache(model, honest(model), row[None]).expected_influence for row in texts]
    chosen = most_dependent(model, texts)
    assert chosen.shape == (1, texts.shape[1])
    later = [np.abs(a - b).max() for a, b in (later_logits(model, row[None]) for row in texts)]
    assert np.array_equal(chosen[0], texts[int(np.argmax(later))])
    assert min(influence) < max(influence)


def later_logits(model: GPT, tokens: Array) -> tuple[Array, Array]:
    other = tokens.copy()
    other[:, 0] = (other[:, 0] + 1) % V
    half = tokens.shape[1] // 2
    return model(tokens).data[:, half:], model(other).data[:, half:]


def test_generated_text_is_checked_by_its_tokens() -> None:
    model = lively()
    for hop in (1, 4, 8):
        assert check_text(model, generate(model, [1, 2], 40, 0.0, hop=hop), 2, hop) < 1e-5
    assert check_text(model, generate(model, [1, 2], 40, seed=1), 2) > 0.01
    assert check_text(model, generate(model, [1, 2], 40, 0.0, hop=8), 2, hop=1) > 0.001
