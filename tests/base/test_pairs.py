"""The counts of pairs stay exact while pairs are merged."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tinytorch.base.pairs import Pair, PairCounts


def join(tokens: list[int], pair: Pair, token: int) -> list[int]:
    """Replace each occurrence of the pair, from left to right."""
    out = list(tokens)
    for i in range(len(out)):
        if tuple(out[i : i + 2]) == pair:
            out[i : i + 2] = [token]
    return out


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=9), st.integers(1, 4)), max_size=9))
def test_most_frequent_pair_is_that_of_a_full_recount_after_each_merge(words: list[tuple[list[int], int]]) -> None:
    counts = PairCounts(words, join)
    for token in range(3, 12):
        recount: Counter[Pair] = Counter()
        for word, times in words:
            for pair in pairwise(word):
                recount[pair] += times
        best = min(recount, key=lambda pair: (-recount[pair], pair), default=None)
        if best is not None and recount[best] < 2:
            best = None
        assert counts.most_frequent() == best
        if best is None:
            break
        counts.merge(best, token)
        words = [(join(word, best, token), times) for word, times in words]


def test_no_words_have_no_pairs() -> None:
    assert PairCounts([], join).most_frequent() is None
