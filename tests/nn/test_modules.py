"""Methods of modules beyond the course: text, parts, hooks, casts, and loading states that do not quite fit."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
import tinytorch.nn
from tinytorch.base.errors import SettingError, StateError

nn: Any = tinytorch.nn  # methods of `base.extension` are unknown to the type checker


def small() -> Any:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


def test_text_shows_sizes_and_parameters() -> None:
    assert repr(nn.Linear(2, 3, bias=False)) == "Linear(in_features=2, out_features=3, bias=False)  # 6 parameters"
    assert (
        repr(small())
        == """Sequential(
  (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))
  (1): BatchNorm2d(num_features=2, eps=1e-05, momentum=0.1)
  (2): ReLU()
  (3): Flatten(start_dim=1, end_dim=-1)
  (4): Linear(in_features=8, out_features=3, bias=True)
)
# 51 parameters"""
    )
    frozen = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Tanh(), nn.Linear(2, 1))
    assert repr(frozen).endswith("# 9 parameters, 6 frozen")


def test_text_of_a_module_of_ones_own() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = 2.5
            self.parts = [nn.Linear(1, 1), {"key": nn.Tanh()}]

        def extra_repr(self) -> str:
            return f"times {self.factor}"

    assert repr(Scale()).splitlines()[:2] == [
        "Scale(times 2.5",
        "  (parts.0): Linear(in_features=1, out_features=1, bias=True)",
    ]


REFUSED = ("Transformer", "TransformerDecoder", "TransformerDecoderLayer")  # see tests/edges/test_refusals.py


@pytest.mark.parametrize(
    "name", [n for n in nn.__all__ if n not in ("functional", "init", "utils", "Module", "Parameter", *REFUSED)]
)
def test_every_layer_has_a_text(name: str) -> None:
    kind = getattr(nn, name)
    for arguments in ((), (4,), (4, 4), (4, 4, 3), (4, 4, 4), (nn.TransformerEncoderLayer(4, 2), 1), (1, (2, 2))):
        try:
            layer = kind(*arguments)
        except (TypeError, ValueError, AttributeError):
            continue
        assert repr(layer).startswith(f"{name}(")
        return
    pytest.fail(f"{name}: no arguments fit")


def test_parts() -> None:
    model = small()
    assert len(list(model.children())) == 5
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "2", "3", "4"]
    assert [name for name, _ in model.named_buffers()] == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert model.get_submodule("4") is model[4]
    assert model.get_parameter("4.bias") is model[4].bias
    with pytest.raises(StateError, match="no submodule '9'"):
        model.get_submodule("9")
    visited: list[Any] = []
    model.apply(visited.append)
    assert visited[-1] is model
    assert len(visited) == 6
    assert isinstance(model[1:3], nn.Sequential)
    assert model[1:3][0] is model[1]


def test_parameters_can_be_read_one_after_the_other() -> None:
    model = small()
    parameters = model.parameters()
    assert next(parameters) is model[0].weight
    assert next(parameters) is model[0].bias
    assert len(list(model.parameters())) == 6
    assert next(n for n, _ in model.named_parameters(prefix="net")) == "net.0.weight"
    assert list(model.parameters(recurse=False)) == []


def test_hooks_see_and_replace_inputs_and_outputs() -> None:
    layer = nn.Linear(2, 2)
    calls: list[str] = []
    before = layer.register_forward_pre_hook(lambda m, inputs: calls.append("before"))
    double = layer.register_forward_pre_hook(lambda m, inputs: (inputs[0] * 2,))
    after = layer.register_forward_hook(lambda m, inputs, output: output + len(calls))
    y = layer(tt.ones(1, 2))
    np.testing.assert_allclose(y.data[0], 2 * layer.weight.data.sum(axis=1) + layer.bias.data + 1, rtol=1e-5)
    assert calls == ["before"]
    for handle in (before, double, after):
        handle.remove()
    layer(tt.ones(1, 2))
    assert len(calls) == 1


def test_forward_accepts_arguments_by_name() -> None:
    class Named(nn.Module):
        def forward(self, x: Any, *, times: int = 1) -> Any:
            return x * times

    assert Named()(tt.ones(1), times=3).item() == 3


def test_casts() -> None:
    model = small().double()
    assert {v.dtype.name for v in model.state_dict().values()} == {"float64", "int64"}
    assert model.to("cpu").float()[0].weight.dtype == np.float32
    with pytest.raises(SettingError, match="expected a floating-point dtype"):
        model.to(tt.int64)
    with pytest.raises(SettingError, match="CPU only"):
        model.to("cuda")


def test_state_with_prefixes_and_masks_loads() -> None:
    model = small()
    state = {name: value.data + 1 for name, value in model.state_dict().items()}
    for prefix in ("module.", "_orig_mod.", "_orig_mod.module."):
        model.load_state_dict({prefix + name: value for name, value in state.items()})
        np.testing.assert_array_equal(model[4].bias.data, state["4.bias"])
    model.load_state_dict({**state, "h.0.attn.bias": np.ones((1, 1, 8, 8)), "h.0.attn.masked_bias": np.array(-1e4)})
    with pytest.raises(StateError, match=r"unknown h.0.attn.bias"):
        model.load_state_dict({**state, "h.0.attn.bias": np.ones(8)})


