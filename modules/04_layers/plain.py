"""Module 04, written as a learner would: the course's proof tests that these answers pass, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from tinytorch.base.random import default_generator
from tinytorch.layers import Module as Given
from tinytorch.layers import Parameter, linear
from tinytorch.tensor import Array, Tensor, apply


def held_in(name: str, value: Any, above: tuple[int, ...] = ()) -> Iterator[tuple[str, Module | Tensor]]:
    if isinstance(value, (Module, Tensor)):
        yield name, value
        return
    if id(value) in above:
        return
    if isinstance(value, dict):
        for key in value:
            yield from held_in(f"{name}.{key}", value[key], (id(value), *above))
    if isinstance(value, (list, tuple)):
        for i in range(len(value)):
            yield from held_in(f"{name}.{i}", value[i], (id(value), *above))


class Module(Given):
    def named_children(self) -> Iterator[tuple[str, Module]]:
        for name, value in self._held():
            if isinstance(value, Module):
                yield name, value

    def modules(self) -> Iterator[Module]:
        yield self
        for _, child in self.named_children():
            yield from child.modules()

    def named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        for name, value in self._own_tensors():
            yield f"{prefix}{name}", value
        for name, child in self.named_children():
            for rest, tensor in child.named_tensors():
                yield f"{prefix}{name}.{rest}", tensor

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        found: dict[int, tuple[str, Parameter]] = {}
        for name, tensor in self.named_tensors():
            if isinstance(tensor, Parameter) and id(tensor) not in found:
                found[id(tensor)] = (name, tensor)
        yield from found.values()

    def train(self, mode: bool = True) -> Self:
        self.training = mode
        for _, child in self.named_children():
            child.train(mode)
        return self


def kaiming_uniform(shape: tuple[int, ...], fan_in: int) -> Parameter:
    bound = fan_in**-0.5
    values = default_generator().random(shape, np.float32)
    return Parameter(values * (2 * bound) - bound)


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = x @ weight.T
    return y if bias is None else y + bias


class Linear(Module):
    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features = in_features
        self.out_features = out_features
        self.weight = kaiming_uniform((out_features, in_features), in_features)
        self.bias = None
        if bias:
            self.bias = kaiming_uniform((out_features,), in_features)

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is not None:
            return apply(linear, x, self.weight, self.bias)
        return apply(linear, x, self.weight)


class Dropout(Module):
    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.p > 0:
            kept = default_generator().random(x.shape, np.float32) >= self.p
            mask = kept.astype(x.dtype) / x.dtype.type(1 - self.p)
            return x * mask
        return x


class Sequential(Module):
    def __init__(self, *layers: Callable[[Tensor], Tensor]) -> None:
        self.layers = list(layers)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Module):
                yield str(i), layer
        for name, child in super().named_children():
            if not name.startswith("layers."):
                yield name, child

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x
