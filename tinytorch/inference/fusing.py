"""Fewer nodes for the same result: norms become part of the weights, functions and sums part of the kernels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinytorch.inference import nodes
from tinytorch.inference.nodes import Add, Convolution, Function, Integers, Node, Norm, Pool, Weighted


def fused(given: list[Node], output: int) -> tuple[list[Node], int]:
    """Return nodes for the same output, in which products and convolutions do what follows them, and its number."""
    work = _Fusing(given)
    return work.made, work.places[output]


class _Fusing:
    """One pass over the nodes.

    Attributes:
        made: the new nodes.
        places: number of a value -> number of the new value.
        readers: number of a new value -> how many nodes read it.
    """

    def __init__(self, given: list[Node]) -> None:
        counts = {value: len(readers) for value, readers in nodes.uses(given).items()}
        self.made: list[Node] = []
        self.places, self.readers = {0: 0}, {0: counts[0]}
        for number, node in enumerate(given):
            node = replace(node, inputs=tuple(self.places[value] for value in node.inputs))
            place = self._merged(node)
            if place is None:
                self.made.append(node)
                place = len(self.made)
            self.places[number + 1], self.readers[place] = place, counts[number + 1]

    def _merged(self, node: Node) -> int | None:
        """Let an earlier node do this one's work, and return the number of its value; None if that is impossible."""
        if isinstance(node, Norm):
            return self._norm(node)
        if isinstance(node, Function):
            return self._function(node)
        if isinstance(node, Add):
            return self._sum(node)
        return None

    def _source(self, value: int, through_pools: bool) -> int | None:
        """Return the number of the convolution or product whose result, perhaps pooled, is the value and nothing else.

        None if there is no such node, or if it already applies a function.
        """
        while value and self.readers[value] == 1:
            node = self.made[value - 1]
            if isinstance(node, Weighted):
                return value if node.function is None else None
            if not (isinstance(node, Pool) and node.largest and through_pools):
                return None
            value = node.inputs[0]
        return None

    def _norm(self, node: Norm) -> int | None:
        """Fold a norm into a convolution. If no factor s is negative, max(s y) = s max(y), so it passes max pooling."""
        source = self._source(node.inputs[0], through_pools=bool((node.scale >= 0).all()))
        target = None if source is None else self.made[source - 1]
        if source is None or not isinstance(target, Convolution) or len(target.inputs) > 1:
            return None
        bias = node.shift if target.bias is None else target.bias * node.scale + node.shift
        weight = target.weight * node.scale.reshape(-1, 1, 1, 1)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            return None
        self.made[source - 1] = replace(target, weight=weight, bias=bias)
        return node.inputs[0]

    def _function(self, node: Function) -> int | None:
        """Let a convolution or product apply a function. ReLU, which keeps the order, passes max pooling."""
        source = self._source(node.inputs[0], through_pools=node.name == "relu")
        if source is not None:
            target = self.made[source - 1]
            assert isinstance(target, Weighted)
            self.made[source - 1] = replace(target, function=node.name)
            return node.inputs[0]
        if node.name != "relu" or not node.inputs[0]:
            return None
        before = self.made[node.inputs[0] - 1]
        if isinstance(before, Integers) and before.layer.relu and self.readers[node.inputs[0]] == 1:
            return node.inputs[0]  # no value is negative
        return self._integer_sum(node)

    def _sum(self, node: Add) -> int | None:
        """Let a convolution add its result to an earlier value."""
        for value, other in (node.inputs, node.inputs[::-1]):
            target = self.made[value - 1] if value else None
            plain = isinstance(target, Convolution) and target.function is None and len(target.inputs) == 1
            if target is not None and plain and other < value and self.readers[value] == 1:
                self.made[value - 1] = replace(target, inputs=(*target.inputs, other))
                return value
        return None

    def _integer_sum(self, node: Function) -> int | None:
        """Let a quantized convolution compute relu(result + an earlier value), if the last node is their sum."""
        added = node.inputs[0]
        if added != len(self.made) or self.readers[added] != 1 or not isinstance(self.made[-1], Add):
            return None
        value, other = self.made[-1].inputs
        target = self.made[value - 1] if value else None
        if not isinstance(target, Integers) or other >= value or self.readers[value] != 1 or not target.can_add():
            return None
        self.made[value - 1] = replace(target, inputs=(*target.inputs, other))
        self.made.pop()
        return value
