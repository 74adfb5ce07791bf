"""Merging pairs of tokens in a long word: n log n steps instead of n times the number of merges."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

FIRST = 256  # the token of merge 0


def merged_by_rank(tokens: Sequence[int], ranks: Mapping[tuple[int, int], int]) -> list[int]:
    """Return the tokens after all merges, the smallest rank first and from left to right.

    A heap holds each adjacent pair with a rank; links lead from each token to its neighbors. A merge replaces two
    tokens by one and adds the pairs with its neighbors, whose ranks are larger. A pair whose tokens have changed is
    skipped.

    >>> merged_by_rank([1, 2, 3, 1, 2], {(1, 2): 0, (256, 3): 1})
    [257, 256]
    """
    token: list[int | None] = list(tokens)
    after = [*range(1, len(tokens) + 1)]
    before = [*range(-1, len(tokens) - 1)]
    heap = [(ranks[pair], i, pair) for i, pair in enumerate(pairwise(tokens)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, i, (left, right) = heapq.heappop(heap)
        j = after[i]
        if token[i] != left or j >= len(token) or token[j] != right:
            continue
        token[i], token[j] = FIRST + rank, None
        after[i] = after[j]
        if after[i] < len(token):
            before[after[i]] = i
        for k in (before[i], i):
            if k >= 0 and after[k] < len(token):
                pair: Any = token[k], token[after[k]]
                if pair in ranks:
                    heapq.heappush(heap, (ranks[pair], k, pair))
    return [t for t in token if t is not None]
