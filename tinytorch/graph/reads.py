"""The inputs whose values a derivative reads, and the check that they are still those of the forward pass.

A rule reads the values of all inputs and what the forward pass kept, unless `READS` says otherwise. A listed rule reads
only the listed ones, besides shapes. A weight that was changed in place after the forward pass, as by an optimizer's
step, matters only where it is read: d(w + x)/dw does not depend on w.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinytorch import activations as A
from tinytorch import layers as L
from tinytorch import losses as S
from tinytorch import tensor as T
from tinytorch.base import changes
from tinytorch.base.errors import GradientError
from tinytorch.tensor import Array, Node, Op, Tensor

KEPT = -1  # stands for what the forward pass kept: the result, if the op returns nothing else
Places = tuple[tuple[int, ...], ...]  # for each rule the inputs that it reads; the last entry holds for further rules

READS: dict[Op, Places] = {
    **dict.fromkeys((T.add, T.sub, T.neg, T.sum_, T.mean, T.reshape, T.permute, T.expand, T.getitem, T.cast), ((),)),
    T.concatenate: ((),),
    **dict.fromkeys((T.mul, T.matmul), ((1,), (0,))),
    T.where_: ((0,),),
    **dict.fromkeys((T.exp, A.relu_, A.sigmoid_, A.tanh_, A.softmax_, A.log_softmax_), ((KEPT,),)),
    **dict.fromkeys((T.max_along, T.min_along), ((KEPT,),)),
    L.linear: ((1,), (0,), ()),
    L.dropout: ((1,),),
    S.cross_entropy_: ((1, KEPT),),
}


def reads(op: Op, *places: tuple[int, ...]) -> None:
    """Say which inputs each rule of an op reads; see `Places`."""
    READS[op] = places


def reads_as(new: Op, op: Op) -> None:
    """Say that the rules of `new` read the same inputs as those of `op`."""
    if op in READS:
        READS[new] = READS[op]


def check_unchanged(node: Node) -> None:
    """Check that the values which the rules of a recorded operation read are those of its forward pass.

    Raises:
        GradientError: one has been changed in place. The message names the parameter.
    """
    places = READS.get(node.op, ((*range(len(node.arrays)), KEPT),))
    for i, x in enumerate(node.inputs):
        if not isinstance(x, Tensor) or not x.requires_grad:
            continue
        for place in places[min(i, len(places) - 1)]:
            arrays = _arrays(node.kept if place == KEPT else node.arrays[place])
            if any(changes.changed_since(array, node.time) for array in arrays):
                raise GradientError(f"backward: {_described(node, place)} has been changed in place, for example by "
                                    f"an optimizer's step, since the forward pass that used it: call backward() "
                                    f"before the step, or compute the loss again after it")  # fmt: skip


def _arrays(value: Any) -> Iterator[Array]:
    """Yield the arrays in an input, or in what an op kept: an array, a tuple, or a kernel's own object."""
    value = getattr(value, "kept", value)
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, Array):
            yield part


def _described(node: Node, place: int) -> str:
    """Return words for an input or the result of a node. If it is a view of a parameter, that is what was changed."""
    x: Any = None if place == KEPT else node.inputs[place]
    if not isinstance(x, Tensor):
        return f"{'the result' if place == KEPT else 'an input'} of '{node.op.name}'"
    memory = changes.owner(node.arrays[place])
    while x.node is not None and x.node.arrays and _memory(x.node.arrays[0]) is memory:
        x = x.node.inputs[0]
    if not isinstance(x, L.Parameter):
        return f"a tensor of shape {x.shape}, an input of '{node.op.name}',"
    name = getattr(x, "name", None)
    return f"parameter {name} of shape {x.shape}" if name else f"a parameter of shape {x.shape}"


def _memory(value: Any) -> Array | None:
    return changes.owner(value) if isinstance(value, Array) else None
