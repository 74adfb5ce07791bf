"""Small networks and data for the tests of several rooms, drawn from seeds and never trained."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

import tinytorch as tt
from tinytorch.layers import Flatten, Linear, Module, Sequential
from tinytorch.quantized import quantize_dynamic, quantize_static
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT

M = TypeVar("M", bound=Module)

_random = np.random.default_rng(0)
IMAGES = _random.standard_normal((40, 3, 8, 8)).astype(np.float32)  # for cnn(), normed_cnn(), and resnet()
DIGITS = _random.random((64, 4, 6)).astype(np.float32)  # for mlp()
TOKENS = _random.integers(0, 30, (4, 8))  # for gpt()


def mlp() -> Sequential:
    tt.manual_seed(0)
    return Sequential(Flatten(), Linear(24, 32), tt.ReLU(), Linear(32, 16), tt.relu, Linear(16, 5))


def perceptron(*sizes: int) -> Sequential:
    """Build linear layers between these widths, with ReLU between the layers."""
    layers: list[Callable[[Tensor], Tensor]] = []
    for into, out in pairwise(sizes):
        layers += [Linear(into, out), tt.ReLU()]
    return Sequential(*layers[:-1])


def cnn() -> Sequential:
    tt.manual_seed(0)
    return Sequential(
        *(Conv2d(3, 8, 3, padding=1, bias=False), MaxPool2d(2), BatchNorm2d(8), tt.ReLU()),
        *(Conv2d(8, 6, 2, 2, 1, 1, 2), tt.ReLU(), MaxPool2d(2, 1), Flatten(), Linear(24, 5), tt.Sigmoid()),
    )


def normed_cnn(*, gain: float = 1.0) -> Sequential:
    """Build convolution, pooling, norm, and ReLU as in the suite; `gain` is the norm's first scale."""
    tt.manual_seed(0)
    norm = with_statistics(BatchNorm2d(8))
    norm.weight.data[0] = gain
    return Sequential(
        *(Conv2d(3, 8, 3, padding=1, bias=False), MaxPool2d(2), norm, tt.ReLU()),
        *(Conv2d(8, 6, 3), with_statistics(BatchNorm2d(6)), tt.ReLU(), MaxPool2d(2, 1), Flatten(), Linear(6, 5)),
    )


def resnet() -> Sequential:
    tt.manual_seed(0)
    return Sequential(
        *(Conv2d(3, 8, 3, 1, 1), BatchNorm2d(8), tt.ReLU(), BasicBlock(8, 8), BasicBlock(8, 16, 2)),
        *(AdaptiveAvgPool2d(1), Flatten(), Linear(16, 5)),
    )


def with_statistics(model: M) -> M:
    """Give each batch norm random weights and running statistics, as if the model had been trained."""
    random = np.random.default_rng(0)
    for norm in model.modules():
        if isinstance(norm, BatchNorm2d):
            n = norm.num_features
            norm.weight.data = random.uniform(0.5, 1.5, n).astype(np.float32)
            norm.bias.data = random.standard_normal(n).astype(np.float32)
            norm.running_mean.data = random.standard_normal(n).astype(np.float32)
            norm.running_var.data = random.uniform(0.5, 2, n).astype(np.float32)
    return model


def gpt() -> GPT:
    tt.manual_seed(0)
    return GPT(vocab_size=30, block_size=8, n_layer=2, n_head=2, n_embd=16)


def partly_float() -> Any:
    """Build an INT8 model with a float block and a float layer, an unfolded batch norm, and a signed pool."""
    tt.manual_seed(0)
    negative = BatchNorm2d(8)
    negative.weight.data[::2] = -1
    network = Sequential(
        *(Conv2d(3, 8, 3, 1, 1), MaxPool2d(2), negative, BasicBlock(8, 8), tt.GELU(), Conv2d(8, 8, 1), MaxPool2d(2)),
        *(Conv2d(8, 4, 2), Flatten(), Linear(4, 5)),
    )
    model: Any = quantize_static(network, [IMAGES])
    model.layers[3] = BasicBlock(8, 8).eval()
    return model


def static_mlp() -> Any:
    return quantize_static(mlp(), [DIGITS])


QUANTIZED: dict[str, tuple[Callable[[], Module], Array]] = {  # with one that is not, to compare with
    "mlp": (static_mlp, DIGITS),
    "cnn": (lambda: quantize_static(cnn(), [IMAGES]), IMAGES),
    "resnet": (lambda: quantize_static(resnet(), [IMAGES]), IMAGES),
    "float parts": (lambda: partly_float(), IMAGES),
    "dynamic mlp": (lambda: quantize_dynamic(mlp()), DIGITS),
    "dynamic cnn": (lambda: quantize_dynamic(cnn()), IMAGES),
    "gpt": (lambda: quantize_dynamic(gpt()), TOKENS),
    "dynamic": (lambda: quantize_dynamic(mlp()), DIGITS),
    "one": (lambda: quantize_static(Linear(6, 3), [DIGITS]), DIGITS),
    "float": (mlp, DIGITS),
}


def outputs(model: Module, x: Array) -> Array:
    with tt.no_grad():
        return model.eval()(Tensor(x)).data


def error(model: Module, reference: Array, x: Array) -> float:
    """Return the largest error, relative to the largest output."""
    return float(np.abs(outputs(model, x) - reference).max() / np.abs(reference).max())


V, BLOCK = 11, 8  # the vocabulary and the context of lively()


def lively(seed: int = 0, bias: bool = False) -> GPT:
    """Build a model whose logits depend on the whole context, with norms and biases that differ from 1 and 0."""
    tt.manual_seed(seed)
    model = GPT(V, BLOCK, n_layer=2, n_head=2, n_embd=8, bias=bias)
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        drawn = np.float32(0.4) * rng.standard_normal(parameter.shape, np.float32)
        parameter.data = drawn + np.float32("ln_" in name and "weight" in name)
    model.transformer.wpe.weight.data *= 3
    model.transformer.ln_f.weight.data[::2] *= -1  # otherwise the tied weights would repeat the last token forever
    return model.eval()


def text(rows: int = 1, length: int = BLOCK, seed: int = 3) -> Array:
    """Draw tokens for lively(), of shape (rows, length)."""
    return np.random.default_rng(seed).integers(0, V, (rows, length))
