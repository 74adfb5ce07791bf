"""Layers beyond the course: gradients against central differences, for inputs and for all parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
import tinytorch.nn as nn
from tinytorch.tensor import Tensor

# name -> (layer, shapes of its inputs)
LAYERS: dict[str, tuple[Callable[[], Any], tuple[tuple[int, ...], ...]]] = {
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1), ((2, 2, 7),)),
    "Conv1d same groups": (lambda: nn.Conv1d(2, 4, 3, padding="same", groups=2, bias=False), ((2, 2, 5),)),
    "Conv1d circular": (lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="circular"), ((2, 2, 5),)),
    "Conv2d same": (lambda: nn.Conv2d(2, 3, (2, 3), padding="same", dilation=(1, 2)), ((2, 2, 5, 6),)),
    "Conv2d reflect": (lambda: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="reflect"), ((2, 2, 4, 5),)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), ((2, 4, 3, 4),)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(3, 2, 4, 2, 1), ((2, 3, 5),)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), ((4, 3),)),
    "BatchNorm1d sequence": (lambda: nn.BatchNorm1d(3), ((2, 3, 5),)),
    "BatchNorm1d eval": (lambda: nn.BatchNorm1d(3).eval(), ((2, 3, 5),)),
    "BatchNorm2d plain": (lambda: nn.BatchNorm2d(2, affine=False, track_running_stats=False), ((2, 2, 3, 3),)),
    "LayerNorm 2": (lambda: nn.LayerNorm((3, 4)), ((2, 3, 4),)),
    "LayerNorm plain": (lambda: nn.LayerNorm(4, elementwise_affine=False), ((2, 4),)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), ((2, 4, 3),)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(2, affine=True), ((2, 2, 3, 4),)),
    "RMSNorm": (lambda: nn.RMSNorm(4, eps=1e-6), ((2, 4),)),
    "PReLU": (lambda: nn.PReLU(3), ((2, 3, 4),)),
    "Bilinear": (lambda: nn.Bilinear(3, 4, 2), ((5, 3), (5, 4))),
    "RNN relu": (lambda: nn.RNN(3, 4, nonlinearity="relu"), ((5, 2, 3),)),
    "RNN": (lambda: nn.RNN(3, 4, 2, batch_first=True), ((2, 5, 3),)),
    "LSTM": (lambda: nn.LSTM(3, 4, 2, bidirectional=True), ((4, 2, 3),)),
    "LSTM one sequence": (lambda: nn.LSTM(3, 4, bias=False), ((4, 3),)),
    "GRU": (lambda: nn.GRU(3, 4, bidirectional=True, batch_first=True), ((2, 4, 3), (2, 2, 4))),
    "RNNCell": (lambda: nn.RNNCell(3, 4), ((2, 3),)),
    "LSTMCell": (lambda: nn.LSTMCell(3, 4), ((2, 3),)),
    "GRUCell": (lambda: nn.GRUCell(3, 4), ((2, 3), (2, 4))),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2), ((3, 2, 4), (5, 2, 4), (5, 2, 4))),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(4, 2, 6, 0.0, "gelu", norm_first=True), 2, nn.LayerNorm(4)
        ),
        ((3, 2, 4),),
    ),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True), ((2, 3, 4),)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), ((1, 2, 3, 4),)),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), ((2, 2, 6),)),
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 2, 1), ((2, 2, 6),)),
    "CosineSimilarity": (lambda: nn.CosineSimilarity(dim=1), ((3, 4), (3, 4))),
    "PairwiseDistance": (lambda: nn.PairwiseDistance(), ((3, 4), (3, 4))),
    "ReflectionPad2d": (lambda: nn.ReflectionPad2d(1), ((1, 1, 3, 4),)),
    "Hardswish Softplus GLU": (lambda: nn.Sequential(nn.Hardswish(), nn.Softplus(2.0), nn.GLU()), ((3, 4),)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_equal_central_differences(name: str) -> None:
    make, shapes = LAYERS[name]
    tt.manual_seed(1)
    layer = make().double()
    rng = np.random.default_rng(2)
    names = [n for n, _ in layer.named_parameters()]
    state = {n: v.data.copy() for n, v in layer.state_dict().items()}

    def function(*tensors: Tensor) -> Tensor:
        layer.load_state_dict(state)  # running statistics start again
        holders = {id(p): n for n, p in layer.named_parameters()}
        given = dict(zip(names, tensors[len(shapes) :], strict=True))
        for module in layer.modules():
            for key, value in list(vars(module).items()):
                if id(value) in holders:
                    vars(module)[key] = given[holders[id(value)]]
        found = layer(*tensors[: len(shapes)])
        for module in layer.modules():  # parameters again, for the next call
            for key, value in list(vars(module).items()):
                for n, tensor in given.items():
                    if value is tensor:
                        vars(module)[key] = nn.Parameter(state[n])
        parts, todo = [], [found]
        while todo:
            part = todo.pop()
            todo += list(part) if isinstance(part, tuple) else []
            parts += [part.reshape(-1)] if isinstance(part, Tensor) else []
        return tt.cat(parts)

    arrays = [rng.standard_normal(shape) for shape in shapes]
    tt.check_grads(function, *arrays, *(state[n] for n in names))
