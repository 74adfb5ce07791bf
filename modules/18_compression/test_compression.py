"""Module 18: what is pruned stays pruned, what is cut is gone, a teacher is listened to, and packing is exact."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinytorch as tt
from tinytorch.autograd import check_grads
from tinytorch.compression import (
    Channels,
    DistillationLoss,
    GradualPruning,
    apply_masks,
    cubic_sparsity,
    distillation_loss,
    magnitude_masks,
    prunable_channels,
    prunable_weights,
    prune_channels,
    sparsity_of,
    with_teacher,
)
from tinytorch.errors import SettingError, ShapeError, StateError
from tinytorch.layers import Linear, Parameter
from tinytorch.packing import pack_array, smallest_encoding, unpack_array
from tinytorch.quantization import prepare_qat, quantize_dynamic, quantize_static
from tinytorch.quantized import QuantizedLayer
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded() -> None:
    tt.manual_seed(0)
    random.bit_generator.state = np.random.default_rng(0).bit_generator.state  # whichever tests ran before


def mlp(*sizes: int) -> tt.Sequential:
    layers: list[Callable[[Tensor], Tensor]] = []
    for into, out in pairwise(sizes):
        layers += [Linear(into, out), tt.ReLU()]
    return tt.Sequential(*layers[:-1])


def weights_of(model: tt.Module) -> Array:
    return np.concatenate([weight.data.reshape(-1) for weight in prunable_weights(model).values()])


# Magnitude pruning --------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.integers(1, 9), st.integers(0, 3))
def test_exactly_the_share_is_pruned_and_none_is_larger_than_what_stays(share: float, width: int, levels: int) -> None:
    model = mlp(3, width, 2)
    if levels:  # few different magnitudes: many ties
        for weight in prunable_weights(model).values():
            weight.data = np.random.default_rng(levels).integers(-levels, levels, weight.shape).astype(np.float32)
    masks = magnitude_masks(model, share)
    flat, kept = weights_of(model), np.concatenate([mask.reshape(-1) for mask in masks.values()])
    assert (~kept).sum() == round(share * flat.size)
    if kept.any() and not kept.all():
        assert np.abs(flat[~kept]).max() <= np.abs(flat[kept]).min()


def test_of_equal_weights_the_first_go() -> None:
    model = mlp(4, 1)
    model[0].weight.data = np.array([[1, -1, 0.5, 1]], np.float32)  # type: ignore[attr-defined]
    assert magnitude_masks(model, 0.75)["0.weight"].tolist() == [[False, False, False, True]]


def test_all_and_nothing() -> None:
    model = mlp(5, 4, 3)
    before = {name: value.data.copy() for name, value in model.state_dict().items()}
    apply_masks(model, magnitude_masks(model, 0))
    assert sparsity_of(model) == 0
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.data, before[name])
    apply_masks(model, magnitude_masks(model, 1))
    assert sparsity_of(model) == 1
    np.testing.assert_array_equal(model(tt.randn(2, 5)).data, np.tile(before["2.bias"], (2, 1)))


def test_one_ranking_for_all_layers() -> None:
    model = mlp(10, 10, 10)
    model[0].weight.data *= np.float32(1e-6)  # type: ignore[attr-defined]
    masks = magnitude_masks(model, 0.5)
    assert not masks["0.weight"].any()
    assert masks["2.weight"].all()


def test_nan_stays_where_anything_does() -> None:
    model = mlp(4, 1)
    model[0].weight.data = np.array([[np.nan, 3, np.inf, 2]], np.float32)  # type: ignore[attr-defined]
    assert magnitude_masks(model, 0.5)["0.weight"].tolist() == [[True, False, True, False]]


def test_a_pruned_weight_is_zero_and_not_minus_zero() -> None:
    model = mlp(6, 6)
    apply_masks(model, magnitude_masks(model, 1))
    assert model[0].weight.data.tobytes() == bytes(6 * 6 * 4)  # type: ignore[attr-defined]


def test_biases_norms_and_embeddings_are_left_alone() -> None:
    model = tt.GPT(vocab_size=7, block_size=4, n_layer=1, n_head=2, n_embd=8)
    assert set(prunable_weights(model)) == {
        f"transformer.h.0.{part}.weight" for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }
    tied = tt.Sequential(tt.Embedding(5, 4), Linear(4, 4), Linear(4, 5))
    tied[2].weight = tied[0].weight  # type: ignore[attr-defined]
    assert set(prunable_weights(tied)) == {"1.weight"}
    block = BasicBlock(2, 4, 2)
    assert set(prunable_weights(block)) == {"conv1.weight", "conv2.weight", "shortcut.weight"}
    assert set(magnitude_masks(block, 0.5, ["bn1.weight"])) == {"bn1.weight"}


def test_what_cannot_be_pruned_is_refused() -> None:
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(SettingError, match=f"sparsity {share}: expected 0 to 1"):
            magnitude_masks(mlp(2, 2), share)
    with pytest.raises(SettingError, match=r"called 0.wait: expected \['0.weight', '0.bias'\]"):
        magnitude_masks(mlp(2, 2), 0.5, ["0.wait"])
    with pytest.raises(SettingError, match="Sequential has no linear or convolutional layers"):
        magnitude_masks(tt.Sequential(tt.ReLU()), 0.5)


def test_the_schedule_is_zhu_and_guptas() -> None:
    assert cubic_sparsity(0, 10, 0.2, 0.9) == pytest.approx(0.2)
    assert cubic_sparsity(5, 10, 0.2, 0.9) == pytest.approx(0.9 - 0.7 / 8)
    assert cubic_sparsity(10, 10, 0.2, 0.9) == cubic_sparsity(99, 10, 0.2, 0.9) == 0.9


def digits(n: int = 96) -> tt.TensorDataset:
    x = random.standard_normal((n, 8)).astype(np.float32)
    return tt.TensorDataset(x, (x[:, :3].argmax(axis=1)))


def inner(model: tt.Module, kind: str) -> tt.Optimizer:
    if kind == "adam":
        return tt.AdamW(model.parameters(), lr=0.01)
    return tt.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=kind == "nesterov")


@pytest.mark.parametrize("kind", ["sgd", "nesterov", "adam"])
def test_gradual_pruning_in_the_trainer(kind: str) -> None:
    model = mlp(8, 16, 3)
    optimizer = GradualPruning(inner(model, kind), model, 0.8, steps=12, every=3)
    seen: list[tuple[Array, float]] = []

    def watch(done: int, total: int, **figures: float) -> None:
        seen.append((weights_of(model).copy(), figures["loss"]))

    trainer = tt.Trainer(model, optimizer, tt.CrossEntropyLoss(), schedule=tt.CosineLR(optimizer, 24))
    trainer.fit(tt.DataLoader(digits(), 16, shuffle=True), epochs=4, report=watch)
    assert len(seen) == 24
    for i, (weights, _) in enumerate(seen, start=1):
        asked = cubic_sparsity(min(12, i - i % 3), 12, 0, 0.8)
        assert (weights == 0).sum() == round(asked * weights.size), f"after step {i}"
    for (earlier, _), (later, _) in pairwise(seen):
        assert (later[earlier == 0] == 0).all()
    assert (seen[12][0] != seen[23][0]).any()  # what stays goes on learning
    assert sum(loss for _, loss in seen[-6:]) < sum(loss for _, loss in seen[:6])


@pytest.mark.parametrize("kind", ["sgd", "nesterov", "adam"])
def test_momentum_revives_nothing(kind: str) -> None:
    model = mlp(8, 16, 3)
    optimizer = inner(model, kind)
    model(tt.randn(4, 8)).sum().backward()
    optimizer.step()  # now every weight has momentum
    pruning = GradualPruning(optimizer, model, 0.5, steps=1, initial=0.5)
    for gradient in (0.0, 1.0):
        for parameter in model.parameters():
            parameter.grad = Tensor(np.full_like(parameter.data, gradient))
        pruning.step()
        assert sparsity_of(model) == pytest.approx(0.5, abs=1e-9)


def test_what_is_pruned_stays_so_beside_a_weight_that_becomes_zero_by_itself() -> None:
    model = mlp(4, 1)
    weight = model[0].weight  # type: ignore[attr-defined]
    weight.data = np.array([[3, 2, 0.5, 4]], np.float32)
    pruning = GradualPruning(tt.SGD(model.parameters()), model, 0.3, steps=1, initial=0.25)
    assert weight.data.tolist() == [[3, 2, 0, 4]]  # at once
    weight.data[0, 0] = 0
    pruning.step()
    assert pruning.masks["0.weight"].tolist() == [[True, True, False, True]]


def test_a_run_resumed_from_its_checkpoint_ends_with_the_same_weights(tmp_path: Path) -> None:
    loader = tt.DataLoader(digits(), 16, shuffle=True)

    def trainer(checkpoint: Path | None) -> tt.Trainer:
        tt.manual_seed(3)
        model = mlp(8, 16, 3)
        optimizer = GradualPruning(inner(model, "adam"), model, 0.8, steps=15, every=4)
        return tt.Trainer(model, optimizer, tt.CrossEntropyLoss(), checkpoint=checkpoint)

    whole = trainer(None)
    whole.fit(loader, 4)
    trainer(tmp_path / "c").fit(loader, 2)
    second = trainer(tmp_path / "c")
    assert second.resume()
    second.fit(loader, 4)
    assert weights_of(second.model).tobytes() == weights_of(whole.model).tobytes()
    assert (weights_of(second.model) == 0).sum() == round(0.8 * (8 * 16 + 16 * 3))


def test_state_of_another_optimizer_is_refused() -> None:
    model = mlp(4, 3)
    pruning = GradualPruning(tt.SGD(model.parameters()), model, 0.5, steps=4)
    with pytest.raises(StateError, match=r"GradualPruning: state does not fit: pruning.step, pruning.mask.0.weight"):
        pruning.load_state_dict(tt.SGD(model.parameters()).state_dict())


@pytest.mark.parametrize("wrong", [{"sparsity": 1.5}, {"initial": 0.6}, {"steps": 0}, {"every": 0}])
def test_settings_of_gradual_pruning(wrong: dict[str, Any]) -> None:
    model = mlp(2, 2)
    with pytest.raises(SettingError):
        GradualPruning(tt.SGD(model.parameters()), model, **{"sparsity": 0.5, "steps": 4, **wrong})


# Structured pruning -------------------------------------------------------------------------------------


def resnet() -> tt.Module:
    return tt.Sequential(
        *(Conv2d(3, 6, 3, 1, 1), BatchNorm2d(6), tt.ReLU()),
        *(BasicBlock(6, 6), BasicBlock(6, 10, 2)),
        *(AdaptiveAvgPool2d(1), tt.Flatten(), Linear(10, 4)),
    )


# model, its inputs' shape, and how many hidden channels its layers have
NETWORKS: dict[str, tuple[Callable[[], tt.Module], tuple[int, ...], list[int]]] = {
    "mlp": (lambda: tt.Sequential(tt.Flatten(), mlp(6, 9, 5, 4)), (2, 3), [9, 5]),
    "functions": (
        lambda: tt.Sequential(Linear(6, 8, bias=False), tt.gelu, tt.Dropout(), Linear(8, 7), tt.tanh, Linear(7, 4)),
        (6,),
        [8, 7],
    ),
    "cnn": (
        lambda: tt.Sequential(
            *(Conv2d(3, 8, 3, padding=1, bias=False), MaxPool2d(2), BatchNorm2d(8), tt.ReLU()),
            *(Conv2d(8, 12, 3), tt.ReLU(), BatchNorm2d(12), AvgPool2d(2)),
            *(tt.Flatten(), Linear(12 * 3 * 3, 4)),
        ),
        (3, 16, 16),
        [8, 12],
    ),
    "nested": (
        lambda: tt.Sequential(tt.Sequential(Conv2d(3, 8, (3, 1), 2), tt.relu), tt.Sequential(Conv2d(8, 5, 1))),
        (3, 9, 9),
        [8],
    ),
    "resnet": (resnet, (3, 8, 8), [6, 10]),
}


def made(name: str) -> tuple[tt.Module, Tensor, list[int]]:
    """The network with running statistics and norms of its own, in inference mode, and inputs for it."""
    build, shape, widths = NETWORKS[name]
    model = build()
    for part in model.modules():
        if isinstance(part, BatchNorm2d):
            for tensor in (part.weight, part.bias, part.running_mean, part.running_var):
                tensor.data = random.uniform(0.5, 1.5, tensor.shape).astype(np.float32)
    return model.eval(), tt.randn(3, *shape), widths


def silence(channels: Channels, removed: Array) -> None:
    """Set all that makes these channels' values to zero."""
    for tensor in channels.tensors()[:-1]:
        tensor.data = tensor.data.copy()
        tensor.data[removed] = 0


