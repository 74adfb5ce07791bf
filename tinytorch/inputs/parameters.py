"""What is given to an optimizer: lists of parameters, and saved states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tinytorch.base.errors import InputTypeError, StateError
from tinytorch.base.numbers import python_number
from tinytorch.layers import Module, Parameter
from tinytorch.tensor import Tensor

ParameterGroup = dict[str, Any]


def listed(name: str, given: Any) -> list[Any]:
    """Return an iterable as a list. `name` is the function that it was given to, for the messages."""
    if isinstance(given, Module):
        raise InputTypeError(f"{name}: a {type(given).__name__}: expected its parameters: write model.parameters()")
    if isinstance(given, (set, frozenset)):
        raise InputTypeError(f"{name}: a set of parameters: expected a list, because a set has no order")
    if isinstance(given, (str, dict)) or not isinstance(given, Iterable):
        raise InputTypeError(f"{name}: {type(given).__name__}: expected a list of parameters")
    return list(given)


def tensors(name: str, given: Any) -> list[Tensor]:
    """Return one tensor, tensors, or pairs (name, tensor) as a list of tensors."""
    entries: list[Any] = [given] if isinstance(given, Tensor) else listed(name, given)
    found: list[Any] = [entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry for entry in entries]
    for i, p in enumerate(found):
        if not isinstance(p, Tensor):
            raise InputTypeError(f"{name}: parameter {i} is {type(p).__name__}: expected a Tensor")
    return found


def leaf_parameters(name: str, given: Any) -> list[Any]:
    """Return the given tensors as a list, after checking that an optimizer can train them."""
    found = tensors(name, given)
    for i, p in enumerate(found):
        if not p.is_leaf:
            raise InputTypeError(f"{name}: parameter {i} of shape {p.shape} is the result of an operation, so a step "
                                 f"would change nothing: expected a leaf")  # fmt: skip
        if not (p.requires_grad or isinstance(p, Parameter)):  # a Parameter may be frozen for a while
            raise InputTypeError(f"{name}: parameter {i} of shape {p.shape} requires no gradient, so a step would "
                                 f"change nothing: expected requires_grad=True")  # fmt: skip
    return found


def plain(value: Any) -> Any:
    """Return a setting with Python's numbers, as JSON needs them."""
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else python_number(value)


def paired_groups(
    name: str, own: list[ParameterGroup], given: Sequence[ParameterGroup]
) -> Iterator[tuple[ParameterGroup, ParameterGroup]]:
    """Return the pairs of the optimizer's groups and the saved ones, after checking their sizes."""
    sizes, expected = [len(group["params"]) for group in given], [len(group["params"]) for group in own]
    if sizes != expected:
        raise StateError(f"{name}: a state with groups of {sizes} parameters: expected {expected}")
    return zip(own, given, strict=True)


def loaded_group(name: str, own: ParameterGroup, given: ParameterGroup) -> ParameterGroup:
    """Return a group with the saved settings and its own parameters."""
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    optional = {"initial_lr"}  # set by a schedule, before or after the state is loaded
    if settings.keys() - optional != own.keys() - optional:
        raise StateError(f"{name}: a state with the settings {sorted(settings)}: expected {sorted(own)}")
    if "initial_lr" in own:
        settings.setdefault("initial_lr", settings["lr"])
    return settings | {"params": own["params"]}
