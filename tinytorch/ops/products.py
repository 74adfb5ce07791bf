"""Products of vectors and matrices, and sums of products in Einstein's notation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.autograd import joint_derivative
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.ops.common import as_tensor
from tinytorch.ops.reductions import root_
from tinytorch.tensor import Array, Op, Tensor, apply


def _need(name: str, dims: tuple[int, ...], *tensors: Tensor) -> None:
    for x, n in zip(tensors, dims, strict=True):
        if x.ndim != n:
            raise ShapeError(f"{name}: shapes {' and '.join(str(t.shape) for t in tensors)}: expected "
                             f"{' and '.join(map(str, dims))} dimensions")  # fmt: skip


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b."""
    return a @ b


def mm(a: Tensor, b: Tensor) -> Tensor:
    """Multiply two matrices."""
    _need("mm", (2, 2), a, b)
    return a @ b


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """Multiply two batches of matrices, (B, M, K) @ (B, K, N)."""
    _need("bmm", (3, 3), a, b)
    return a @ b


def mv(a: Tensor, b: Tensor) -> Tensor:
    """Multiply a matrix and a vector."""
    _need("mv", (2, 1), a, b)
    return a @ b


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of the products of two vectors."""
    _need("dot", (1, 1), a, b)
    return a @ b


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the products of the last dimensions, summed."""
    return (
        a @ b
        if b.ndim == 1
        else einsum("ik,jk->ij", a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])).reshape(
            (*a.shape[:-1], *b.shape[:-1])
        )
    )


def outer(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of each element of one vector with each of another, (N, M)."""
    _need("outer", (1, 1), a, b)
    return a.reshape(-1, 1) * b


def addmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Return beta x + alpha a b."""
    product = a @ b
    return (x if beta == 1 else beta * x) + (product if alpha == 1 else alpha * product)


def baddbmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Return beta x + alpha a b, for batches of matrices."""
    return addmm(x, a, b, beta=beta, alpha=alpha)


def trace(x: Tensor) -> Tensor:
    """Return the sum of a matrix's diagonal."""
    return einsum("ii->", x)


def cdist(a: Tensor, b: Tensor, p: float = 2.0) -> Tensor:
    """Return the p-norm of the difference of each row of a (.., N, D) and each of b (.., M, D): (.., N, M)."""
    difference = a.unsqueeze(-2) - b.unsqueeze(-3)
    if p == 2:
        return apply(root_, (difference * difference).sum(-1))
    return difference.norm(p, -1)


# Einstein's notation ------------------------------------------------------------------------------------


def _terms(equation: str, count: int) -> tuple[list[str], str]:
    """Return the letters of each input and of the output; without an arrow, those that occur once, in order."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != count:
        raise SettingError(f"einsum: {equation!r} has {len(terms)} terms for {count} tensors")
    if not arrow:
        letters = sorted(set(left) - {",", "."})
        right = ("..." if "..." in left else "") + "".join(c for c in letters if left.count(c) == 1)
    return terms, right


def _einsum(*arrays: Array, terms: list[str], result: str) -> Array:
    return np.asarray(np.einsum(f"{','.join(terms)}->{result}", *arrays, optimize=len(arrays) > 1))


def _einsum_back(g: Array, y: Array, *arrays: Array, terms: list[str], result: str) -> list[Array]:
    """Return each input's gradient: the sum of g times the other inputs, in the input's letters.

    A letter that only this input has was summed over, so its gradient is repeated along it; a letter that the input has
    twice picks a diagonal, so its gradient is placed there.
    """
    gradients = []
    for i, (x, term) in enumerate(zip(arrays, terms, strict=True)):
        others = [(t, a) for j, (t, a) in enumerate(zip(terms, arrays, strict=True)) if j != i]
        once = "".join(dict.fromkeys(term.replace("...", "")))
        dots = "..." if "..." in term else ""
        reached = set("".join(t for t, _ in others)) | set(result)
        kept = "".join(c for c in once if c in reached)
        call = f"{','.join([result, *(t for t, _ in others)])}->{dots if '...' in result or dots else ''}{kept}"
        part = np.einsum(call, g, *(a for _, a in others), optimize=True)
        sizes = dict(zip(reversed(term.partition("...")[2] or ("" if dots else term)), reversed(x.shape), strict=False))
        sizes |= dict(zip(term.partition("...")[0] if dots else term, x.shape, strict=False))
        lead = part.shape[: part.ndim - len(kept)]
        part = part.reshape(lead + tuple(sizes[c] if c in kept else 1 for c in once))
        part = np.broadcast_to(part, lead + tuple(sizes[c] for c in once))
        if len(once) + 3 * bool(dots) < len(term):
            full = np.zeros(x.shape, g.dtype)
            np.einsum(f"{term}->{dots}{once}", full)[...] = part
            part = full
        gradients.append(part)
    return gradients


einsum_ = Op("einsum", _einsum)
joint_derivative(einsum_, _einsum_back)


def einsum(equation: str, *tensors: Any) -> Tensor:
    """Return sums of products in Einstein's notation: einsum("bij,bjk->bik", a, b) multiplies batches of matrices.

    Raises:
        SettingError: the number of terms differs from the number of tensors.
        ShapeError: the shapes do not fit the equation.
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    terms, result = _terms(equation, len(given))
    return apply(einsum_, *map(as_tensor, given), terms=terms, result=result)


NAMES = "addmm baddbmm bmm cdist dot einsum inner matmul mm mv outer trace"
METHODS: dict[str, Any] = {name: globals()[name] for name in NAMES.split() if name != "einsum"}
