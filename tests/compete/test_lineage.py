"""tito.compete.lineage: what is the reference's, cast or rounded, passes; any number that was learned does not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.compete.competition import REFERENCES, small_model
from tinytorch.base.dtypes import bfloat16, rounded
from tinytorch.compression import prune_channels
from tinytorch.layers import Module
from tinytorch.quantized import prepare_qat, quantize_dynamic, quantize_static
from tinytorch.quantized.folding import fold_batch_norm
from tinytorch.quantized.layers import QuantizedLinear
from tinytorch.saved import load_model
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT
from tito.compete.lineage import MOST_PROBLEMS, check_lineage
from tito.compete.problems import Problem

MLP, RESNET, LANGUAGE = (load_model(REFERENCES / name) for name in ("mnist", "cifar10_resnet8", "tinygpt"))
BATCHES = {id(MLP): (4, 28, 28), id(RESNET): (4, 3, 32, 32)}


def copied(model: Module) -> Any:
    return copy.deepcopy(model)


def cast(model: Module, dtype: Any) -> Module:
    new = copied(model)
    for _, tensor in new.named_tensors():
        if tensor.data.dtype.kind == "f":
            tensor.data = rounded(tensor.data, dtype)
    return new


def static(model: Module, method: Any = "minmax", bits: int = 8) -> Any:
    batch = np.random.default_rng(1).random(BATCHES[id(model)], np.float32)
    return quantize_static(model, [batch], method, bits)


def only(model: Module, reference: Module) -> Problem:
    (problem,) = check_lineage(model, reference)
    assert problem.code == "lineage"
    return problem


KEPT: dict[str, tuple[Module, Callable[[Module], Module]]] = {
    f"{name} {how}": (model, change)
    for name, model in (("MLP", MLP), ("ResNet-8", RESNET), ("GPT", LANGUAGE))
    for how, change in {
        "as it is": copied,
        "float16": lambda m: cast(m, np.float16),
        "bfloat16": lambda m: cast(m, bfloat16()),
        "float64": lambda m: cast(m, np.float64),
        "folded": fold_batch_norm,
        "folded, float16": lambda m: cast(fold_batch_norm(m), np.float16),
        "folded, bfloat16": lambda m: cast(fold_batch_norm(m), bfloat16()),
        "dynamic": quantize_dynamic,
        "dynamic, 4 bits": lambda m: quantize_dynamic(m, 4),
    }.items()
}
KEPT |= {
    f"{name} {method}": (model, partial(static, method=method))
    for name, model in (("MLP", MLP), ("ResNet-8", RESNET))
    for method in ("minmax", "percentile", "mse")
}


@pytest.mark.parametrize("name", KEPT)
def test_cast_rounded_and_folded_numbers_are_the_reference_s(name: str) -> None:
    reference, change = KEPT[name]
    assert check_lineage(change(reference), reference) == []


def test_nesting_dropout_and_the_two_forms_of_relu_do_not_matter() -> None:
    flatten, first, _, _, second, _, _, third = MLP.layers
    inner = tt.Sequential(tt.Sequential(first, tt.relu), tt.Dropout(0.9), second)
    assert check_lineage(tt.Sequential(inner, tt.ReLU(), tt.ReLU(), flatten, third), tt.Sequential(
        first, tt.ReLU(), second, flatten, tt.ReLU(), third)) == []  # fmt: skip


def flip(name: str, place: tuple[int, ...], value: float) -> Callable[[Any], Any]:
    """One number of a model's, changed."""

    def change(model: Any) -> Any:
        tensor = model.state_dict()[name]
        tensor.data = tensor.data.copy()
        tensor.data[place] = value
        return model

    return change


@pytest.mark.parametrize(
    ("reference", "make", "name", "place"),
    [
        (MLP, copied, "1.weight", (3, 5)),
        (MLP, copied, "7.bias", (9,)),
        (MLP, static, "1.weight", (3, 5)),
        (MLP, static, "1.bias", (0,)),
        (MLP, lambda m: cast(m, np.float16), "4.weight", (0, 0)),
        (RESNET, copied, "3.bn1.running_mean", (3,)),
        (RESNET, copied, "1.running_var", (0,)),
        (RESNET, fold_batch_norm, "0.weight", (0, 0, 0, 0)),
        (RESNET, fold_batch_norm, "0.bias", (1,)),
        (RESNET, static, "2.conv1.weight", (0, 0, 0, 0)),
        (LANGUAGE, copied, "transformer.wte.weight", (7, 7)),
        (LANGUAGE, copied, "transformer.wpe.weight", (7, 7)),
        (LANGUAGE, copied, "transformer.h.1.attn.c_attn.weight", (0, 0)),
        (LANGUAGE, copied, "transformer.h.2.ln_2.weight", (0,)),
        (LANGUAGE, copied, "transformer.ln_f.weight", (111,)),
        (LANGUAGE, quantize_dynamic, "transformer.wte.rows.weight", (7, 7)),
        (LANGUAGE, quantize_dynamic, "transformer.wpe.rows", (7, 7)),
        (LANGUAGE, quantize_dynamic, "transformer.h.0.mlp.c_fc.weight", (7, 7)),
    ],
)
def test_one_number_that_is_not_the_reference_s_is_found(reference: Any, make: Any, name: str, place: Any) -> None:
    model = make(reference)
    assert check_lineage(model, reference) == []
    old = model.state_dict()[name].data[place]
    other = int(old) + (1 if old < 100 else -1) if old.dtype == np.int8 else float(old) * 1.01 + 0.01
    problem = only(flip(name, place, other)(model), reference)
    assert problem.file == "model.safetensors"
    assert problem.field == f"{name}[{', '.join(map(str, place))}]"
    assert problem.expected.endswith(", from the reference")


