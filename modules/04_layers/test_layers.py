"""Module 04: layers, how a module finds its submodules and parameters, and saved state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import SettingError, ShapeError, StateError
from tinytorch.base.files import load_arrays
from tinytorch.tensor import Tensor


def network() -> tt.Sequential:
    tt.manual_seed(0)
    return tt.Sequential(tt.Flatten(), tt.Linear(6, 4), tt.ReLU(), tt.Dropout(0.5), tt.Linear(4, 2, bias=False))


def test_linear_is_x_times_w_transposed_plus_b() -> None:
    layer = tt.Linear(3, 2)
    assert layer.bias is not None
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_allclose(layer(Tensor(x)).data, x @ layer.weight.data.T + layer.bias.data, rtol=1e-6)


@pytest.mark.parametrize("leading", [(), (4,), (2, 3), (2, 1, 3)])
def test_linear_accepts_any_leading_dimensions(leading: tuple[int, ...]) -> None:
    layer = tt.Linear(3, 2)
    assert layer.bias is not None
    x = np.random.default_rng(0).standard_normal((*leading, 3)).astype(np.float32)
    y = layer(Tensor(x)).data
    assert y.shape == (*leading, 2)
    np.testing.assert_allclose(y, np.inner(x, layer.weight.data) + layer.bias.data, rtol=1e-5, atol=1e-6)


def test_wrong_input_size_states_both_shapes() -> None:
    with pytest.raises(ShapeError, match=r"input of shape \(5, 4\).*weight of shape \(2, 3\).*expected \(\.\.\., 3\)"):
        tt.Linear(3, 2)(tt.zeros(5, 4))
    with pytest.raises(SettingError, match="at least 1"):
        tt.Linear(0, 2)


def test_initial_weights_follow_pytorch_and_the_seed() -> None:
    tt.manual_seed(3)
    layer = tt.Linear(400, 300)
    bound = 1 / 400**0.5
    assert abs(layer.weight.data).max() <= bound
    np.testing.assert_allclose(layer.weight.data.std(), bound / 3**0.5, rtol=0.02)
    tt.manual_seed(3)
    np.testing.assert_array_equal(tt.Linear(400, 300).weight.data, layer.weight.data)


def test_names_and_layouts_are_pytorchs() -> None:
    shapes = {name: value.shape for name, value in network().state_dict().items()}
    assert shapes == {"1.weight": (4, 6), "1.bias": (4,), "4.weight": (2, 4)}


class Tied(tt.Module):
    """Two layers that share one weight, and a buffer."""

    def __init__(self) -> None:
        self.blocks = [tt.Linear(3, 3) for _ in range(2)]
        self.blocks[1].weight = self.blocks[0].weight
        self.running = tt.zeros(3)


def test_lists_are_searched_buffers_saved_and_shared_parameters_listed_once() -> None:
    model = Tied()
    names = ["blocks.0.weight", "blocks.0.bias", "blocks.1.bias"]
    assert [name for name, _ in model.named_parameters()] == names
    assert set(model.state_dict()) == {*names, "blocks.1.weight", "running"}


def test_shared_tensor_is_saved_once_and_loaded_under_all_its_names(tmp_path: Path) -> None:
    model, other = Tied(), Tied()
    path = model.save(tmp_path / "tied.safetensors")
    assert "blocks.1.weight" not in load_arrays(path)[0]
    other.load(path)
    np.testing.assert_array_equal(other.blocks[1].weight.data, model.blocks[0].weight.data)
    assert other.blocks[1].weight is other.blocks[0].weight
    state = {name: value.data.copy() for name, value in model.state_dict().items()}
    other.load_state_dict(state)
    state["blocks.1.weight"] += 1
    with pytest.raises(StateError, match=r"blocks\.1\.weight and blocks\.0\.weight are one tensor but differ"):
        other.load_state_dict(state)


class Scaled(tt.Sequential):
    """A Sequential with an additional submodule and additional parameters."""

    def __init__(self) -> None:
        super().__init__(tt.Linear(2, 2))
        self.last = tt.Linear(2, 1)
        self.scales = [tt.Parameter(np.ones(1)), tt.Parameter(np.ones(1))]


def test_parameters_in_lists_and_next_to_a_sequentials_layers_are_found() -> None:
    names = [name for name, _ in Scaled().named_parameters()]
    assert names == ["scales.0", "scales.1", "0.weight", "0.bias", "last.weight", "last.bias"]


def test_layers_accept_empty_batches() -> None:
    assert tt.Linear(3, 2)(tt.zeros(0, 5, 3)).shape == (0, 5, 2)
    assert tt.Flatten()(tt.zeros(0, 3, 4)).shape == (0, 12)


def test_train_and_eval_reach_every_submodule() -> None:
    model = network()
    assert all(not part.training for part in model.eval().modules())
    assert all(part.training for part in model.train().modules())


def test_dropout_is_active_only_in_training_and_keeps_the_mean() -> None:
    tt.manual_seed(0)
    layer, x = tt.Dropout(0.25), tt.ones(200, 200)
    y = layer(x).data
    assert set(np.unique(y)) == {np.float32(0), np.float32(4 / 3)}
    np.testing.assert_allclose(y.mean(), 1, atol=0.02)
    assert layer.eval()(x) is x
    with pytest.raises(SettingError, match="p 1"):
        tt.Dropout(1)


def test_saved_weights_load_bit_for_bit(tmp_path: Path) -> None:
    model, other = network(), network()
    other[1].weight.data += 1  # type: ignore[attr-defined]
    path = model.save(tmp_path / "model.safetensors")
    other.load(path)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].data, value.data)
    assert set(load_arrays(path)[0]) == set(model.state_dict())


def test_loading_copies_and_keeps_the_dtype() -> None:
    model = tt.Linear(2, 1)
    state = {"weight": np.ones((1, 2), np.float64), "bias": np.zeros(1)}
    model.load_state_dict(state)
    state["weight"][:] = 7
    assert model.weight.dtype == np.float32
    assert model.weight.data.max() == 1


def test_mismatched_state_lists_all_problems_and_changes_nothing() -> None:
    model = tt.Linear(2, 1)
    before = model.weight.data.copy()
    with pytest.raises(StateError, match=r"unknown extra; weight has shape \(3, 3\), expected \(1, 2\); missing bias"):
        model.load_state_dict({"weight": np.ones((3, 3)), "extra": np.ones(1)})
    np.testing.assert_array_equal(model.weight.data, before)


@pytest.mark.parametrize("cut", [0, 4, 60])
def test_truncated_file_is_rejected_by_name(tmp_path: Path, cut: int) -> None:
    path = network().save(tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StateError, match=r"model\.safetensors: not a complete safetensors file"):
        network().load(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"none\.safetensors: no such file"):
        network().load(tmp_path / "none.safetensors")


def test_forward_must_be_defined() -> None:
    with pytest.raises(NotImplementedError, match="Module must define forward"):
        tt.Module()(1)


def test_sequential_accepts_any_callable() -> None:
    model = tt.Sequential(lambda x: x + 1, tt.ReLU())
    assert model(Tensor([-3.0, 1.0])).data.tolist() == [0, 2]
    assert len(model) == 2
