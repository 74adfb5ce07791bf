"""Module 04: layers, how a module finds its submodules and parameters, and saved state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinytorch.activations import ReLU
from tinytorch.base.errors import SettingError, ShapeError, StateError
from tinytorch.base.files import load_arrays
from tinytorch.base.random import default_generator, manual_seed
from tinytorch.layers import (
    Dropout,
    Flatten,
    Linear,
    Module,
    Parameter,
    Sequential,
    evaluating,
    kaiming_uniform,
    linear,
)
from tinytorch.tensor import Array, Tensor, apply, ones, zeros

# Modules, their submodules, and their tensors -----------------------------------------------------------


class Leaf(Module):
    """A layer with a weight, a buffer, and settings that are no tensors."""

    def __init__(self) -> None:
        self.size, self.text, self.nothing = 3, "text", None
        self.weight = Parameter(np.ones(2, np.float32))
        self.running = zeros(2)


class Tree(Module):
    """Submodules as attributes, in a list, and in a tuple; parameters directly and in a list."""

    def __init__(self) -> None:
        self.first = Leaf()
        self.blocks: list[object] = [Leaf(), "no module", Leaf()]
        self.scales = [Parameter(np.ones(1, np.float32)), Parameter(np.ones(1, np.float32))]
        self.pair = (Leaf(),)
        self.bias = Parameter(np.zeros(2, np.float32))


class Nested(Module):
    """A tree within a module: two levels of names."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.last = Leaf()


class Tied(Module):
    """Two layers that share one weight."""

    def __init__(self) -> None:
        self.blocks = [Leaf(), Leaf()]
        self.blocks[1].weight = self.blocks[0].weight


def test_children_are_found_in_attributes_lists_and_tuples() -> None:
    tree = Tree()
    names = [name for name, _ in tree.named_children()]
    assert names == ["first", "blocks.0", "blocks.2", "pair.0"]
    children = [child for _, child in tree.named_children()]
    assert children == [tree.first, tree.blocks[0], tree.blocks[2], tree.pair[0]]
    assert list(Leaf().named_children()) == []


def test_children_are_only_the_direct_submodules() -> None:
    assert [name for name, _ in Nested().named_children()] == ["tree", "last"]


def test_modules_are_found_at_every_depth_the_module_itself_first() -> None:
    nested = Nested()
    found = list(nested.modules())
    tree = nested.tree
    assert found == [nested, tree, tree.first, tree.blocks[0], tree.blocks[2], tree.pair[0], nested.last]


def test_tensors_have_full_names_their_own_module_first() -> None:
    own = [name for name, _ in Leaf().named_tensors()]
    assert own == ["weight", "running"]
    expected = ["scales.0", "scales.1", "bias"]
    expected += [f"{child}.{name}" for child in ("first", "blocks.0", "blocks.2", "pair.0") for name in own]
    assert [name for name, _ in Tree().named_tensors()] == expected
    assert [name for name, _ in Tree().named_tensors("net.")] == [f"net.{name}" for name in expected]
    nested = [f"tree.{name}" for name in expected] + ["last.weight", "last.running"]
    assert [name for name, _ in Nested().named_tensors()] == nested


def test_shared_tensor_is_found_under_each_of_its_names() -> None:
    model = Tied()
    found = dict(model.named_tensors())
    assert list(found) == ["blocks.0.weight", "blocks.0.running", "blocks.1.weight", "blocks.1.running"]
    assert found["blocks.1.weight"] is found["blocks.0.weight"] is model.blocks[0].weight


def test_parameters_are_found_without_buffers_and_shared_ones_once() -> None:
    names = ["scales.0", "scales.1", "bias", "first.weight", "blocks.0.weight", "blocks.2.weight", "pair.0.weight"]
    assert [name for name, _ in Tree().named_parameters()] == names
    assert [name for name, _ in Tied().named_parameters()] == ["blocks.0.weight"]
    assert len(Tied().parameters()) == 1


def test_shared_tensor_is_saved_once_and_loaded_under_all_its_names(tmp_path: Path) -> None:
    model, other = Tied(), Tied()
    model.blocks[0].weight.data = np.array([5, 7], np.float32)
    path = model.save(tmp_path / "tied.safetensors")
    assert "blocks.1.weight" not in load_arrays(path)[0]
    other.load(path)
    np.testing.assert_array_equal(other.blocks[1].weight.data, [5, 7])
    assert other.blocks[1].weight is other.blocks[0].weight
    state = {name: value.data.copy() for name, value in model.state_dict().items()}
    other.load_state_dict(state)
    state["blocks.1.weight"] += 1
    with pytest.raises(StateError, match=r"blocks\.1\.weight and blocks\.0\.weight are one tensor but differ"):
        other.load_state_dict(state)