def test_a_pruned_number_is_not_the_reference_s() -> None:
    assert only(flip("1.weight", (1, 300), 0.0)(copied(MLP)), MLP).found.startswith("0.0")
    model = static(MLP)
    place = tuple(np.argwhere(np.abs(model.state_dict()["1.weight"].data) > 2)[0])
    assert only(flip("1.weight", place, 0)(model), MLP).found == "0"


def test_a_channel_that_its_scale_removes_is_pruned() -> None:
    model = static(MLP)
    layer = model.layers[1]
    layer.weight_scale.data = layer.weight_scale.data.copy()
    layer.weight_scale.data[7] *= 1e6
    layer.weight.data = layer.weight.data.copy()
    layer.weight.data[7] = 0
    problem = only(model, MLP)
    assert (problem.field, problem.found) == ("1.weight[7]", "all 0 at this scale")


def test_many_wrong_numbers_are_one_line_for_each_layer() -> None:
    model = copied(MLP)
    for _, tensor in model.named_tensors():
        tensor.data = tensor.data + np.float32(0.5)
    problems = check_lineage(model, MLP)
    assert [problem.field.partition("[")[0] for problem in problems] == [
        "1.weight", "1.bias", "4.weight", "4.bias", "7.weight", "7.bias"
    ]  # fmt: skip
    assert "(and 401407 more)" in problems[0].found


def test_a_deep_model_of_strange_numbers_is_a_few_lines() -> None:
    model = copied(RESNET)
    for _, tensor in model.named_tensors():
        tensor.data = tensor.data + 1
    assert len(check_lineage(model, RESNET)) == MOST_PROBLEMS


def biased(model: Module) -> Module:
    """The language model with biases of 0, which change nothing yet."""
    new = GPT(4256, 128, n_layer=3, n_head=4, n_embd=112, bias=True)
    zeros = {name: Tensor(0 * tensor.data) for name, tensor in new.state_dict().items()}
    new.load_state_dict({**zeros, **model.state_dict()})
    return new


@pytest.mark.parametrize(
    ("reference", "make", "field"),
    [
        (MLP, lambda m: prune_channels(m, 0.5), "1.weight"),
        (MLP, lambda m: tt.Sequential(*m.layers, tt.Linear(10, 10)), "8"),
        (MLP, lambda m: tt.Sequential(*m.layers[:-1]), "5"),
        (MLP, lambda m: tt.Sequential(*m.layers[:2], tt.gelu, *m.layers[3:]), "2"),
        (MLP, lambda m: tt.Sequential(*m.layers[:2], *m.layers[3:]), "3"),
        (MLP, prepare_qat, "1"),
        (MLP, lambda m: small_model(), "1.weight"),
        (LANGUAGE, lambda m: GPT(4256, 128, n_layer=2, n_head=4, n_embd=112), "transformer"),
        (LANGUAGE, biased, "transformer.h.0.ln_1"),
    ],
)
def test_another_architecture_is_not_the_reference_s(reference: Any, make: Any, field: str) -> None:
    assert check_lineage(make(copied(reference)), reference)[0].field == field


@pytest.mark.parametrize(
    ("reference", "change", "field"),
    [
        (RESNET, lambda m: setattr(m.layers[0], "stride", (2, 2)), "0.stride"),
        (RESNET, lambda m: setattr(m.layers[0], "padding", (0, 0)), "0.padding"),
        (RESNET, lambda m: setattr(m.layers[1], "eps", 0.1), "1.eps"),
        (RESNET, lambda m: setattr(m.layers[6], "output_size", 2), "6.output_size"),
        (LANGUAGE, lambda m: setattr(m.transformer.h[0].attn, "n_head", 2), "transformer.h.0.attn.n_head"),
        (LANGUAGE, lambda m: setattr(m, "block_size", 64), ".block_size"),
        (LANGUAGE, lambda m: setattr(m.transformer.ln_f, "eps", 0.5), "transformer.ln_f.eps"),
        (MLP, lambda m: setattr(m.layers[1], "bias", None), "1"),
    ],
)
def test_another_setting_is_not_the_reference_s(reference: Any, change: Any, field: str) -> None:
    model = copied(reference)
    change(model)
    assert only(model, reference).field == field


def test_a_relu_that_the_reference_has_not() -> None:
    for place in (0, 2):
        model = quantize_dynamic(LANGUAGE)
        block = model.transformer.h[place]
        block.mlp.c_fc.relu = True
        assert check_lineage(model, LANGUAGE)[0].field == f"transformer.h.{place}.mlp.c_fc"
    model = quantize_dynamic(LANGUAGE)
    model.transformer.wte.rows.relu = True
    assert check_lineage(model, LANGUAGE)
    model = static(RESNET)
    model.layers[2].conv2.relu = True
    assert check_lineage(model, RESNET)


def test_integers_that_are_read_with_another_scale() -> None:
    model = static(RESNET)
    conv = model.layers[2].conv2
    conv.input_scale = Tensor(conv.input_scale.data * 2)
    problem = only(model, RESNET)
    assert (problem.field, problem.file) == ("2.conv2.input_scale", "model.safetensors")
    model = static(MLP)
    linear = next(layer for layer in model.layers[2:] if isinstance(layer, QuantizedLinear))
    assert linear.input_scale is not None
    linear.input_scale = Tensor(linear.input_scale.data * 2)
    assert only(model, MLP).field.endswith(".input_scale")


def test_free_scales_of_activations_pass() -> None:
    model = static(MLP)
    first = model.layers[1]
    first.input_scale = Tensor(first.input_scale.data * 2)
    assert check_lineage(model, MLP) == []
