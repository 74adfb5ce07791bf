"""tito.compete.steps: models of the same steps compute the same, and each layer of the format has a step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytorch as tt
from tinytorch.layers import Module
from tinytorch.quantized.layers import QuantizedLinear, QuantizedMaxPool2d
from tinytorch.spatial import AvgPool2d, BasicBlock, MaxPool2d
from tinytorch.tensor import Tensor
from tito.compete.steps import Step, steps_of


def kinds(*layers: object) -> list[str]:
    return [step.kind for step in steps_of(tt.Sequential(*layers))]  # type: ignore[arg-type]


def test_what_changes_no_result_is_left_out() -> None:
    assert kinds(tt.Sequential(tt.Sequential(), tt.Dropout(0.5)), tt.relu, tt.ReLU()) == ["relu"]
    assert kinds(MaxPool2d(2), tt.Flatten(), tt.ReLU()) == ["relu", "MaxPool2d", "Flatten"]
    assert kinds(AvgPool2d(2), tt.ReLU()) == ["AvgPool2d", "relu"]  # these two must not change places
    assert kinds(QuantizedLinear(2, 2, relu=True)) == ["Linear", "relu"]
    assert kinds(QuantizedMaxPool2d(2), tt.GELU(), tt.gelu) == ["MaxPool2d", "gelu", "gelu"]


def test_settings_are_in_one_form() -> None:
    assert steps_of(MaxPool2d(2)) == [
        Step("", "MaxPool2d", {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)})
    ]
    assert steps_of(tt.softmax) == steps_of(tt.Softmax(-1))


def test_a_block_is_named_as_in_its_state_dict() -> None:
    (block,) = steps_of(BasicBlock(2, 2), "3")
    assert [(step.where, step.kind) for step in block.parts["main"]] == [
        ("3.conv1", "Conv2d"),
        ("3.bn1", "BatchNorm2d"),
        ("3", "relu"),
        ("3.conv2", "Conv2d"),
        ("3.bn2", "BatchNorm2d"),
    ]


def test_a_layer_of_another_library_is_no_step() -> None:
    class Own(Module):
        pass

    with pytest.raises(TypeError, match="Own is not a layer of the saved format"):
        steps_of(Own())


LAYERS = st.recursive(
    st.sampled_from([tt.relu, tt.ReLU(), tt.Dropout(0.5), tt.tanh, tt.GELU(), MaxPool2d(2, 1), AvgPool2d(2, 1)]),
    lambda inner: st.lists(inner, max_size=4).map(lambda layers: tt.Sequential(*layers)),
    max_leaves=12,
)
ONE_FORM: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": tt.relu,
    "tanh": tt.tanh,
    "gelu": tt.gelu,
    "MaxPool2d": MaxPool2d(2, 1),
    "AvgPool2d": AvgPool2d(2, 1),
}


@settings(max_examples=100, deadline=None)
@given(LAYERS)
def test_the_steps_compute_what_the_layers_compute(layer: object) -> None:
    model = tt.Sequential(layer).eval()  # type: ignore[arg-type]
    x = Tensor(np.random.default_rng(0).normal(size=(1, 2, 16, 16)).astype(np.float32))
    y = x
    for step in steps_of(model):
        y = ONE_FORM[step.kind](y)
    np.testing.assert_array_equal(y.data, model(x).data)
