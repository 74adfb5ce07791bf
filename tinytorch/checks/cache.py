"""Module 19: checks that a cached generation agrees with the model. A benchmark runs them before it accepts a figure.

Shapes: B rows, L tokens, V tokens in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinytorch.autograd import no_grad
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.layers import evaluating
from tinytorch.tensor import Array
from tinytorch.transformers import GPT, window_start


@dataclass(frozen=True)
class CacheReport:
    """The result of `check_cache`. All differences are relative to the largest recomputed logit.

    difference: the largest difference between cached and recomputed logits.
    influence: the largest change of later cached logits when the first token changes.
    expected_influence: the largest change of later recomputed logits when the first token changes.
    problems: one line for each problem; empty if the cache is correct.
    """

    difference: float
    influence: float
    expected_influence: float
    problems: tuple[str, ...]


def check_cache(
    model: GPT,
    fresh: Callable[[], Callable[[Array], Array]],
    tokens: Array,
    tolerance: float = 1e-3,
    must_depend: bool = True,
) -> CacheReport:
    """Check that cached logits agree with recomputed ones, and that they depend on the past.

    Args:
        fresh: begins a text. It returns a function that reads the next tokens (B, T) and returns the logits of the
            token after them (B, V), as `Decoder.next_logits` with an empty cache does.
        tokens: (B, L) with 4 <= L <= block_size. The first half is read at once, the rest one by one.
        tolerance: the largest accepted difference, relative to the largest recomputed logit.
        must_depend: whether the model's own logits must depend on the first token by more than twice the tolerance.
            Otherwise, where they depend on it less, only the difference is checked: a cache that ignores so little
            is within the tolerance.

    Raises:
        ShapeError: the text is too short or longer than the block, or the logits have another shape.
        SettingError: `must_depend`, and the logits do not depend on the first token by that much.
    """
    if tokens.ndim != 2 or not 4 <= tokens.shape[1] <= model.block_size:
        raise ShapeError(f"check_cache: tokens of shape {tokens.shape}: expected (B, 4 to {model.block_size})")
    other, half = _another_first(model, tokens), tokens.shape[1] // 2
    with evaluating(model), no_grad():
        truth = np.stack([model(text).data[:, half - 1 :] for text in (tokens, other)])  # (2, B, L - half + 1, V)
        found = np.stack([_piecewise(fresh(), text, half) for text in (tokens, other)])
    if found.shape != truth.shape:
        raise ShapeError(f"check_cache: logits of shape {found.shape}: expected {truth.shape}")
    size = np.abs(truth).max()
    off = np.abs(found - truth).max(axis=(0, 1, 3)) / size  # by position
    influence, expected = (float(np.abs(logits[0] - logits[1])[:, 1:].max() / size) for logits in (found, truth))
    depends = expected > 2 * tolerance
    if must_depend and not depends:
        raise SettingError(f"check_cache: another first token moves the model's own logits by {expected:.1e} of their "
                           f"size: expected more than twice the tolerance, {tolerance:g}")  # fmt: skip
    problems = []
    if not off.max() <= tolerance:
        place = half - 1 + int(np.argmax(~(off <= tolerance)))
        problems.append(f"cached logits differ from recomputed ones by up to {off.max():.1e} of their size, "
                        f"first after token {place}")  # fmt: skip
    if depends and not influence >= expected / 2:
        problems.append(f"another first token moves cached logits by {influence:.1e} of their size, "
                        f"recomputed ones by {expected:.1e}: the past is ignored")  # fmt: skip
    return CacheReport(float(off.max()), influence, expected, tuple(problems))


def most_dependent(model: GPT, tokens: Array) -> Array:
    """Return the text (1, L) of those in `tokens` (B, L) whose later logits depend most on its first token.

    Texts differ in this: of 50 windows of Shakespeare, another first token moves TinyGPT's later logits by 0.3% to 7%.
    """
    half = tokens.shape[1] // 2
    with evaluating(model), no_grad():
        truth, other = (model(text).data[:, half:] for text in (tokens, _another_first(model, tokens)))
    chosen = int(np.argmax(np.abs(truth - other).max(axis=(1, 2))))
    return tokens[chosen : chosen + 1]


def _another_first(model: GPT, tokens: Array) -> Array:
    """Return the texts with another first token."""
    other = tokens.copy()
    other[:, 0] = (other[:, 0] + 1) % model.vocab_size
    return other


def _piecewise(read: Callable[[Array], Array], text: Array, half: int) -> Array:
    pieces = [text[:, :half], *(text[:, i : i + 1] for i in range(half, text.shape[1]))]
    return np.stack([np.array(read(piece)) for piece in pieces], axis=1)


def check_text(model: GPT, text: Array, prompt: int, hop: int = 1) -> float:
    """Check a text that was generated at temperature 0 against the model's recomputed logits.

    Args:
        text: (L,), of which the first `prompt` tokens are the prompt.

    Returns:
        The largest difference between the logit of the likeliest token and that of the generated token, relative to
        the largest logit. If it exceeds float rounding, this model with this `hop` did not generate the text.
    """
    worst = 0.0
    with evaluating(model):
        for i in range(prompt, len(text)):
            logits = model.next_logits(text[None, window_start(i, model.block_size, hop) : i])[0]
            worst = max(worst, float((logits.max() - logits[text[i]]) / np.abs(logits).max()))
    return worst