def test_loading_copies_and_keeps_the_dtype() -> None:
    model = Leaf()
    state = {"weight": np.ones(2, np.float64), "running": np.zeros(2)}
    model.load_state_dict(state)
    state["weight"][:] = 7
    assert model.weight.dtype == np.float32
    assert model.weight.data.max() == 1


def test_mismatched_state_lists_all_problems_and_changes_nothing() -> None:
    model = Leaf()
    with pytest.raises(StateError, match=r"unknown extra; weight has shape \(3, 3\), expected \(2,\); missing running"):
        model.load_state_dict({"weight": np.zeros((3, 3)), "extra": np.ones(1)})
    np.testing.assert_array_equal(model.weight.data, [1, 1])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"none\.safetensors: no such file"):
        Leaf().load(tmp_path / "none.safetensors")


def test_forward_must_be_defined() -> None:
    with pytest.raises(NotImplementedError, match="Module must define forward"):
        Module()(1)


def test_gradients_of_all_parameters_are_reset() -> None:
    model = Tree()
    for parameter in model.parameters():
        parameter.grad = ones(*parameter.shape)
    model.zero_grad()
    assert [parameter.grad for parameter in model.parameters()] == [None] * 7


def test_train_and_eval_reach_every_submodule_and_return_the_module() -> None:
    model = Nested()
    assert all(part.training for part in model.modules())
    assert model.eval() is model
    assert [part.training for part in model.modules()] == [False] * 7
    assert model.train() is model
    assert [part.training for part in model.modules()] == [True] * 7


def test_inference_mode_ends_with_the_previous_modes() -> None:
    model = Nested()
    model.last.training = False
    with evaluating(model):
        assert not any(part.training for part in model.modules())
    assert [part.training for part in model.modules()] == [True] * 6 + [False]


# Linear layers ------------------------------------------------------------------------------------------


def test_initial_weights_are_uniform_within_their_bound() -> None:
    manual_seed(3)
    weight = kaiming_uniform((300, 400), 100)
    assert isinstance(weight, Parameter)
    assert weight.requires_grad
    assert weight.shape == (300, 400)
    assert weight.dtype == np.float32
    assert -0.1 <= weight.data.min() < -0.0999
    assert 0.0999 < weight.data.max() <= 0.1
    np.testing.assert_allclose(weight.data.std(), 0.1 / 3**0.5, rtol=0.02)
    np.testing.assert_allclose(weight.data.mean(), 0, atol=0.001)