def hold(channels: Channels, removed: Array) -> None:
    """Set what makes these channels' values differ to zero: they send a constant."""
    weight = channels.norms[-1].weight if channels.norms else channels.writer.weight
    weight.data = weight.data.copy()
    weight.data[removed] = 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_smaller_model_answers_as_the_model_with_these_channels_held_or_silenced(name: str, share: float) -> None:
    model, x, widths = made(name)
    before = model(x).data
    smaller = prune_channels(model, share)
    found = prunable_channels(smaller)
    assert [len(channels) for channels in prunable_channels(model)] == widths
    assert [len(channels) for channels in found] == [width - min(round(share * width), width - 1) for width in widths]
    np.testing.assert_array_equal(model(x).data, before)  # the model itself is as it was

    cut = copy.deepcopy(model)
    for i, channels in enumerate(prunable_channels(cut)):  # as `prune_channels` goes, layer by layer
        whole = copy.deepcopy(cut)
        removed = min(round(share * len(channels)), len(channels) - 1)
        order = np.argsort(channels.importance(), kind="stable")
        (hold if channels.arrives_everywhere() else silence)(prunable_channels(whole)[i], order[:removed])
        channels.keep(np.sort(order[removed:]))
        np.testing.assert_allclose(cut(x).data, whole(x).data, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(smaller(x).data, cut(x).data)
    if share == 0:
        np.testing.assert_array_equal(smaller(x).data, before)


CONSTANT: dict[str, tuple[Callable[[], tt.Module], tuple[int, ...]]] = {
    "linear": (lambda: mlp(6, 4, 3), (6,)),
    "a reader without a bias": (lambda: tt.Sequential(Linear(6, 4), tt.GELU(), Linear(4, 3, bias=False)), (6,)),
    "convolutions": (
        lambda: tt.Sequential(Conv2d(2, 4, 3), tt.Tanh(), MaxPool2d(2, padding=1), Conv2d(4, 3, 2)),
        (2, 9, 9),
    ),
    "after a norm": (
        lambda: tt.Sequential(Conv2d(2, 4, 3, padding=1), BatchNorm2d(4), tt.ReLU(), AvgPool2d(3), tt.Flatten(),
                              Linear(36, 3)),
        (2, 9, 9),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANT)
def test_a_channel_that_is_constant_goes_first_and_its_constant_stays(name: str) -> None:
    build, shape = CONSTANT[name]
    model = build().eval()
    (channels,) = prunable_channels(model)
    hold(channels, np.array([2]))
    last = channels.norms[-1] if channels.norms else channels.writer
    assert last.bias is not None
    last.bias.data[2] = 5
    x = tt.randn(4, *shape)
    smaller = prune_channels(model, 0.25)
    assert len(prunable_channels(smaller)[0]) == 3
    np.testing.assert_allclose(smaller(x).data, model(x).data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padded", ["reader", "pool"])
def test_a_constant_beside_a_border_of_zeros_counts_and_is_not_added(padded: str) -> None:
    between = [AvgPool2d(2, padding=1)] if padded == "pool" else []
    reader = Conv2d(4, 3, 3, padding=int(padded == "reader"))
    model = tt.Sequential(Conv2d(2, 4, 3), tt.ReLU(), *between, reader).eval()
    (channels,) = prunable_channels(model)
    hold(channels, np.array([2]))
    assert channels.writer.bias is not None
    before = channels.importance()
    assert before[2] == np.maximum(channels.writer.bias.data[2], 0) * np.abs(reader.weight.data[:, 2]).sum()
    channels.writer.bias.data[2] = 50
    assert channels.importance().argmax() == 2
    smaller = prune_channels(model, 0.25)
    np.testing.assert_array_equal(smaller[-1].bias.data, reader.bias.data)  # type: ignore[attr-defined, union-attr]


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_are_really_gone(name: str) -> None:
    model, x, _ = made(name)
    smaller = prune_channels(model, 0.5)
    assert sum(p.numel() for p in smaller.parameters()) < 0.8 * sum(p.numel() for p in model.parameters())
    for part in smaller.modules():
        if isinstance(part, Linear):
            assert part.weight.shape == (part.out_features, part.in_features)
        if isinstance(part, BatchNorm2d):
            assert {part.num_features} == {len(t.data) for t in (part.weight, part.bias, part.running_var)}
    smaller.train()
    smaller(x).sum().backward()  # it can be trained on
    for parameter in smaller.parameters():
        assert parameter.grad is not None
        assert parameter.grad.shape == parameter.shape


def test_a_smaller_mlp_is_one_built_small() -> None:
    small = mlp(6, 5, 2, 4)
    small.load_state_dict(prune_channels(mlp(6, 10, 4, 4), 0.5).state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_that_send_nothing_go_first_and_are_not_missed(name: str) -> None:
    model, x, widths = made(name)
    for channels in prunable_channels(model):
        silence(channels, random.permutation(len(channels))[: len(channels) // 2])
    smaller = prune_channels(model, min(width // 2 / width for width in widths))
    np.testing.assert_allclose(smaller(x).data, model(x).data, rtol=1e-4, atol=1e-5)


def test_importance_sees_the_function_and_not_how_it_is_written() -> None:
    model = mlp(6, 8, 3)
    (channels,) = prunable_channels(model)
    before = channels.importance()
    scale = random.uniform(0.1, 10, (8, 1)).astype(np.float32)
    channels.writer.weight.data *= scale
    channels.reader.weight.data /= scale.T
    np.testing.assert_allclose(channels.importance(), before, rtol=1e-5)
    block = BasicBlock(3, 5)
    (channels,) = prunable_channels(block)
    before = channels.importance()
    block.conv1.weight.data *= random.uniform(0.1, 10, (5, 1, 1, 1)).astype(np.float32)
    np.testing.assert_array_equal(channels.importance(), before)


def test_the_gradients_of_the_original_stay_behind() -> None:
    model = mlp(4, 6, 2)
    model(tt.randn(3, 4)).sum().backward()
    assert all(p.grad is None for p in prune_channels(model, 0.5).parameters())
    assert all(p.grad is not None for p in model.parameters())


def shared_layer() -> tt.Module:
    layer = Linear(4, 4)
    return tt.Sequential(layer, tt.ReLU(), layer)


UNSAFE: dict[str, Callable[[], tt.Module]] = {
    "one layer": lambda: mlp(3, 2),
    "sigmoid of 0 is not 0": lambda: tt.Sequential(Linear(3, 4), tt.Sigmoid(), Linear(4, 2)),
    "anything may happen between": lambda: tt.Sequential(Linear(3, 4), lambda x: x + 1, Linear(4, 2)),
    "a layer used twice": shared_layer,
    "positions flattened": lambda: tt.Sequential(Linear(3, 4), tt.Flatten(), Linear(20, 2)),
    "groups": lambda: tt.Sequential(Conv2d(4, 4, 3, groups=2), tt.ReLU(), Conv2d(4, 4, 3, groups=4)),
    "a grouped reader": lambda: tt.Sequential(Conv2d(3, 4, 3), tt.ReLU(), Conv2d(4, 4, 3, groups=2)),
    "linear over the width": lambda: tt.Sequential(Conv2d(3, 4, 3), tt.ReLU(), Linear(4, 2)),
    "shortcut": lambda: tt.Sequential(Conv2d(3, 4, 3), tt.ReLU(), AdaptiveAvgPool2d(1)),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_where_it_would_change_more_nothing_is_removed(name: str) -> None:
    with pytest.raises(SettingError, match="has no channels that can be removed"):
        prune_channels(UNSAFE[name](), 0.5)


def test_sparsity_counts_integer_weights() -> None:
    model = mlp(40, 30, 10)
    dense = sparsity_of(quantize_dynamic(model))
    apply_masks(model, magnitude_masks(model, 0.75))
    for quantized in (quantize_dynamic(model), quantize_static(model, [np.ones((2, 40), np.float32)])):
        zeros = sum(
            int((part.weight.data == 0).sum()) for part in quantized.modules() if isinstance(part, QuantizedLayer)
        )
        assert sparsity_of(quantized) == pytest.approx(zeros / 1500)
        assert sparsity_of(quantized) >= 0.75 > 0.1 > dense
    assert sparsity_of(prepare_qat(model)) == pytest.approx(0.75)
    assert sparsity_of(tt.Sequential(tt.ReLU())) == 0
    words = quantize_dynamic(tt.GPT(7, 6, 1, 1, 4))
    words.transformer.wte.rows.weight.data[...] = 0  # type: ignore[attr-defined]
    assert sparsity_of(words) < 0.5  # a table is no layer's weight


def test_a_share_is_a_share() -> None:
    with pytest.raises(SettingError, match=r"share 1.5: expected 0 to 1"):
        prune_channels(mlp(2, 2, 2), 1.5)


# Distillation -------------------------------------------------------------------------------------------


def truth(z: Array, teacher: Array, targets: Array, temperature: float, alpha: float) -> float:
    """The formula, a row at a time."""
    total = 0.0
    for student_row, teacher_row, target in zip(z, teacher, targets, strict=True):
        p = np.exp(teacher_row / temperature) / np.exp(teacher_row / temperature).sum()
        q = np.exp(student_row / temperature) / np.exp(student_row / temperature).sum()
        hard = -np.log(np.exp(student_row[target]) / np.exp(student_row).sum())
        total += alpha * temperature**2 * (p * np.log(p / q)).sum() + (1 - alpha) * hard
    return total / len(z)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_the_distillation_loss_and_its_gradient(temperature: float, alpha: float) -> None:
    z, teacher, targets = random.standard_normal((5, 4)), random.standard_normal((5, 4)), np.array([0, 3, 1, 1, 2])
    loss = distillation_loss(Tensor(z), teacher, targets, temperature, alpha)
    assert loss.item() == pytest.approx(truth(z, teacher, targets, temperature, alpha), rel=1e-12)
    check_grads(lambda x: distillation_loss(x, teacher, targets, temperature, alpha), z)


def test_at_high_temperature_the_gradient_matches_logits() -> None:
    """Hinton et al., equation 4: with means of 0, T^2 times the gradient tends to (z - v) / (N C)."""
    z, v = (x - x.mean(axis=1, keepdims=True) for x in random.standard_normal((2, 6, 5)))
    logits = Tensor(z, requires_grad=True)
    distillation_loss(logits, v, np.zeros(6, int), 1e4, 1.0).backward()
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.data, (z - v) / (6 * 5), atol=1e-5)


def test_a_student_that_agrees_has_nothing_to_learn() -> None:
    z = Tensor(random.standard_normal((6, 5)), requires_grad=True)
    loss = distillation_loss(z, z.data.copy(), np.zeros(6, int), 3.0, 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert z.grad is not None
    np.testing.assert_allclose(z.grad.data, 0, atol=1e-12)


def test_the_teacher_gets_no_gradient_and_may_exclude_classes() -> None:
    teacher = Tensor(random.standard_normal((2, 3)), requires_grad=True)
    student = Tensor(1000 * random.standard_normal((2, 3)), requires_grad=True)
    distillation_loss(student, teacher, np.array([0, 1]), 2.0, 0.5).backward()
    assert teacher.grad is None
    sure = np.array([[0.0, -np.inf, 1.0]])
    assert np.isfinite(distillation_loss(tt.randn(1, 3), sure, np.array([0]), 2.0, 0.5).item())


def test_what_distillation_refuses() -> None:
    z, targets = tt.randn(2, 3), np.array([0, 1])
    with pytest.raises(ShapeError, match=r"logits of shape \(2, 3\) and the teacher's of shape \(2, 4\)"):
        distillation_loss(z, np.zeros((2, 4)), targets, 1.0, 0.5)
    with pytest.raises(ShapeError, match="at least one sample"):
        distillation_loss(z[:0], np.zeros((0, 3)), targets[:0], 1.0, 0.5)
    for temperature, alpha in ((0.0, 0.5), (float("nan"), 0.5), (1.0, -0.1), (1.0, 1.1)):
        with pytest.raises(SettingError, match="expected temperature > 0 and 0 <= alpha <= 1"):
            distillation_loss(z, z, targets, temperature, alpha)
        with pytest.raises(SettingError):
            DistillationLoss(temperature, alpha)


def test_the_teacher_sees_what_the_student_sees() -> None:
    teacher = tt.Sequential(tt.Flatten(), Linear(36, 8), tt.Dropout(), Linear(8, 3)).train()
    images, labels = random.standard_normal((10, 6, 6)).astype(np.float32), random.integers(0, 3, 10)
    shift = with_teacher(teacher, tt.random_shift(2))
    loader = tt.DataLoader(tt.TensorDataset(images, labels), 4, shuffle=True, transform=shift)
    plain = tt.DataLoader(tt.TensorDataset(images, labels), 4, shuffle=True, transform=tt.random_shift(2))
    for (x, records), (same_x, same_labels) in zip(loader.batches(3), plain.batches(3), strict=True):
        np.testing.assert_array_equal(x, same_x)
        np.testing.assert_array_equal(records["label"], same_labels)
        np.testing.assert_array_equal(records["logits"], teacher.eval()(Tensor(x)).data)
    loss = DistillationLoss(2.0, 0.6)
    z = tt.randn(len(x), 3)
    assert loss(z, records).item() == distillation_loss(z, records["logits"], records["label"], 2.0, 0.6).item()
    assert loss(z, records["label"]).item() == tt.cross_entropy(z, records["label"]).item()


def test_a_student_learns_from_a_teacher_in_the_trainer() -> None:
    teacher, student = mlp(8, 16, 3), mlp(8, 8, 3)
    for parameter in teacher.parameters():
        parameter.data *= 3  # so that its answers differ
    data = digits()
    train = tt.DataLoader(data, 16, shuffle=True, transform=with_teacher(teacher))
    trainer = tt.Trainer(
        student,
        tt.Adam(student.parameters(), lr=0.03),
        DistillationLoss(2.0, alpha=1.0),
        metrics={"accuracy": tt.accuracy},
    )
    history = trainer.fit(train, 20, validation=tt.DataLoader(data, 32))
    assert history[-1]["train_loss"] < 0.2 * history[0]["train_loss"]
    assert {"val_loss", "accuracy"} <= history[-1].keys()  # plain labels there
    x = data.arrays[0]
    assert (student(Tensor(x)).data.argmax(1) == teacher(Tensor(x)).data.argmax(1)).mean() > 0.9


# Packing ------------------------------------------------------------------------------------------------

DTYPES = ["?", "i1", "u1", "<i2", ">i4", "i8", "u8", "f2", "f4", ">f4", ">f8", "c8", "c16"]
ENCODINGS = ["bitmask", "deflate"]
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, min_side=0, max_side=6))
)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(arrays, st.booleans())
def test_packing_is_exact(encoding: Any, array: Array, transposed: bool) -> None:
    array = array.T if transposed else array
    parts = pack_array(array, encoding)
    assert {part.dtype for part in parts.values()} == {np.dtype(np.uint8)}
    back = unpack_array(parts, encoding, array.dtype, array.shape)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_minus_zero_and_nan_are_not_zero(encoding: Any, dtype: Any) -> None:
    array = np.array([[0.0, -0.0, np.nan], [np.inf, 0.0, 2.5]], dtype)
    parts = pack_array(array, encoding)
    back = unpack_array(parts, encoding, array.dtype, array.shape)
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    if encoding == "bitmask":
        assert np.unpackbits(parts[".mask"]).tolist() == [0, 1, 1, 1, 0, 1, 0, 0]
        assert parts[""].nbytes == 4 * array.itemsize


def test_the_smallest_encoding() -> None:
    dense = random.standard_normal((64, 64)).astype(np.float32)
    sparse = np.where(random.random((64, 64)) < 0.2, dense, 0).astype(np.float32)
    few = random.choice([-1, 0, 1], (64, 64), p=[0.1, 0.8, 0.1]).astype(np.int8)
    assert smallest_encoding(random.integers(0, 256, 4096, np.uint8)) == "plain"
    assert smallest_encoding(few) == "deflate"
    assert smallest_encoding(few[:4, :4]) == "plain"  # names cost more than is spared
    assert smallest_encoding(np.array(0)) == "plain"
    chosen = smallest_encoding(sparse)
    assert chosen != "plain"
    sizes = {name: sum(part.nbytes for part in pack_array(sparse, name).values()) for name in ("bitmask", "deflate")}
    assert sizes[chosen] == min(sizes.values())
    assert smallest_encoding(np.array(["text"])) == "plain"


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(2, "V4"), np.zeros(2, [("a", "f4")])])
def test_only_numbers_are_packed(array: Array) -> None:
    with pytest.raises(SettingError, match="expected numbers or bool"):
        pack_array(array, "bitmask")
    with pytest.raises(StateError, match="expected numbers or bool"):
        unpack_array({"": np.zeros(0, np.uint8)}, "deflate", array.dtype, (0,))


GOOD = np.array([[0, 3, 0, -1, 0], [5, 0, 0, 0, 7]], np.int16)
Parts = dict[str, Array]


def cut(parts: Parts, name: str, end: int) -> Parts:
    return {**parts, name: parts[name][:end]}


def longer(parts: Parts, name: str) -> Parts:
    return {**parts, name: np.append(parts[name], np.uint8(0))}


def stream(content: bytes) -> Parts:
    return {"": np.frombuffer(zlib.compress(content), np.uint8)}


mask, deflated = pack_array(GOOD, "bitmask"), pack_array(GOOD, "deflate")
stray = {**mask, ".mask": mask[".mask"] | np.array([0, 1], np.uint8)}
MALFORMED: dict[str, tuple[Parts, str, Any, Any, str]] = {
    "mask cut": (cut(mask, ".mask", 1), "bitmask", "i2", (2, 5), "a mask of 1 bytes for 10 elements: expected 2"),
    "mask long": (longer(mask, ".mask"), "bitmask", "i2", (2, 5), "a mask of 3 bytes"),
    "values cut": (cut(mask, "", 7), "bitmask", "i2", (2, 5), "7 bytes of values for 4 elements: expected 8"),
    "values long": (longer(mask, ""), "bitmask", "i2", (2, 5), "9 bytes of values"),
    "stray bits": (stray, "bitmask", "i2", (2, 5), "bits are set after the last of 10"),
    "other dtype": (mask, "bitmask", "i4", (2, 5), "8 bytes of values for 4 elements: expected 16"),
    "no mask": ({"": mask[""]}, "bitmask", "i2", (2, 5), r"parts \[''\]: expected"),
    "a part too many": (mask, "deflate", "i2", (2, 5), "parts .*'.mask'"),
    "float parts": ({"": np.zeros(3, np.float32)}, "deflate", "i2", (2, 5), "a part is float32"),
    "2-D parts": ({"": np.zeros((3, 1), np.uint8)}, "deflate", "i2", (2, 5), r"of shape \(3, 1\)"),
    "stream cut": (cut(deflated, "", 9), "deflate", "i2", (2, 5), "cut after"),
    "checksum cut": (cut(deflated, "", len(deflated[""]) - 1), "deflate", "i2", (2, 5), "cut after 20 of 20"),
    "empty": ({"": np.zeros(0, np.uint8)}, "deflate", "i2", (2, 5), "cut after 0"),
    "after the end": (longer(deflated, ""), "deflate", "i2", (2, 5), "1 after the stream's end"),
    "not a stream": ({"": np.arange(9, dtype=np.uint8)}, "deflate", "i2", (2, 5), "not a whole zlib stream"),
    "too long": (stream(bytes(21)), "deflate", "i2", (2, 5), "more than the expected 20 bytes"),
    "too short": (stream(bytes(19)), "deflate", "i2", (2, 5), "19 bytes"),
    "not empty": (stream(bytes(1)), "deflate", "i2", (0,), "more than the expected 0 bytes"),
    "encoding": (deflated, "rot13", "i2", (2, 5), "encoding 'rot13': expected"),
    "dtype": (deflated, "deflate", "int17", (2, 5), "dtype 'int17'"),
    "object": (deflated, "deflate", "O", (2, 5), "expected numbers or bool"),
    "negative": (deflated, "deflate", "i2", (-2, -5), "at least 0"),
    "float sizes": (deflated, "deflate", "i2", (2.0, 5), "expected whole numbers"),
    "no shape": (deflated, "deflate", "i2", None, "expected whole numbers"),
    "huge": (deflated, "deflate", "i2", (10**6, 10**6), "more than the limit of 100000000 bytes"),
    "huge and empty": (stream(b""), "deflate", "i2", (0, 10**12), "more than the limit"),
    "many sizes": (deflated, "deflate", "i2", (1,) * 65, "at most 32 sizes"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_parts_are_told_in_one_line(name: str) -> None:
    parts, encoding, dtype, shape, message = MALFORMED[name]
    with pytest.raises(StateError, match=message) as caught:
        unpack_array(parts, encoding, dtype, shape)
    assert "\n" not in str(caught.value)


@settings(max_examples=300)
@given(
    st.sampled_from(ENCODINGS),
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from(["", ".mask"]), st.integers(0, 30), st.integers(0, 255)), max_size=4),
    hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=12),
)
def test_whatever_comes_is_an_array_of_the_shape_or_an_error_of_ours(
    encoding: str, dropped: int, changes: list[tuple[str, int, int]], shape: tuple[int, ...]
) -> None:
    parts = {name: part.copy() for name, part in pack_array(GOOD, encoding).items()}  # type: ignore[arg-type]
    for name, place, value in changes:
        if name in parts:
            parts[name][place % len(parts[name])] = value
    parts[""] = parts[""][: len(parts[""]) - dropped]
    try:
        back = unpack_array(parts, encoding, np.int16, shape)
    except StateError:
        return
    assert back.shape == shape
    assert back.dtype == np.int16


def test_a_bomb_takes_no_memory() -> None:
    import tracemalloc

    bomb = {"": np.frombuffer(zlib.compress(bytes(30_000_000), 9), np.uint8)}
    assert bomb[""].nbytes < 50_000
    tracemalloc.start()
    try:
        with pytest.raises(StateError, match="more than the expected 1000 bytes"):
            unpack_array(bomb, "deflate", np.uint8, (1000,))
        with pytest.raises(StateError, match="more than the limit of 1000000 bytes"):
            unpack_array(bomb, "deflate", np.uint8, (30_000_000,), limit=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_pruned_model_is_small_when_packed() -> None:
    model = mlp(64, 64, 64)
    apply_masks(model, magnitude_masks(model, 0.9))
    weights = [weight for weight in prunable_weights(model).values() if isinstance(weight, Parameter)]
    packed = sum(part.nbytes for weight in weights for part in pack_array(weight.data, "bitmask").values())
    plain = sum(weight.data.nbytes for weight in weights)
    assert packed == pytest.approx(plain * (0.1 + 1 / 32), rel=0.01)
