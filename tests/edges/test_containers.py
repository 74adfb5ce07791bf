"""Layers and parameters in lists, tuples, and dicts, at any depth; and tensors that a forward pass keeps."""

from __future__ import annotations

import copy
import pickle
from abc import ABC
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import SettingError
from tinytorch.compression import prunable_weights
from tinytorch.quantization import FakeQuantized
from tinytorch.quantized.layers import QuantizedLinear
from tinytorch.quantized.models import convert, prepare_qat, quantize_dynamic, quantize_static
from tinytorch.tensor import Tensor


class Pair(NamedTuple):
    first: tt.Module
    second: tt.Module


CONTAINERS: dict[str, tuple[Any, list[str]]] = {  # how four layers can be held, and their names
    "list": (lambda a, b, c, d: [a, b, c, d], ["0", "1", "2", "3"]),
    "tuple": (lambda a, b, c, d: (a, b, c, d), ["0", "1", "2", "3"]),
    "dict": (lambda a, b, c, d: {"a": a, "b": b, 3: c, "d": d}, ["a", "b", "3", "d"]),
    "ordered dict": (lambda a, b, c, d: OrderedDict(z=a, y=b, x=c, w=d), ["z", "y", "x", "w"]),
    "list of lists": (lambda a, b, c, d: [[a], [b, [c, d]]], ["0.0", "1.0", "1.1.0", "1.1.1"]),
    "tuples in lists": (lambda a, b, c, d: [(a, b), (c, "name", 3.0, None, d)], ["0.0", "0.1", "1.0", "1.4"]),
    "lists in dicts in lists": (lambda a, b, c, d: [{"x": [a, {"y": b}]}, c, {"z": (d,)}],
                                ["0.x.0", "0.x.1.y", "1", "2.z.0"]),
    "named tuples": (lambda a, b, c, d: {"p": Pair(a, b), "q": Pair(c, d)}, ["p.0", "p.1", "q.0", "q.1"]),
}  # fmt: skip