def test_initial_weights_follow_the_seed() -> None:
    manual_seed(3)
    first, second = kaiming_uniform((4, 5), 5).data, kaiming_uniform((4, 5), 5).data
    assert not np.array_equal(first, second)
    manual_seed(3)
    np.testing.assert_array_equal(kaiming_uniform((4, 5), 5).data, first)


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("leading", [(), (4,), (2, 3), (2, 1, 3), (0, 5)])
def test_linear_op_accepts_any_leading_dimensions(leading: tuple[int, ...]) -> None:
    x, weight, bias = normal(*leading, 3), normal(2, 3), normal(2)
    before = x.copy()
    y = apply(linear, Tensor(x), Tensor(weight), Tensor(bias))
    assert y.shape == (*leading, 2)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.data, np.inner(x, weight) + bias, rtol=1e-5, atol=1e-6)
    without = apply(linear, Tensor(x), Tensor(weight))
    np.testing.assert_allclose(without.data, np.inner(x, weight), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(x, before)


def test_linear_layer_has_a_weight_and_a_bias() -> None:
    manual_seed(5)
    layer = Linear(400, 300)
    assert (layer.in_features, layer.out_features) == (400, 300)
    assert layer.bias is not None
    assert (layer.weight.shape, layer.bias.shape) == ((300, 400), (300,))
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    for values in (layer.weight.data, layer.bias.data):  # the fan-in of both is the number of inputs
        assert 0.04 < abs(values).max() <= 1 / 400**0.5
    manual_seed(5)
    np.testing.assert_array_equal(kaiming_uniform((300, 400), 400).data, layer.weight.data)
    np.testing.assert_array_equal(kaiming_uniform((300,), 400).data, layer.bias.data)
    assert Linear(3, 2, bias=False).bias is None
    assert [name for name, _ in Linear(3, 2, bias=False).named_parameters()] == ["weight"]


def test_linear_is_x_times_w_transposed_plus_b() -> None:
    layer, x = Linear(3, 2), normal(5, 3)
    assert layer.bias is not None
    y = layer(Tensor(x))
    np.testing.assert_allclose(y.data, x @ layer.weight.data.T + layer.bias.data, rtol=1e-5, atol=1e-6)
    assert y.node is not None
    assert y.node.op is linear
    assert y.node.inputs[1:] == (layer.weight, layer.bias)
    without = Linear(3, 2, bias=False)
    np.testing.assert_allclose(without(Tensor(x)).data, x @ without.weight.data.T, rtol=1e-5, atol=1e-6)


def test_wrong_input_size_states_both_shapes() -> None:
    with pytest.raises(ShapeError, match=r"input of shape \(5, 4\).*weight of shape \(2, 3\).*expected \(\.\.\., 3\)"):
        Linear(3, 2)(zeros(5, 4))
    with pytest.raises(SettingError, match="at least 1"):
        Linear(0, 2)


def test_layers_accept_empty_batches() -> None:
    assert Linear(3, 2)(zeros(0, 5, 3)).shape == (0, 5, 2)
    assert Flatten()(zeros(0, 3, 4)).shape == (0, 12)


def test_flatten_keeps_the_first_dimension() -> None:
    assert Flatten()(zeros(2, 3, 4)).shape == (2, 12)


# Dropout ------------------------------------------------------------------------------------------------


def test_dropout_is_active_only_in_training_and_keeps_the_mean() -> None:
    manual_seed(0)
    layer, x = Dropout(0.25), ones(200, 200)
    y = layer(x)
    assert y.dtype == np.float32
    assert set(np.unique(y.data)) == {np.float32(0), np.float32(4 / 3)}
    np.testing.assert_allclose(y.data.mean(), 1, atol=0.02)
    layer.training = False
    assert layer(x) is x
    assert Dropout(0)(x) is x


def test_dropout_follows_the_seed_and_scales_the_input() -> None:
    manual_seed(7)
    kept = default_generator().random((40, 30), np.float32) >= 0.25
    x = normal(40, 30)
    manual_seed(7)
    np.testing.assert_allclose(Dropout(0.25)(Tensor(x)).data, x * kept / 0.75, rtol=1e-6)


def test_dropout_passes_on_that_a_gradient_is_required() -> None:
    y = Dropout(0.5)(ones(3, 3, requires_grad=True))
    assert y.requires_grad


def test_probability_out_of_range_is_rejected() -> None:
    with pytest.raises(SettingError, match="p 1"):
        Dropout(1)


# Sequential ---------------------------------------------------------------------------------------------


def network() -> Sequential:
    manual_seed(0)
    return Sequential(Flatten(), Linear(6, 4), ReLU(), Dropout(0.5), Linear(4, 2, bias=False))


class Scaled(Sequential):
    """A Sequential with an additional submodule and additional parameters."""

    def __init__(self) -> None:
        super().__init__(Linear(2, 2))
        self.last = Linear(2, 1)
        self.scales = [Parameter(np.ones(1)), Parameter(np.ones(1))]


def test_sequential_accepts_any_callable_and_applies_them_in_order() -> None:
    layers: list[Callable[[Tensor], Tensor]] = [lambda x: x + 1, ReLU(), lambda x: x * 2]
    model = Sequential(*layers)
    assert model(Tensor([-3.0, 1.0])).data.tolist() == [0, 4]
    assert len(model) == 3
    assert model.layers == layers
    assert model[1] is layers[1]
    x = zeros(1)
    assert Sequential()(x) is x


def test_layers_of_a_sequential_are_named_by_position() -> None:
    assert [name for name, _ in network().named_children()] == ["0", "1", "3", "4"]
    assert [name for name, _ in Scaled().named_children()] == ["0", "last"]


def test_names_and_layouts_are_pytorchs() -> None:
    shapes = {name: value.shape for name, value in network().state_dict().items()}
    assert shapes == {"1.weight": (4, 6), "1.bias": (4,), "4.weight": (2, 4)}


def test_parameters_in_lists_and_next_to_a_sequentials_layers_are_found() -> None:
    names = [name for name, _ in Scaled().named_parameters()]
    assert names == ["scales.0", "scales.1", "0.weight", "0.bias", "last.weight", "last.bias"]


def test_eval_turns_off_dropout_within_a_network() -> None:
    model, x = network(), Tensor(normal(5, 6))
    model.eval()
    np.testing.assert_array_equal(model(x).data, model(x).data)


def test_saved_weights_load_bit_for_bit(tmp_path: Path) -> None:
    model, other = network(), network()
    other[1].weight.data += 1  # type: ignore[attr-defined]
    path = model.save(tmp_path / "model.safetensors")
    other.load(path)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].data, value.data)
    assert set(load_arrays(path)[0]) == set(model.state_dict())


@pytest.mark.parametrize("cut", [0, 4, 60])
def test_truncated_file_is_rejected_by_name(tmp_path: Path, cut: int) -> None:
    path = network().save(tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StateError, match=r"model\.safetensors: not a complete safetensors file"):
        network().load(path)
