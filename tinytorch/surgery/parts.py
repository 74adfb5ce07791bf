"""The parts of a model: observing their inputs and outputs, and replacing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

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
                    if (now := _mapped(value, visit)) is not value:
                        setattr(part, name, now)
        return made[id(part)][1]

    return visit(model)


def _mapped(value: Any, visit: Callable[[Module], Module], above: tuple[int, ...] = ()) -> Any:
    """Return visit(value) for a module. Replace the modules in a list, tuple, or dict, at any depth, by their own."""
    if isinstance(value, Module):
        return visit(value)
    if id(value) in above or not isinstance(value, (list, tuple, dict)):
        return value
    entries = value.values() if isinstance(value, dict) else value
    parts = [_mapped(entry, visit, (*above, id(value))) for entry in entries]
    if all(new is old for new, old in zip(parts, entries, strict=True)):
        return value
    if isinstance(value, dict):
        value.update(zip(value, parts, strict=True))
    elif isinstance(value, list):
        value[:] = parts
    else:
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