class Held(tt.Module):
    """Four layers in a container, applied in order."""

    def __init__(self, container: Any) -> None:
        self.b = container(*(tt.Linear(3, 3) for _ in range(4)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers():
            x = layer(x)
        return x

    def layers(self) -> list[Any]:
        found: list[Any] = []

        def search(value: Any) -> None:
            if isinstance(value, tt.Module):
                found.append(value)
            elif isinstance(value, dict):
                search(list(value.values()))
            elif isinstance(value, (list, tuple)):
                for part in value:
                    search(part)

        search(self.b)
        return found


@pytest.fixture(params=CONTAINERS)
def held(request: pytest.FixtureRequest) -> tuple[Held, list[str]]:
    tt.manual_seed(0)
    container, names = CONTAINERS[request.param]
    return Held(container), [f"b.{name}" for name in names]


X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)


def test_every_layer_is_found_under_a_stable_name(held: tuple[Held, list[str]], tmp_path: Path) -> None:
    model, names = held
    tensors = [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
    assert [name for name, _ in model.named_parameters()] == list(model.state_dict()) == tensors
    assert [name for name, _ in model.named_children()] == names
    assert len(list(model.modules())) == len(list(model.named_modules())) == 5
    assert not any(layer.training for layer in model.eval().layers())
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        parameter.data = parameter.data * 0
    other.load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(other(Tensor(X)).data, model(Tensor(X)).data)


def test_every_layer_trains(held: tuple[Held, list[str]]) -> None:
    model, _ = held
    before = [layer.weight.data.copy() for layer in model.layers()]
    optimizer = tt.SGD(model.parameters(), lr=0.1)
    model(Tensor(X)).sum().backward()
    optimizer.step()
    assert all((layer.weight.data != old).any() for layer, old in zip(model.layers(), before, strict=True))


def test_every_layer_is_quantized_and_pruned(held: tuple[Held, list[str]]) -> None:
    model, names = held
    assert list(prunable_weights(model)) == [f"{name}.weight" for name in names]
    prepared: Any = prepare_qat(model)
    assert [type(layer) for layer in prepared.layers()] == [FakeQuantized] * 4
    prepared(Tensor(X))
    for quantized in (quantize_dynamic(model), quantize_static(model, [X]), convert(prepared)):
        assert isinstance(quantized, Held)
        assert [type(layer) for layer in quantized.layers()] == [QuantizedLinear] * 4
        np.testing.assert_allclose(quantized(Tensor(X)).data, model(Tensor(X)).data, atol=0.05)
    assert [type(layer) for layer in model.layers()] == [tt.Linear] * 4
    assert type(quantize_dynamic(model).b) is type(model.b)


def test_parameters_and_buffers_in_containers_are_found() -> None:
    class Tables(tt.Module):
        def __init__(self) -> None:
            self.w = {"a": tt.Parameter(np.ones(1)), "b": [[tt.Parameter(np.ones(2))], (tt.zeros(3), 4)]}

    model = Tables()
    assert [name for name, _ in model.named_parameters()] == ["w.a", "w.b.0.0"]
    assert list(model.state_dict()) == ["w.a", "w.b.0.0", "w.b.1.0"]


def test_layer_in_two_containers_is_listed_once_and_stays_one_layer() -> None:
    class Twice(tt.Module):
        def __init__(self) -> None:
            layer = tt.Linear(3, 3)
            self.a, self.b = {"x": [layer]}, (layer,)

    model = Twice()
    assert [name for name, _ in model.named_parameters()] == ["a.x.0.weight", "a.x.0.bias"]
    quantized: Any = quantize_dynamic(model)
    assert quantized.a["x"][0] is quantized.b[0]


def test_set_of_layers_is_refused_with_its_name() -> None:
    class Unordered(tt.Module):
        def __init__(self) -> None:
            self.parts = {"a": {tt.Linear(1, 1)}}

    with pytest.raises(SettingError, match=r"parts\.a: a set of modules or tensors: expected a list, tuple, or dict"):
        Unordered()


def test_set_of_numbers_and_list_that_contains_itself_are_ignored() -> None:
    class Odd(tt.Module):
        def __init__(self) -> None:
            self.sizes, self.loop = {1, 2}, [tt.Linear(1, 1)]
            self.loop.append(self.loop)  # type: ignore[arg-type]

    assert [name for name, _ in Odd().named_parameters()] == ["loop.0.weight", "loop.0.bias"]


def test_two_tensors_of_one_name_are_refused() -> None:
    class Ambiguous(tt.Module):
        def __init__(self) -> None:
            self.b = {1: tt.Parameter(np.ones(1)), "1": tt.Parameter(np.zeros(1))}

    with pytest.raises(SettingError, match=r"Ambiguous: two tensors are named b\.1"):
        Ambiguous().state_dict()


# Tensors that forward keeps -----------------------------------------------------------------------------


class Keeping(tt.Module):
    """A module that keeps tensors in its forward pass in every way that occurs, and has two buffers."""

    def __init__(self) -> None:
        self.fc = tt.Linear(3, 3)
        self.running = tt.zeros(3)
        self.maps: dict[str, Tensor] = {}
        self.outputs: list[Tensor] = []
        self.last: Tensor | None = None
        self.register_buffer("steps", Tensor(np.array(0)))
        self.register_buffer("scratch", tt.zeros(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        self.last, self.hidden, self.inputs, self.detached = y, y * 2, x, y.detach()
        self.maps["y"] = y
        self.outputs.append(y)
        self.running = Tensor(self.running.data + y.data.mean(axis=0))
        return y


NAMES = ["running", "steps", "fc.weight", "fc.bias"]


def test_tensors_kept_in_forward_are_not_saved_and_buffers_stay_buffers(tmp_path: Path) -> None:
    model = Keeping()
    assert list(model.state_dict()) == NAMES
    path = model.save(tmp_path / "before.safetensors")
    model(Tensor(X))
    with tt.no_grad():
        model(Tensor(X))
    assert list(model.state_dict()) == NAMES
    model.load(path)
    model.load(model.save(tmp_path / "after.safetensors"))
    Keeping().load(tmp_path / "after.safetensors")


def test_training_with_kept_tensors_resumes(tmp_path: Path) -> None:
    def trainer(model: tt.Module) -> tt.Trainer:
        optimizer = tt.SGD(model.parameters())
        return tt.Trainer(model, optimizer, tt.mse_loss, checkpoint=tmp_path / "run.safetensors")

    loader = tt.DataLoader(tt.TensorDataset(X, X), 10)
    model = Keeping()
    trainer(model).fit(loader, 1)
    again = trainer(Keeping())
    assert again.resume()
    again.fit(loader, 2)
    trainer(model).resume()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_keep_the_same_buffers(copied: Any) -> None:
    model = Keeping()
    with tt.no_grad():
        model(Tensor(X))
    assert list(copied(model).state_dict()) == NAMES


def test_parameter_that_forward_creates_is_found() -> None:
    class Lazy(tt.Module):
        def forward(self, x: Tensor) -> Tensor:
            if not hasattr(self, "scale"):
                self.scale = tt.Parameter(np.ones(x.shape[-1]))
            self.last = x * self.scale
            return self.last

    model = Lazy()
    model(Tensor(X))
    assert list(model.state_dict()) == ["scale"]


def test_subclasses_have_the_buffers_of_their_bases_and_their_own() -> None:
    class Base(tt.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = tt.zeros(1)

    class Derived(Base, ABC):
        def __init__(self) -> None:
            super().__init__()
            self.b = tt.zeros(1)

    class Same(Derived):
        pass

    assert list(Same().state_dict()) == ["a", "b"]