def test_loading_loosely_reports_what_did_not_fit() -> None:
    model = small()
    before = model[4].weight.data.copy()
    keys = model.load_state_dict({"4.bias": np.ones(3, np.float32), "other": np.ones(1)}, strict=False)
    assert keys.unexpected_keys == ["other"]
    assert "4.weight" in keys.missing_keys
    assert "4.bias" not in keys.missing_keys
    np.testing.assert_array_equal(model[4].weight.data, before)
    np.testing.assert_array_equal(model[4].bias.data, 1)
    with pytest.raises(StateError, match="has shape"):
        model.load_state_dict({"4.bias": np.ones(4)}, strict=False)


def test_buffers_and_parameters_are_registered_by_name() -> None:
    layer = nn.Linear(1, 1)
    layer.register_buffer("steps", tt.zeros(1))
    layer.register_buffer("scratch", tt.zeros(1), persistent=False)
    layer.register_parameter("extra", nn.Parameter(tt.ones(2)))
    layer.register_parameter("none", None)
    layer.add_module("inner", nn.Linear(1, 1))
    assert list(layer.state_dict()) == ["weight", "bias", "steps", "extra", "inner.weight", "inner.bias"]
    with pytest.raises(SettingError, match="expected a Parameter or None"):
        layer.register_parameter("wrong", tt.ones(1))


def test_gradients_can_be_zeroed_instead_of_removed() -> None:
    layer = nn.Linear(1, 1)
    layer(tt.ones(1, 1)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.item() == 0
    layer.zero_grad()
    assert layer.weight.grad is None


def test_containers_hold_and_name_their_parts() -> None:
    parts = nn.ModuleList([nn.Linear(1, 2), nn.ReLU()])
    parts.append(nn.Linear(2, 1))
    assert len(parts) == 3
    assert list(parts.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert type(parts[:2]) is nn.ModuleList
    with pytest.raises(SettingError, match="ModuleList: function: expected a Module"):
        parts.append(tt.relu)
    table = nn.ModuleDict(OrderedDict(a=nn.Linear(1, 1), b=nn.Tanh()))
    assert table.a is table["a"]
    assert "b" in table
    assert list(table) == ["a", "b"]
    with pytest.raises(AttributeError, match="no entry 'c'"):
        _ = table.c
    values = nn.ParameterList([nn.Parameter(tt.ones(2))])
    assert list(values.state_dict()) == ["0"]
    assert list(nn.ParameterDict({"x": nn.Parameter(tt.ones(2))}).state_dict()) == ["x"]


def test_longer_class_is_the_courses_where_it_suffices() -> None:
    assert type(nn.Conv2d(1, 2, 3)) is tt.Conv2d
    assert isinstance(tt.Conv2d(1, 2, 3), nn.Conv2d)
    assert isinstance(nn.Conv2d(1, 2, 3, padding="same"), tt.Conv2d)
    assert not isinstance(nn.Linear(1, 1), nn.Conv2d)
    assert type(nn.LayerNorm(4)) is tt.LayerNorm
    assert type(nn.Linear(4, 2)) is tt.Linear
    assert isinstance(tt.Linear(4, 2), nn.Linear)
    assert nn.Embedding(4, 2, dtype=tt.float64).weight.dtype == np.float64

    for layer in (
        nn.Linear(2, 3, device="cpu", dtype=tt.float64),
        nn.LSTM(2, 3, dtype=tt.double),
        nn.GroupNorm(1, 2, dtype=tt.float64),
        nn.ConvTranspose2d(1, 1, 2, dtype=tt.float64),
        nn.TransformerEncoderLayer(4, 2, dtype=tt.float64),
    ):
        assert {p.dtype.name for p in layer.parameters()} == {"float64"}

    class Mine(nn.Conv2d):
        pass

    assert type(Mine(1, 2, 3)) is Mine
    assert not isinstance(nn.Conv2d(1, 2, 3), Mine)


def test_model_is_quantized_saved_and_loaded_as_the_courses(tmp_path) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.1),
        nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3), nn.Sigmoid(),
    ).eval()  # fmt: skip
    x = tt.randn(2, 1, 8, 8)
    tt.save_model(model, tmp_path / "model")
    np.testing.assert_array_equal(tt.load_model(tmp_path / "model").eval()(x).data, model(x).data)
    small = tt.quantize_dynamic(tt.fold_batch_norm(model))
    assert abs(small(x).data - model(x).data).max() < 0.05


def test_layers_of_an_ordered_dict_have_its_names() -> None:
    model = nn.Sequential(OrderedDict(fc1=nn.Linear(2, 3), act=nn.ReLU(), fc2=nn.Linear(3, 1)))
    assert list(model.state_dict()) == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert model.fc1 is model[0]
    assert repr(model).splitlines()[2] == "  (act): ReLU()"
    assert model(tt.ones(4, 2)).shape == (4, 1)
    assert isinstance(nn.Sequential(nn.ReLU()), nn.Sequential)
    with pytest.raises(AttributeError, match="no attribute or layer 'fc9'"):
        _ = model.fc9

    class Block(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(2, 2), nn.Tanh())

    assert list(Block().state_dict()) == ["0.weight", "0.bias"]
    assert Block()(tt.ones(1, 2)).shape == (1, 2)
    frozen = nn.Parameter(tt.ones(2), requires_grad=False)
    assert not frozen.requires_grad
