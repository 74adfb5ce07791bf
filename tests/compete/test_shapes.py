"""tito.compete.shapes: what the description says about shapes is what the model does when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.compete.competition import RULES, small_model
from tinytorch.activations import Softmax
from tinytorch.attention import MultiHeadAttention
from tinytorch.embeddings import Embedding, LearnedPositions
from tinytorch.layers import Module
from tinytorch.quantized import prepare_qat, quantize_dynamic, quantize_static
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLinear
from tinytorch.saved import load_model, save_model
from tinytorch.saved.document import parse
from tinytorch.saved.table import KINDS
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.transformers import MLP, LayerNorm, TransformerBlock
from tito.compete.problems import Problem
from tito.compete.rules import Track, read_rules
from tito.compete.shapes import RULES as SHAPES
from tito.compete.shapes import shape_problem

DOCUMENT = read_rules(RULES, RULES.read_bytes())
TRACKS: dict[str, Track] = {track.name: track for track in DOCUMENT.tracks}
MNIST, CIFAR10, TINYGPT = TRACKS["mnist"], TRACKS["cifar10"], TRACKS["tinygpt"]


def problem_of(folder: Path, track: Track, most: int = DOCUMENT.activation_bytes) -> Problem | None:
    return shape_problem(parse((folder / "model.json").read_bytes()).root, track, most)


def test_every_layer_of_the_format_has_a_rule() -> None:
    assert SHAPES.keys() == KINDS.keys()


def images(*layers: Any) -> Module:
    return tt.Sequential(*layers).eval()


FLAT = (tt.Flatten(), tt.Linear(784, 10))
ROWS = (tt.Linear(28, 8), LearnedPositions(28, 8))
PHOTOS = (AdaptiveAvgPool2d(1), tt.Flatten())
GOOD: list[tuple[Track, Module]] = [
    (MNIST, images(*FLAT, tt.ReLU(), tt.gelu, tt.Dropout(), Softmax(-1), tt.softmax)),
    (MNIST, images(*FLAT, Softmax(1))),
    (MNIST, images(*ROWS, MultiHeadAttention(8, 2), MLP(8), LayerNorm(8), tt.Flatten(), tt.Linear(224, 10))),
    (MNIST, images(*ROWS, TransformerBlock(8, 2), tt.Flatten(), tt.Linear(224, 10))),
    (MNIST, quantize_dynamic(images(*FLAT))),
    (CIFAR10, images(Conv2d(3, 6, (3, 5), (2, 1), (1, 2), (2, 1), groups=3), *PHOTOS, tt.Linear(6, 10))),
    (CIFAR10, images(Conv2d(3, 4, 1), MaxPool2d(2), AvgPool2d(3, 2, 1), *PHOTOS, tt.Linear(4, 10))),
    (CIFAR10, images(AdaptiveAvgPool2d((2, 3)), tt.Flatten(), tt.Linear(18, 10))),
    (CIFAR10, small_model("cifar10")),
    (CIFAR10, quantize_static(small_model("cifar10"), [np.ones((2, 3, 32, 32), np.float32)])),
    (CIFAR10, quantize_dynamic(small_model("cifar10"))),
    (TINYGPT, small_model("tinygpt")),
    (TINYGPT, quantize_dynamic(small_model("tinygpt"))),
]


@pytest.mark.parametrize(("track", "model"), GOOD)
def test_a_model_that_fits_also_runs(tmp_path: Path, track: Track, model: Module) -> None:
    folder = save_model(model, tmp_path / "m")
    assert problem_of(folder, track) is None
    loaded = load_model(folder)
    if track.is_text:
        assert loaded(np.zeros((2, 128), np.int64)).shape == (2, 128, 4256)
    else:
        assert loaded(tt.Tensor(np.zeros((2, *(track.input or ())), np.float32))).shape == (2, 10)


def bad_conv() -> Module:
    return images(Conv2d(3, 4, 3), Conv2d(5, 4, 3), *PHOTOS, tt.Linear(4, 10))


INT8_OUT = QuantizedLinear(784, 10, input_dtype="int8", output_dtype="int8")
BAD: list[tuple[Track, Module, str, str]] = [
    (MNIST, images(*FLAT, tt.Linear(9, 10)), "model", "model.layers[2]"),
    (MNIST, images(tt.Linear(28, 10)), "task", "model"),
    (MNIST, images(*FLAT, tt.Linear(10, 9)), "task", "model"),
    (MNIST, images(tt.Flatten(), tt.Linear(783, 10)), "task", "model.layers[1]"),
    (MNIST, images(Conv2d(1, 1, 3), *FLAT), "task", "model.layers[0]"),
    (MNIST, images(Embedding(9, 9)), "task", "model.layers[0]"),
    (MNIST, images(tt.Flatten(), tt.Linear(784, 8), LearnedPositions(9, 8)), "model", "model.layers[2]"),
    (MNIST, images(tt.Linear(28, 8), LearnedPositions(27, 8)), "model", "model.layers[1]"),
    (MNIST, images(tt.Flatten(), tt.Linear(784, 8), MultiHeadAttention(8, 2)), "model", "model.layers[2]"),
    (MNIST, images(tt.Linear(28, 8), MultiHeadAttention(4, 2)), "model", "model.layers[1].c_attn"),
    (MNIST, images(tt.Linear(28, 8), TransformerBlock(4, 2)), "model", "model.layers[1].ln_1"),
    (MNIST, images(*FLAT, LayerNorm(9)), "model", "model.layers[2]"),
    (MNIST, images(*FLAT, Softmax(5)), "model", "model.layers[2].dim"),
    (MNIST, images(*FLAT, Softmax(0)), "answers", "model.layers[2].dim"),
    (MNIST, images(*FLAT, Softmax(-2)), "answers", "model.layers[2].dim"),
    (MNIST, images(tt.Linear(28, 10), Softmax(-3)), "answers", "model.layers[1].dim"),
    (MNIST, images(tt.Flatten(), INT8_OUT), "task", "model"),
    (MNIST, images(tt.Flatten(), INT8_OUT, tt.Linear(10, 10)), "model", "model.layers[2]"),
    (MNIST, images(tt.Flatten(), INT8_OUT, QuantizedLinear(10, 10, input_dtype="uint8")), "model", "model.layers[2]"),
    (MNIST, images(tt.Flatten(), INT8_OUT, QuantizedLinear(10, 10)), "model", "model.layers[2]"),
    (CIFAR10, bad_conv(), "model", "model.layers[1]"),
    (CIFAR10, images(Conv2d(3, 4, 33), *PHOTOS, tt.Linear(4, 10)), "task", "model.layers[0]"),
    (CIFAR10, images(Conv2d(3, 4, 1), MaxPool2d(2, padding=2), *PHOTOS), "model", "model.layers[1].padding"),
    (CIFAR10, images(Conv2d(3, 4, 1), BatchNorm2d(5)), "model", "model.layers[1]"),
    (CIFAR10, images(Conv2d(3, 4, 1), tt.Flatten(), AdaptiveAvgPool2d(1)), "model", "model.layers[2]"),
    (CIFAR10, images(Conv2d(3, 4, 1), tt.Flatten(), MaxPool2d(2)), "model", "model.layers[2]"),
    (CIFAR10, small_model("tinygpt"), "task", "model.type"),
    (TINYGPT, small_model("mnist"), "task", "model.type"),
]


@pytest.mark.parametrize(("track", "model", "code", "field"), BAD)
def test_a_model_that_does_not_fit_is_named_at_its_layer(
    tmp_path: Path, track: Track, model: Module, code: str, field: str
) -> None:
    problem = problem_of(save_model(model, tmp_path / "m"), track)
    assert problem
    assert (problem.code, problem.file, problem.field) == (code, "model.json", field)


def test_a_sum_of_two_shapes(tmp_path: Path) -> None:
    block = BasicBlock(3, 3)
    block.shortcut = tt.Sequential(AdaptiveAvgPool2d(1))  # NumPy would broadcast it
    problem = problem_of(save_model(images(block, *PHOTOS, tt.Linear(3, 10)), tmp_path / "m"), CIFAR10)
    assert problem
    assert problem.found == "the sum of [3, 32, 32] of float and [3, 1, 1] of float"


def test_training_with_rounded_weights_is_followed_inside(tmp_path: Path) -> None:
    folder = save_model(prepare_qat(images(tt.Flatten(), tt.Linear(783, 10))), tmp_path / "m")
    problem = problem_of(folder, MNIST)
    assert problem
    assert problem.field == "model.layers[1].layer"


HUGE: list[tuple[Track, Module]] = [
    (CIFAR10, images(Conv2d(3, 100, 1, padding=1024))),  # a large output
    (CIFAR10, images(Conv2d(3, 1, 1000, padding=500))),  # a large work array
    (CIFAR10, images(Conv2d(3, 1, 1024, stride=1024, padding=1024), AdaptiveAvgPool2d(1024))),
    (CIFAR10, images(MaxPool2d(1024, padding=512))),
    (CIFAR10, images(AdaptiveAvgPool2d(1024))),
    (MNIST, images(tt.Linear(28, 900), MultiHeadAttention(900, 900))),
    (CIFAR10, images(QuantizedConv2d(3, 100, (1, 1), padding=(1024, 1024)))),
]


@pytest.mark.parametrize(("track", "model"), HUGE)
def test_an_array_larger_than_the_limit_is_foreseen(tmp_path: Path, track: Track, model: Module) -> None:
    problem = problem_of(save_model(model, tmp_path / "m"), track, most=2_500_000)
    assert problem
    assert problem.code == "memory"
    assert problem.expected == "at most 2500000"


def test_many_heads_of_a_language_model_are_foreseen(tmp_path: Path) -> None:
    folder = save_model(small_model("tinygpt"), tmp_path / "m")
    document = json.loads((folder / "model.json").read_text())
    document["model"]["transformer"]["h"][0]["attn"]["n_head"] = 8
    (folder / "model.json").write_text(json.dumps(document))
    assert problem_of(folder, TINYGPT) is None
    problem = problem_of(folder, TINYGPT, most=8 * 128 * 128 * 4 - 1)
    assert problem
    assert (problem.code, problem.field) == ("memory", "model.transformer.h[0].attn")
