"""Module 18: magnitude pruning, distillation, and storing zeros as bits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinytorch as tt
from tinytorch.autograd import check_grads
from tinytorch.base.errors import SettingError, ShapeError, StateError
from tinytorch.compression import (
    DistillationLoss,
    GradualPruning,
    apply_masks,
    cubic_sparsity,
    distillation_loss,
    magnitude_masks,
    pack_bitmask,
    prunable_weights,
    sparsity_of,
    unpack_bitmask,
    with_teacher,
)
from tinytorch.layers import Linear
from tinytorch.spatial import BasicBlock
from tinytorch.tensor import Array, Tensor

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded() -> None:
    tt.manual_seed(0)
    random.bit_generator.state = np.random.default_rng(0).bit_generator.state  # for any test order


def mlp(*sizes: int) -> tt.Sequential:
    layers: list[Callable[[Tensor], Tensor]] = []
    for into, out in pairwise(sizes):
        layers += [Linear(into, out), tt.ReLU()]
    return tt.Sequential(*layers[:-1])


def weights_of(model: tt.Module) -> Array:
    return np.concatenate([weight.data.reshape(-1) for weight in prunable_weights(model).values()])


@given(st.floats(0, 1), st.integers(1, 9), st.integers(0, 3))
def test_exactly_the_share_is_pruned_and_no_pruned_weight_is_larger_than_a_kept_one(
    share: float, width: int, levels: int
) -> None:
    model = mlp(3, width, 2)
    if levels:  # few different magnitudes: many ties
        for weight in prunable_weights(model).values():
            weight.data = np.random.default_rng(levels).integers(-levels, levels, weight.shape).astype(np.float32)
    masks = magnitude_masks(model, share)
    flat, kept = weights_of(model), np.concatenate([mask.reshape(-1) for mask in masks.values()])
    assert (~kept).sum() == round(share * flat.size)
    if kept.any() and not kept.all():
        assert np.abs(flat[~kept]).max() <= np.abs(flat[kept]).min()


def test_first_of_equal_weights_are_pruned() -> None:
    model = mlp(4, 1)
    model[0].weight.data = np.array([[1, -1, 0.5, 1]], np.float32)  # type: ignore[attr-defined]
    assert magnitude_masks(model, 0.75)["0.weight"].tolist() == [[False, False, False, True]]


def test_masks_are_applied_in_place() -> None:
    model = mlp(2, 2)
    weight = model[0].weight.data  # type: ignore[attr-defined]
    expected = weight * [[1, 0], [0, 1]]
    apply_masks(model, {"0.weight": np.array([[True, False], [False, True]])})
    assert model[0].weight.data is weight  # type: ignore[attr-defined]
    np.testing.assert_array_equal(weight, expected)


def test_sparsity_of_zero_and_one() -> None:
    model = mlp(5, 4, 3)
    before = {name: value.data.copy() for name, value in model.state_dict().items()}
    apply_masks(model, magnitude_masks(model, 0))
    assert sparsity_of(model) == 0
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.data, before[name])
    apply_masks(model, magnitude_masks(model, 1))
    assert sparsity_of(model) == 1
    np.testing.assert_array_equal(model(tt.randn(2, 5)).data, np.tile(before["2.bias"], (2, 1)))


def test_all_layers_share_one_ranking() -> None:
    model = mlp(10, 10, 10)
    model[0].weight.data *= np.float32(1e-6)  # type: ignore[attr-defined]
    masks = magnitude_masks(model, 0.5)
    assert not masks["0.weight"].any()
    assert masks["2.weight"].all()


def test_nan_is_pruned_last() -> None:
    model = mlp(4, 1)
    model[0].weight.data = np.array([[np.nan, 3, np.inf, 2]], np.float32)  # type: ignore[attr-defined]
    assert magnitude_masks(model, 0.5)["0.weight"].tolist() == [[True, False, True, False]]


def test_pruned_weight_is_positive_zero() -> None:
    model = mlp(6, 6)
    apply_masks(model, magnitude_masks(model, 1))
    assert model[0].weight.data.tobytes() == bytes(6 * 6 * 4)  # type: ignore[attr-defined]


def test_biases_norms_and_embeddings_are_not_pruned() -> None:
    model = tt.GPT(vocab_size=7, block_size=4, n_layer=1, n_head=2, n_embd=8)
    assert set(prunable_weights(model)) == {
        f"transformer.h.0.{part}.weight" for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }
    tied = tt.Sequential(tt.Embedding(5, 4), Linear(4, 4), Linear(4, 5))
    tied[2].weight = tied[0].weight  # type: ignore[attr-defined]
    assert set(prunable_weights(tied)) == {"1.weight"}
    block = BasicBlock(2, 4, 2)
    weights = prunable_weights(block)
    assert list(weights) == ["conv1.weight", "conv2.weight", "shortcut.weight"]
    assert weights["conv1.weight"] is block.conv1.weight


def test_other_parameters_can_be_pruned_by_name() -> None:
    model = mlp(3, 4, 2)
    masks = magnitude_masks(model, 0.5, ["0.bias", "2.weight"])
    assert {name: mask.shape for name, mask in masks.items()} == {"0.bias": (4,), "2.weight": (2, 4)}
    assert sum((~mask).sum() for mask in masks.values()) == 6


def test_invalid_pruning_requests_are_rejected() -> None:
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(SettingError, match=f"sparsity {share}: expected 0 to 1"):
            magnitude_masks(mlp(2, 2), share)
    with pytest.raises(SettingError, match=r"no parameters named 0.wait: expected \['0.weight', '0.bias'\]"):
        magnitude_masks(mlp(2, 2), 0.5, ["0.wait"])
    with pytest.raises(SettingError, match="Sequential has no linear or convolutional layers"):
        magnitude_masks(tt.Sequential(tt.ReLU()), 0.5)


def test_schedule_follows_zhu_and_gupta() -> None:
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
    assert (seen[12][0] != seen[23][0]).any()  # the remaining weights continue to learn
    assert sum(loss for _, loss in seen[-6:]) < sum(loss for _, loss in seen[:6])


@pytest.mark.parametrize("kind", ["sgd", "nesterov", "adam"])
def test_momentum_does_not_revive_pruned_weights(kind: str) -> None:
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


def test_pruned_weights_stay_pruned_if_another_weight_becomes_zero() -> None:
    model = mlp(4, 1)
    weight = model[0].weight  # type: ignore[attr-defined]
    weight.data = np.array([[3, 2, 0.5, 4]], np.float32)
    pruning = GradualPruning(tt.SGD(model.parameters()), model, 0.3, steps=1, initial=0.25)
    assert weight.data.tolist() == [[3, 2, 0, 4]]  # at once
    weight.data[0, 0] = 0
    pruning.step()
    assert pruning.masks["0.weight"].tolist() == [[True, True, False, True]]


def test_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
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


def test_state_of_another_optimizer_is_rejected() -> None:
    model = mlp(4, 3)
    pruning = GradualPruning(tt.SGD(model.parameters()), model, 0.5, steps=4)
    with pytest.raises(StateError, match=r"GradualPruning: state does not fit: pruning.step, pruning.mask.0.weight"):
        pruning.load_state_dict(tt.SGD(model.parameters()).state_dict())


@pytest.mark.parametrize("wrong", [{"sparsity": 1.5}, {"initial": 0.6}, {"steps": 0}, {"every": 0}])
def test_settings_of_gradual_pruning_are_checked(wrong: dict[str, Any]) -> None:
    model = mlp(2, 2)
    with pytest.raises(SettingError):
        GradualPruning(tt.SGD(model.parameters()), model, **{"sparsity": 0.5, "steps": 4, **wrong})


def truth(z: Array, teacher: Array, targets: Array, temperature: float, alpha: float) -> float:
    """Compute the loss from its formula, one row at a time."""
    total = 0.0
    for student_row, teacher_row, target in zip(z, teacher, targets, strict=True):
        p = np.exp(teacher_row / temperature) / np.exp(teacher_row / temperature).sum()
        q = np.exp(student_row / temperature) / np.exp(student_row / temperature).sum()
        hard = -np.log(np.exp(student_row[target]) / np.exp(student_row).sum())
        total += alpha * temperature**2 * (p * np.log(p / q)).sum() + (1 - alpha) * hard
    return total / len(z)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_distillation_loss_and_its_gradient(temperature: float, alpha: float) -> None:
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


def test_student_that_agrees_has_zero_loss_and_gradient() -> None:
    z = Tensor(random.standard_normal((6, 5)), requires_grad=True)
    loss = distillation_loss(z, z.data.copy(), np.zeros(6, int), 3.0, 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert z.grad is not None
    np.testing.assert_allclose(z.grad.data, 0, atol=1e-12)


def test_teacher_gets_no_gradient_and_may_exclude_classes() -> None:
    teacher = Tensor(random.standard_normal((2, 3)), requires_grad=True)
    student = Tensor(1000 * random.standard_normal((2, 3)), requires_grad=True)
    distillation_loss(student, teacher, np.array([0, 1]), 2.0, 0.5).backward()
    assert teacher.grad is None
    sure = np.array([[0.0, -np.inf, 1.0]])
    assert np.isfinite(distillation_loss(tt.randn(1, 3), sure, np.array([0]), 2.0, 0.5).item())


def test_invalid_distillation_arguments_are_rejected() -> None:
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


def test_teacher_sees_the_same_inputs_as_the_student() -> None:
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


def test_student_learns_from_a_teacher_in_the_trainer() -> None:
    teacher, student = mlp(8, 16, 3), mlp(8, 8, 3)
    for parameter in teacher.parameters():
        parameter.data *= 3  # so that its outputs differ
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
    assert {"val_loss", "accuracy"} <= history[-1].keys()  # validation uses plain labels
    x = data.arrays[0]
    assert (student(Tensor(x)).data.argmax(1) == teacher(Tensor(x)).data.argmax(1)).mean() > 0.9


def bytes_of(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8).reshape(array.size, array.itemsize)


def test_nonzero_elements_and_their_places_are_packed() -> None:
    array = np.array([[0, 3, 0, -1, 0], [5, 0, 0, 0, 7]], "<i2")
    values, mask = pack_bitmask(bytes_of(array))
    assert values.dtype == mask.dtype == np.uint8
    assert values.tolist() == [3, 0, 255, 255, 5, 0, 7, 0]
    assert mask.tolist() == [0b01010100, 0b01000000]


def test_negative_zero_and_nan_are_not_zero() -> None:
    array = np.array([0.0, -0.0, np.nan, 1.0, 0.0], "<f4")
    values, mask = pack_bitmask(bytes_of(array))
    assert mask.tolist() == [0b01110000]
    assert values.tobytes() == array[1:4].tobytes()


def test_packed_bytes_are_put_back_in_their_places() -> None:
    values, mask = np.array([3, 0, 255, 255], np.uint8), np.array([0b00000010, 0b10000000], np.uint8)
    content = unpack_bitmask(values, mask, 9, 2)
    assert content.dtype == np.uint8
    assert content.tolist() == [0] * 12 + [3, 0, 0, 0, 255, 255]
    assert unpack_bitmask(values[:0], mask[:0], 0, 2).shape == (0,)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 40), st.integers(1, 8)), elements=st.sampled_from([0, 0, 0, 7])))
def test_any_bytes_are_restored(rows: Array) -> None:
    values, mask = pack_bitmask(rows)
    assert len(values) == rows.any(axis=1).sum() * rows.shape[1]
    assert len(mask) == -(-len(rows) // 8)
    assert unpack_bitmask(values, mask, *rows.shape).tobytes() == rows.tobytes()
