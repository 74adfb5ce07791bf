"""The parts of a model: observing their inputs and outputs, and replacing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tinytorch.layers import Module
from tinytorch.tensor import Tensor

Watcher = Callable[[str, Module, Tensor, Tensor], None]  # name, layer, input, output


@contextmanager
def watched(
    layers: Iterable[tuple[str, Module]], look: Callable[[str, Module, Tensor, Tensor], None]
) -> Iterator[None]:
    """Call `look(name, layer, input, output)` on each forward pass of the given layers while the context is active.

    layers: pairs (name, layer). A layer that occurs twice is observed once, under its last name.
    """
    chosen = {id(layer): (name, layer) for name, layer in layers}

    def begin(name: str, layer: Module) -> None:
        forward = layer.forward

        def noted(x: Tensor) -> Tensor:
            y = forward(x)
            look(name, layer, x, y)
            return y

        layer.forward = noted  # type: ignore[method-assign]

    for name, layer in chosen.values():
        begin(name, layer)
    try:
        yield
    finally:
        for _, layer in chosen.values():
            del layer.forward  # restores the method of the class


def replaced(model: Module, make: Callable[[Module], Module]) -> Module:
    """Replace each part with `make(part)`, from the outermost inwards, and return the model.

    If `make` returns the part itself, its own parts are visited next. Shared parts stay shared.
    """
    made: dict[int, tuple[Module, Module]] = {}  # keeps the old parts alive, so that their ids stay unique

    def visit(part: Module) -> Module:
        if id(part) not in made:
            new = make(part)
            made[id(part)] = part, new
            if new is part:
                for name, value in list(vars(part).items()):
                    if isinstance(value, Module):
                        setattr(part, name, visit(value))
                    elif isinstance(value, list):
                        value[:] = [visit(entry) if isinstance(entry, Module) else entry for entry in value]
                    elif isinstance(value, tuple):
                        parts = tuple(visit(entry) if isinstance(entry, Module) else entry for entry in value)
                        setattr(part, name, parts)
        return made[id(part)][1]

    return visit(model)
