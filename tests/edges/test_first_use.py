"""What PyTorch's documentation shows must not raise: the recipe of gradient scaling, bfloat16 files, arrays as inputs,
tensors as exponents, and the mode that a training loop leaves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.autograd import check_grads
from tinytorch.base.errors import NonFiniteError, StateError
from tinytorch.compression import with_teacher
from tinytorch.dataloader import DataLoader, TensorDataset
from tinytorch.quantization import FakeQuantized
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLinear, QuantizedMaxPool2d
from tinytorch.quantized.tables import QuantizedPositions
from tinytorch.spatial import BasicBlock
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import MLP

rng = np.random.default_rng(0)


# Gradient scaling and clipping --------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_overflow_skips_the_step_in_the_documented_recipe(bad: float) -> None:
    weight = tt.Parameter(np.ones(3, np.float32))
    optimizer, scaler = tt.SGD([weight], lr=0.1), tt.GradScaler(init_scale=4.0)
    for factors, moved in (([1.0, bad, 1.0], False), ([1.0, 2.0, 1.0], True)):
        before = weight.data.copy()
        optimizer.zero_grad()
        scaler.scale((weight * np.array(factors, np.float32)).sum()).backward()
        scaler.unscale_(optimizer)
        norm = tt.clip_grad_norm_([weight], 1.0)
        assert np.isfinite(norm) == moved
        scaler.step(optimizer)
        scaler.update()
        assert (weight.data != before).any() == moved
    assert scaler.get_scale() == 2.0
    np.testing.assert_allclose(weight.data, 1 - 0.1 * np.array([1, 2, 1]) / np.sqrt(6), rtol=1e-6)


def test_trainer_without_a_scaler_still_refuses_gradients_that_are_not_finite() -> None:
    class Steep(tt.Module):
        def __init__(self) -> None:
            self.w = tt.Parameter(np.zeros(1, np.float32))

        def forward(self, x: Tensor) -> Tensor:
            return x * (self.w * self.w).sqrt()

    model = Steep()
    trainer = tt.Trainer(model, tt.SGD(model.parameters()), tt.mse_loss, clip_norm=1.0)
    with np.errstate(all="ignore"), pytest.raises((tt.GradientError, NonFiniteError)):
        trainer.train_batch((np.ones((2, 1), np.float32), np.ones((2, 1), np.float32)))
    assert np.isfinite(model.w.data).all()


# bfloat16 -----------------------------------------------------------------------------------------------

FRESH = {  # run in a process in which ml_dtypes has not been imported
    "load": "layer = tt.Linear(3, 2); layer.load(path); assert layer.weight.dtype == 'float32'; "
    "print(*layer.weight.data.ravel())",
    "load into bfloat16": "layer = tt.Linear(3, 2)\nfor p in layer.parameters(): p.data = p.to('bfloat16').data\n"
    "layer.load(path); assert layer.weight.dtype.name == 'bfloat16'; "
    "print(*layer.weight.to(np.float32).data.ravel())",
    "to": "print(*Tensor([1.0, 1 + 2**-9, 3.0]).to('bfloat16').to('float32').data)",
    "Tensor": "print(Tensor([1.0, 2.0], dtype='bfloat16').dtype)",
    "array": "print(Tensor(np.ones(2), dtype='bfloat16').dtype)",
    "zeros": "print(tt.zeros(2, dtype='bfloat16').dtype, tt.ones(2, dtype='bfloat16').dtype)",
    "gradient": "x = Tensor([1.0], requires_grad=True); (x.to('bfloat16') * 3).sum().backward(); print(x.grad.item())",
}
VALUES = "1.0 -2.0 0.5 3.0 0.0 0.25"
PRINTED = {
    "load": VALUES,
    "load into bfloat16": VALUES,
    "to": "1.0 1.0 3.0",
    "Tensor": "bfloat16",
    "array": "bfloat16",
    "zeros": "bfloat16 bfloat16",
    "gradient": "3.0",
}


@pytest.fixture(scope="module")
def bfloat16_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layer = tt.Linear(3, 2)
    layer.weight.data = Tensor([float(v) for v in VALUES.split()]).to("bfloat16").data.reshape(2, 3)
    assert layer.bias is not None
    layer.bias.data = layer.bias.to("bfloat16").data
    return layer.save(tmp_path_factory.mktemp("bfloat16") / "layer.safetensors")


@pytest.mark.parametrize("what", FRESH)
def test_bfloat16_works_in_a_fresh_process(what: str, bfloat16_file: Path) -> None:
    program = "import sys, numpy as np, tinytorch as tt; from tinytorch import Tensor; path = sys.argv[1]\n"
    program += "assert 'ml_dtypes' not in sys.modules\n" + FRESH[what]
    arguments = [sys.executable, "-c", program, str(bfloat16_file)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == PRINTED[what]


def test_tied_bfloat16_weights_load_and_a_difference_is_still_found() -> None:
    class Tied(tt.Module):
        def __init__(self) -> None:
            self.a = tt.Linear(2, 2, bias=False)
            self.b = [self.a.weight]

    model = Tied()
    weight = Tensor([[1.0, np.nan], [3.0, 4.0]]).to("bfloat16")
    model.load_state_dict({"b.0": weight, "a.weight": weight})
    np.testing.assert_array_equal(model.a.weight.data, [[1, np.nan], [3, 4]])
    with pytest.raises(StateError, match=r"a\.weight and b\.0 are one tensor but differ"):
        model.load_state_dict({"b.0": weight, "a.weight": weight * 2})


# Arrays as inputs ---------------------------------------------------------------------------------------


def normal(*shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def prepared(layer: Any) -> FakeQuantized:
    return FakeQuantized(layer)


IMAGES, ROWS, TOKENS = normal(2, 4, 6, 6), normal(3, 4), np.array([[1, 2, 0]])
LAYERS: dict[str, tuple[Callable[[], Any], Array]] = {
    "Conv2d": (lambda: tt.Conv2d(4, 3, 3), IMAGES),
    "pointwise Conv2d": (lambda: tt.Conv2d(4, 3, 1), IMAGES),
    "BatchNorm2d": (lambda: tt.BatchNorm2d(4), IMAGES),
    "Flatten": (tt.Flatten, IMAGES),
    "MaxPool2d": (lambda: tt.MaxPool2d(2), IMAGES),
    "AvgPool2d": (lambda: tt.AvgPool2d(2), IMAGES),
    "AdaptiveAvgPool2d": (lambda: tt.AdaptiveAvgPool2d(1), IMAGES),
    "AdaptiveAvgPool2d of 4": (lambda: tt.AdaptiveAvgPool2d(4), IMAGES),
    "BasicBlock": (lambda: BasicBlock(4, 4), IMAGES),
    "BasicBlock with a stride": (lambda: BasicBlock(4, 8, 2), IMAGES),
    "Linear": (lambda: tt.Linear(4, 2), ROWS),
    "Dropout": (lambda: tt.Dropout(0.5), ROWS),
    "ReLU": (tt.ReLU, ROWS),
    "GELU": (tt.GELU, ROWS),
    "Softmax": (tt.Softmax, ROWS),
    "Sequential": (lambda: tt.Sequential(tt.Dropout(0.0), tt.Flatten(), tt.Linear(144, 2)), IMAGES),
    "LayerNorm": (lambda: tt.LayerNorm(4), ROWS),
    "Embedding": (lambda: tt.Embedding(5, 4), TOKENS),
    "LearnedPositions": (lambda: tt.LearnedPositions(5, 4), ROWS),
    "SinusoidalPositions": (lambda: tt.SinusoidalPositions(5, 4), ROWS),
    "QuantizedPositions": (lambda: QuantizedPositions(5, 4), ROWS),
    "MultiHeadAttention": (lambda: tt.MultiHeadAttention(4, 2), ROWS[None]),
    "attention with dropout": (lambda: tt.MultiHeadAttention(4, 2, dropout=0.5), ROWS[None]),
    "MLP": (lambda: MLP(4), ROWS),
    "TransformerBlock": (lambda: tt.TransformerBlock(4, 2), ROWS[None]),
    "GPT": (lambda: tt.GPT(5, 4, 1, 1, 4), TOKENS),
    "FakeQuantized": (lambda: prepared(tt.Linear(4, 2)), ROWS),
    "FakeQuantized Conv2d": (lambda: prepared(tt.Conv2d(4, 2, 3)), IMAGES),
    "QuantizedLinear": (lambda: QuantizedLinear(4, 2), ROWS),
    "QuantizedConv2d": (lambda: QuantizedConv2d(4, 2, (3, 3)), IMAGES),
    "QuantizedMaxPool2d": (lambda: QuantizedMaxPool2d(2), IMAGES),
    "mse_loss": (lambda: lambda x: tt.mse_loss(x, np.zeros_like(x)), ROWS),
    "cross_entropy": (lambda: lambda x: tt.cross_entropy(x, np.arange(3)), ROWS),
    "bce": (lambda: lambda x: tt.binary_cross_entropy_with_logits(x, np.zeros_like(x)), ROWS),
    "stack": (lambda: lambda x: tt.stack([x, x]), ROWS),
    "cat": (lambda: lambda x: tt.cat([x, x]), ROWS),
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer_accepts_the_arrays_of_a_loader(name: str, training: bool) -> None:
    make, array = LAYERS[name]

    def result(x: Any) -> Tensor:
        tt.manual_seed(0)
        layer = make()
        if isinstance(layer, FakeQuantized):
            layer(Tensor(array))
        if isinstance(layer, tt.Module):
            layer.train(training)
        (batch,) = DataLoader(TensorDataset(array), len(array))
        y: Tensor = layer(x(batch[0]))
        return y

    actual, expected = result(lambda x: x), result(Tensor)
    if training or name != "Dropout":  # in inference, dropout is the identity
        assert isinstance(actual, Tensor)
    np.testing.assert_array_equal(np.asarray(actual), expected.data)


# Exponents ----------------------------------------------------------------------------------------------


def test_tensor_as_an_exponent_has_pytorchs_values_and_gradients() -> None:
    # a = torch.tensor([0., 0., 2., 3.]), b = torch.tensor([0., 2., 0., -1.5]): a ** b, and its gradients
    a = Tensor([0.0, 0.0, 2.0, 3.0], requires_grad=True)
    b = Tensor([0.0, 2.0, 0.0, -1.5], requires_grad=True)
    y = a**b
    np.testing.assert_allclose(y.data, [1, 0, 1, 0.1925], atol=1e-4)
    y.sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    np.testing.assert_allclose(a.grad.data, [0, 0, 0, -0.0962], atol=1e-4)
    np.testing.assert_allclose(b.grad.data, [0, 0, 0.6931, 0.2114], atol=1e-4)


@pytest.mark.parametrize(
    "exponent", [Tensor(2.0), Tensor(2), np.array(2), np.float64(2), np.int64(2), Tensor([2.0]), np.array([2.0] * 3)]
)
def test_exponents_of_every_kind_are_squares(exponent: Any) -> None:
    x = Tensor([1.0, -2.0, 3.0], requires_grad=True)
    y = x**exponent
    y.sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(y.data, [1, 4, 9])
    np.testing.assert_array_equal(x.grad.data, [2, -4, 6])
    if not (isinstance(exponent, np.ndarray) and exponent.dtype == np.float64):
        assert y.dtype == np.float32


def test_gradients_of_tensor_exponents_broadcast() -> None:
    base, exponent = rng.uniform(0.5, 2, (3, 4)), rng.uniform(-2, 2, (4,))
    check_grads(lambda a, b: a**b, base, exponent)
    check_grads(lambda a, b: a**b, base[:, :1], exponent)


# Modes --------------------------------------------------------------------------------------------------


class Modes(tt.Module):
    """Two parts, one of which is frozen in inference mode, as in transfer learning."""

    def __init__(self) -> None:
        self.body, self.head = tt.Sequential(tt.Linear(2, 4), tt.Dropout(0.5)), tt.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


DATA = TensorDataset(normal(12, 2), np.arange(12) % 3)


def interrupted(done: int, total: int, **figures: float) -> None:
    raise KeyboardInterrupt


RUNS: dict[str, Callable[[tt.Trainer], Any]] = {
    "fit": lambda t: t.fit(DataLoader(DATA, 4), 1),
    "fit with validation": lambda t: t.fit(DataLoader(DATA, 4), 2, validation=DataLoader(DATA, 4)),
    "evaluate": lambda t: t.evaluate(DataLoader(DATA, 4)),
    "failing fit": lambda t: t.fit(DataLoader(DATA, 4), 1, report=interrupted),
    "distillation": lambda t: list(DataLoader(DATA, 4, transform=with_teacher(t.model))),
}


@pytest.mark.parametrize("modes", [(True, True), (False, True), (True, False), (False, False)])
@pytest.mark.parametrize("run", RUNS)
def test_model_keeps_the_modes_that_it_had(run: str, modes: tuple[bool, bool]) -> None:
    model = Modes()
    model.body.train(modes[0])
    model.head.train(modes[1])
    before = [module.training for module in model.modules()]
    trainer = tt.Trainer(model, tt.SGD(model.parameters()), tt.CrossEntropyLoss())
    try:
        RUNS[run](trainer)
    except KeyboardInterrupt:
        assert run == "failing fit"
    assert [module.training for module in model.modules()] == before
