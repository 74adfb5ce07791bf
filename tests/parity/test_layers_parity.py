"""Layers, optimizers, and schedules beyond the course against PyTorch's: values, gradients, and states both ways."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

import tinytorch as tt
from tinytorch import nn, optim
from tinytorch.tensor import Tensor

# an expression that builds the layer in either framework, and the shapes of its inputs
LAYERS: list[tuple[str, tuple[tuple[int, ...], ...]]] = [
    ("nn.Linear(3, 4)", ((2, 3),)),
    ("nn.Conv1d(2, 4, 3, stride=2, padding=1)", ((2, 2, 9),)),
    ("nn.Conv1d(4, 4, 3, padding='same', groups=2, dilation=2)", ((2, 4, 9),)),
    ("nn.Conv2d(2, 3, (2, 3), padding='same')", ((2, 2, 5, 6),)),
    ("nn.Conv2d(2, 3, 3, padding='valid', bias=False)", ((2, 2, 5, 6),)),
    ("nn.Conv2d(2, 3, 3, padding=1, padding_mode='replicate')", ((2, 2, 5, 6),)),
    ("nn.Conv2d(2, 3, 3, padding=1, padding_mode='circular', stride=2)", ((2, 2, 5, 6),)),
    ("nn.ConvTranspose1d(3, 2, 4, 2, 1)", ((2, 3, 5),)),
    ("nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2)", ((2, 4, 3, 4),)),
    ("nn.ConvTranspose2d(4, 3, (2, 3), (1, 2), dilation=2, bias=False)", ((2, 4, 3, 4),)),
    ("nn.BatchNorm1d(3)", ((5, 3),)),
    ("nn.BatchNorm1d(3, momentum=None)", ((4, 3, 6),)),
    ("nn.BatchNorm1d(3, affine=False).eval()", ((4, 3, 6),)),
    ("nn.BatchNorm2d(3, track_running_stats=False)", ((4, 3, 2, 2),)),
    ("nn.LayerNorm((3, 4))", ((2, 3, 4),)),
    ("nn.LayerNorm(4, elementwise_affine=False)", ((2, 3, 4),)),
    ("nn.GroupNorm(2, 4)", ((2, 4, 3, 3),)),
    ("nn.InstanceNorm2d(3, affine=True)", ((2, 3, 4, 4),)),
    ("nn.InstanceNorm1d(3)", ((2, 3, 4),)),
    ("nn.RMSNorm(4)", ((2, 4),)),
    ("nn.PReLU(3)", ((2, 3, 4),)),
    ("nn.Bilinear(3, 4, 2)", ((5, 3), (5, 4))),
    ("nn.RNN(3, 4, 2, nonlinearity='relu')", ((5, 2, 3),)),
    ("nn.RNN(3, 4, batch_first=True, bidirectional=True)", ((2, 5, 3),)),
    ("nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)", ((2, 5, 3),)),
    ("nn.LSTM(3, 4, bias=False)", ((5, 3),)),
    ("nn.GRU(3, 4, 2)", ((5, 2, 3), (2, 2, 4))),
    ("nn.RNNCell(3, 4)", ((2, 3),)),
    ("nn.LSTMCell(3, 4)", ((2, 3),)),
    ("nn.GRUCell(3, 4)", ((2, 3), (2, 4))),
    ("nn.MultiheadAttention(8, 2)", ((3, 2, 8), (5, 2, 8), (5, 2, 8))),
    ("nn.MultiheadAttention(8, 2, bias=False, batch_first=True)", ((2, 3, 8),) * 3),
    ("nn.TransformerEncoderLayer(8, 2, 6, 0.0)", ((3, 2, 8),)),
    ("nn.TransformerEncoderLayer(8, 2, 6, 0.0, 'gelu', batch_first=True, norm_first=True)", ((2, 3, 8),)),
    ("nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 6, 0.0), 2, nn.LayerNorm(8))", ((3, 2, 8),)),
    ("nn.Sequential(nn.Upsample(scale_factor=2), nn.PixelShuffle(2), nn.ZeroPad2d((1, 2, 0, 1)))", ((1, 4, 3, 3),)),
    ("nn.Sequential(nn.AdaptiveAvgPool1d(3), nn.Flatten(0, 1), nn.Unflatten(1, (3, 1)))", ((2, 2, 7),)),
    ("nn.Sequential(nn.MaxPool1d(3, 2, 1), nn.AvgPool1d(2), nn.Identity())", ((2, 2, 9),)),
    ("nn.Sequential(nn.ReflectionPad2d(1), nn.ReplicationPad2d(2), nn.AdaptiveMaxPool2d(3))", ((1, 2, 4, 4),)),
    ("nn.Sequential(nn.ELU(0.5), nn.SELU(), nn.CELU(0.7), nn.GELU(), nn.SiLU(), nn.Mish(), nn.Softplus())", ((3, 4),)),
    (
        "nn.Sequential(nn.LeakyReLU(0.2), nn.Hardtanh(-2, 2), nn.Tanhshrink(), nn.Softsign(), nn.LogSigmoid())",
        ((3, 4),),
    ),
    (
        "nn.Sequential(nn.Hardswish(), nn.Hardsigmoid(), nn.ReLU6(), nn.GLU(), nn.Softmin(1), nn.LogSoftmax(1))",
        ((3, 4),),
    ),
    ("nn.Sequential(nn.GELU('tanh'), nn.Tanh(), nn.Sigmoid(), nn.Softmax(-1), nn.Dropout(0.0))", ((3, 4),)),
    ("nn.CosineSimilarity(dim=1)", ((3, 4), (3, 4))),
    ("nn.PairwiseDistance(p=1)", ((3, 4), (3, 4))),
]


def tensors_in(value: Any) -> list[Any]:
    """Return the tensors in nested tuples."""
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in tensors_in(part)]
    return [] if value is None else [value]


@pytest.mark.parametrize(("expression", "shapes"), LAYERS, ids=[e for e, _ in LAYERS])
@pytest.mark.filterwarnings("ignore")
def test_layer_has_pytorchs_values_gradients_and_state(expression: str, shapes: Any) -> None:
    ours = eval(expression, {"nn": nn}).double()
    theirs = eval(expression, {"nn": torch.nn}).double()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.from_numpy(rng.standard_normal(tuple(p.shape))))
    ours.load_state_dict({n: v.numpy().copy() for n, v in theirs.state_dict().items()})
    arrays = [rng.standard_normal(shape) for shape in shapes]
    left = [Tensor(a.copy(), requires_grad=True) for a in arrays]
    right = [torch.tensor(a, requires_grad=True) for a in arrays]
    losses: list[Any] = [0, 0]
    for a, b in zip(tensors_in(ours(*left)), tensors_in(theirs(*right)), strict=True):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-8, atol=1e-10)
        weights = rng.standard_normal(a.shape)
        losses = [losses[0] + (a * Tensor(weights)).sum(), losses[1] + (b * torch.from_numpy(weights)).sum()]
    losses[0].backward()
    losses[1].backward()
    gradients = dict(theirs.named_parameters())
    assert [n for n, _ in ours.named_parameters()] == list(gradients)
    pairs = [*zip(left, right, strict=True), *((p, gradients[n]) for n, p in ours.named_parameters())]
    for mine, other in pairs:
        np.testing.assert_allclose(mine.grad.data, other.grad.numpy(), rtol=1e-7, atol=1e-9)
    state = {n: torch.from_numpy(np.array(v.data)) for n, v in ours.state_dict().items()}
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(state[name].numpy(), value.numpy(), rtol=1e-8, atol=1e-10)
    theirs.load_state_dict(state)  # strict: all names are PyTorch's


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 1e-4, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "betas": (0.5, 0.7)}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "amsgrad": True, "maximize": True}),
    ("RMSprop", {"lr": 0.05, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.8, "centered": True}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.5}),
    ("Adadelta", {"lr": 1.0, "rho": 0.8, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.1}),
]
SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.25, "total_iters": 6}),
    ("PolynomialLR", {"total_iters": 8, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 20}),
    (
        "OneCycleLR",
        {"max_lr": 0.3, "epochs": 4, "steps_per_epoch": 6, "three_phase": True, "anneal_strategy": "linear"},
    ),
    ("LambdaLR", {"lr_lambda": lambda step: 1 / (1 + step)}),
]


def parameters() -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((3, 2)), rng.standard_normal(4)]
    return [nn.Parameter(Tensor(a.copy())) for a in arrays], [torch.nn.Parameter(torch.tensor(a)) for a in arrays]


def step(optimizers: tuple[Any, Any], sides: tuple[list[Any], list[Any]], i: int) -> None:
    for optimizer, given in zip(optimizers, sides, strict=True):
        optimizer.zero_grad()
        loss = sum(((p - 0.5) ** 2).sum() * (1 + i % 3) for p in given) + (given[0] ** 3).sum() * 0.1
        loss.backward()
        optimizer.step()
    for a, b in zip(*sides, strict=True):
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("name", "settings"), OPTIMIZERS)
def test_optimizer_takes_pytorchs_steps(name: str, settings: dict[str, Any]) -> None:
    sides = parameters()
    optimizers = getattr(optim, name)(sides[0], **settings), getattr(torch.optim, name)(sides[1], **settings)
    for i in range(20):
        step(optimizers, sides, i)


@pytest.mark.parametrize(("name", "settings"), SCHEDULES)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_schedule_has_pytorchs_rates(name: str, settings: dict[str, Any], kind: str) -> None:
    sides = parameters()
    start: dict[str, Any] = {"lr": 0.1, "momentum": 0.9} if kind == "SGD" else {"lr": 0.1}
    optimizers = tuple(getattr(m, kind)([{"params": side[:1]}, {"params": side[1:], "lr": 0.02}], **start)
                       for m, side in zip((optim, torch.optim), sides, strict=True))  # fmt: skip
    schedules = [getattr(m.lr_scheduler, name)(o, **copy.copy(settings))
                 for m, o in zip((optim, torch.optim), optimizers, strict=True)]  # fmt: skip
    for i in range(19):
        np.testing.assert_allclose(schedules[0].get_last_lr(), schedules[1].get_last_lr(), rtol=1e-9, atol=1e-12)
        for a, b in zip(*(o.param_groups for o in optimizers), strict=True):
            assert a.get("momentum", 0) == pytest.approx(b.get("momentum", 0))
            assert a.get("betas", (0,)) == pytest.approx(b.get("betas", (0,)))
        step(optimizers, sides, i)
        for schedule in schedules:
            schedule.step()


@pytest.mark.parametrize("settings", [{}, {"mode": "max", "threshold_mode": "abs"}, {"patience": 1, "cooldown": 2}])
def test_plateau_reduces_at_pytorchs_steps(settings: dict[str, Any]) -> None:
    sides = parameters()
    optimizers = [m.SGD(side, lr=1.0) for m, side in zip((optim, torch.optim), sides, strict=True)]
    schedules = [m.lr_scheduler.ReduceLROnPlateau(o, **{"patience": 2, **settings})
                 for m, o in zip((optim, torch.optim), optimizers, strict=True)]  # fmt: skip
    for value in np.random.default_rng(0).random(40):
        for schedule in schedules:
            schedule.step(value)
        assert optimizers[0].param_groups[0]["lr"] == pytest.approx(optimizers[1].param_groups[0]["lr"])


def test_sequential_schedule_has_pytorchs_rates() -> None:
    rates = []
    for m, side in zip((optim, torch.optim), parameters(), strict=True):
        optimizer = m.SGD(side, lr=0.1)
        parts = [m.lr_scheduler.ConstantLR(optimizer, factor=0.1, total_iters=2),
                 m.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)]  # fmt: skip
        schedule = m.lr_scheduler.SequentialLR(optimizer, parts, milestones=[3])
        found = []
        for _ in range(8):
            found.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        rates.append(found)
    np.testing.assert_allclose(rates[0], rates[1])


INITIALIZATIONS: list[tuple[str, dict[str, Any]]] = [
    ("xavier_uniform_", {"gain": 2.0}),
    ("xavier_normal_", {}),
    ("kaiming_uniform_", {"a": 0.3}),
    ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
    ("orthogonal_", {}),
    ("trunc_normal_", {"std": 2.0}),
    ("uniform_", {"a": -1.0}),
    ("normal_", {"std": 3.0}),
]


def test_initializations_have_pytorchs_spread() -> None:
    for name, settings in INITIALIZATIONS:
        ours, theirs = tt.empty(60, 50, 3), torch.empty(60, 50, 3)
        getattr(nn.init, name)(ours, **settings)
        getattr(torch.nn.init, name)(theirs, **settings)
        assert ours.data.std() == pytest.approx(theirs.std().item(), rel=0.05), name
        assert ours.data.max() == pytest.approx(theirs.max().item(), rel=0.25), name
    for nonlinearity in ("relu", "tanh", "leaky_relu", "selu", "sigmoid"):
        assert nn.init.calculate_gain(nonlinearity) == pytest.approx(torch.nn.init.calculate_gain(nonlinearity))
