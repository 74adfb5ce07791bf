"""Weights that change between the forward and the backward pass: the gradient is that of the forward pass, or an error
names the parameter."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.autograd import DERIVATIVES
from tinytorch.base import changes
from tinytorch.base.errors import GradientError
from tinytorch.compression import apply_masks, magnitude_masks
from tinytorch.graph.reads import KEPT, READS
from tinytorch.quantization import FakeQuantized
from tinytorch.tensor import Array, Tensor

rng = np.random.default_rng(0)
X = rng.uniform(0.5, 2, (3, 3)).astype(np.float32)
W = rng.uniform(0.5, 2, (3, 3)).astype(np.float32)
Function = Callable[[Tensor, Tensor], Tensor]
TARGETS = np.array([0, 1, 2])

# Of x and w, both (3, 3). The boolean: PyTorch 2.13 computes the gradient after `w.add_(1)` under no_grad.
FUNCTIONS: dict[str, tuple[Function, bool]] = {
    "add": (lambda x, w: x + w, True),
    "sub": (lambda x, w: x - w, True),
    "mul": (lambda x, w: x * w, False),
    "div": (lambda x, w: x / w, False),
    "div by x": (lambda x, w: w / x, False),
    "neg": (lambda x, w: -w, True),
    "power": (lambda x, w: w**3, False),
    "square": (lambda x, w: w**2, False),
    "matmul": (lambda x, w: x @ w, False),
    "matmul of a view": (lambda x, w: x @ w.T, False),
    "matmul of a view of a view": (lambda x, w: x @ w.reshape(9)[0:9].reshape(3, 3).T, False),
    "exp": (lambda x, w: w.exp(), True),
    "log": (lambda x, w: w.log(), False),
    "abs": (lambda x, w: w.abs(), False),
    "maximum": (lambda x, w: x.maximum(w), False),
    "where": (lambda x, w: tt.where(x > 1, x, w), True),
    "sum": (lambda x, w: w.sum(0), True),
    "mean": (lambda x, w: w.mean(0), True),
    "max": (lambda x, w: w.amax(0), False),
    "min": (lambda x, w: w.amin(0), False),
    "var": (lambda x, w: w.var(0), False),
    "reshape": (lambda x, w: w.reshape(9), True),
    "permute": (lambda x, w: w.T, True),
    "expand": (lambda x, w: w.expand(2, 3, 3), True),
    "getitem": (lambda x, w: w[0], True),
    "getitem of rows": (lambda x, w: w[np.array([0, 0, 2])], True),
    "to": (lambda x, w: w.to(np.float64), True),
    "cat": (lambda x, w: tt.cat([x, w]), True),
    "stack": (lambda x, w: tt.stack([w, x]), True),
    "relu": (lambda x, w: tt.relu(w), True),
    "sigmoid": (lambda x, w: tt.sigmoid(w), True),
    "tanh": (lambda x, w: tt.tanh(w), True),
    "gelu": (lambda x, w: tt.gelu(w), False),
    "softmax": (lambda x, w: tt.softmax(w), True),
    "log_softmax": (lambda x, w: tt.log_softmax(w), True),
    "linear": (lambda x, w: linear(x, w), False),
    "bias": (lambda x, w: linear(x, x, w[0]), True),
    "cross_entropy": (lambda x, w: tt.cross_entropy(w, TARGETS), True),
    "bce": (lambda x, w: tt.binary_cross_entropy_with_logits(w, np.ones((3, 3))), False),
    "mse": (lambda x, w: tt.mse_loss(w, x), False),
    "embedding": (lambda x, w: embedded(w), True),
    "layer_norm": (lambda x, w: normed(x, w), False),
    "conv2d": (lambda x, w: tt.conv2d(x.reshape(1, 1, 3, 3), w.reshape(1, 1, 3, 3)), False),
    "pointwise conv2d": (lambda x, w: tt.conv2d(x.reshape(1, 3, 3, 1), w.reshape(3, 3, 1, 1)), False),
    "conv2d's bias": (lambda x, w: tt.conv2d(x.reshape(1, 1, 3, 3), x.reshape(1, 1, 3, 3), w[0, 0:1]), True),
    "Winograd": (lambda x, w: tt.conv2d(tiled(x, (1, 16, 4, 4)), tiled(w, (16, 16, 3, 3))), False),
    "max_pool2d": (lambda x, w: tt.max_pool2d(w.reshape(1, 1, 3, 3), 2), False),
    "avg_pool2d": (lambda x, w: tt.avg_pool2d(w.reshape(1, 1, 3, 3), 2), False),
    "batch_norm": (lambda x, w: batch_normed(x, w), False),
    "attention": (lambda x, w: tt.scaled_dot_product_attention(w, w, w), False),
    "fake quantization": (lambda x, w: quantized(x, w), False),
}


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    layer = tt.Linear(3, 3)
    layer.weight, layer.bias = w, b  # type: ignore[assignment]
    return layer(x)


def embedded(w: Tensor) -> Tensor:
    layer = tt.Embedding(3, 3)
    layer.weight = w  # type: ignore[assignment]
    return layer(np.array([0, 2, 2]))


def normed(x: Tensor, w: Tensor) -> Tensor:
    layer = tt.LayerNorm(3)
    layer.weight, layer.bias = w[0], w[1]  # type: ignore[assignment]
    return layer(x)


def batch_normed(x: Tensor, w: Tensor) -> Tensor:
    layer = tt.BatchNorm2d(3)
    layer.weight, layer.bias = w[0], w[1]  # type: ignore[assignment]
    return layer(x.reshape(3, 3, 1, 1)) + layer.eval()(x.reshape(3, 3, 1, 1))


def tiled(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Repeat the elements of x to fill an array of this shape."""
    return x.reshape(9)[np.arange(int(np.prod(shape))) % 9].reshape(shape)


def quantized(x: Tensor, w: Tensor) -> Tensor:
    layer = tt.Linear(3, 3, bias=False)
    layer.weight = w  # type: ignore[assignment]
    return FakeQuantized(layer)(x)


def gradients(
    f: Function, change: Callable[[Tensor, Tensor], None], x_gradient: bool, mixed: bool = False
) -> list[Array]:
    x, w = Tensor(X.copy(), requires_grad=x_gradient), Tensor(W.copy(), requires_grad=True)
    with tt.autocast(enabled=mixed):
        y = f(x, w)
    change(x, w)
    y.backward(np.arange(1, y.numel() + 1, dtype=np.float32).reshape(y.shape))
    return [t.grad.data for t in (x, w) if t.grad is not None]


def nothing(x: Tensor, w: Tensor) -> None:
    pass


def add_one(x: Tensor, w: Tensor) -> None:
    """Change w as an optimizer's step does, without replacing its array."""
    step = tt.SGD([w], lr=1.0)  # type: ignore[arg-type]
    w.grad = Tensor(-np.ones((3, 3), np.float32))
    step.step()
    w.grad = None


def add_one_to_x(x: Tensor, w: Tensor) -> None:
    if x.requires_grad:
        add_one(w, x)


@pytest.mark.parametrize("mixed", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("x_gradient", [True, False], ids=["", "x is constant"])
@pytest.mark.parametrize("change", [add_one, add_one_to_x], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_is_that_of_the_forward_pass_or_an_error(
    name: str, change: Any, x_gradient: bool, mixed: bool
) -> None:
    if mixed and name in ("to", "var"):
        pytest.skip("differs from float32 by rounding only")
    f, _ = FUNCTIONS[name]
    expected = gradients(f, nothing, x_gradient, mixed)
    with suppress(GradientError):
        for one, other in zip(gradients(f, change, x_gradient, mixed), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", [name for name, (_, works) in FUNCTIONS.items() if works])
def test_change_of_a_value_that_is_not_read_is_allowed_as_in_pytorch(name: str) -> None:
    for x_gradient in (True, False):
        gradients(FUNCTIONS[name][0], add_one, x_gradient)


@pytest.mark.parametrize("name", ["mul", "matmul", "linear", "conv2d", "pointwise conv2d"])
def test_weight_of_a_constant_input_may_change_as_in_pytorch(name: str) -> None:
    gradients(FUNCTIONS[name][0], add_one, x_gradient=False)


@pytest.mark.parametrize(
    "name", ["mul", "div", "power", "matmul", "matmul of a view of a view", "linear", "layer_norm"]
)
def test_change_of_a_value_that_is_read_is_an_error_as_in_pytorch(name: str) -> None:
    with pytest.raises(GradientError, match=r"a tensor of shape \(.*has been changed in place, for example by an opt"):
        gradients(FUNCTIONS[name][0], add_one, x_gradient=True)


def test_every_listed_operation_has_a_derivative_and_reads_its_own_inputs() -> None:
    for op, places in READS.items():
        assert op in DERIVATIVES, op.name
        rules = DERIVATIVES[op]
        assert not isinstance(rules, tuple) or len(places) <= len(rules), op.name
        assert all(place >= KEPT for rule in places for place in rule)


def network() -> tt.Module:
    tt.manual_seed(0)
    return tt.Sequential(tt.Linear(3, 4), tt.ReLU(), tt.Linear(4, 1))


@pytest.mark.parametrize("make", [tt.SGD, tt.Adam, tt.AdamW])
def test_second_loss_after_a_step_names_the_parameter(make: Any) -> None:
    model = network()
    optimizer = make(model.parameters(), lr=0.1)
    first, second = model(Tensor(X)).sum(), (model(Tensor(X)) ** 2).sum()
    first.backward()
    optimizer.step()
    with pytest.raises(GradientError, match=r"backward: parameter 2\.weight of shape \(1, 4\) has been changed in"):
        second.backward()


def test_two_losses_of_one_layer_on_data_work_as_in_pytorch() -> None:
    # d(x w)/dw does not depend on w; PyTorch computes this gradient too
    layer = tt.Linear(3, 1)
    optimizer = tt.SGD(layer.parameters(), lr=0.1)
    first, second = (layer(Tensor(X)).sum() for _ in range(2))
    first.backward()
    optimizer.step()
    optimizer.zero_grad()
    second.backward()
    assert layer.weight.grad is not None
    np.testing.assert_allclose(layer.weight.grad.data, X.sum(axis=0, keepdims=True), rtol=1e-6)


def test_pruning_between_the_passes_is_an_error() -> None:
    model = network()
    masks = magnitude_masks(model, 0.5)
    loss = (model(Tensor(X)) ** 2).sum()
    apply_masks(model, masks)
    with pytest.raises(GradientError, match=r"parameter 2\.weight"):
        loss.backward()


@pytest.mark.parametrize("how", ["load_state_dict", "data"])
def test_replaced_weights_do_not_change_the_gradient_of_an_earlier_forward_pass(how: str) -> None:
    model, expected = network(), network()
    losses = [(m(Tensor(X)) ** 2).sum() for m in (model, expected)]
    if how == "data":
        for p in model.parameters():
            p.data = p.data * 2
    else:
        model.load_state_dict({name: value.data * 2 for name, value in model.state_dict().items()})
    for loss in losses:
        loss.backward()
    for p, q in zip(model.parameters(), expected.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        np.testing.assert_array_equal(p.grad.data, q.grad.data)


def test_ordinary_training_alternating_models_and_accumulation_are_not_refused() -> None:
    first, second = network(), network()
    optimizers = [tt.SGD(first.parameters(), lr=0.01), tt.Adam(second.parameters(), lr=0.01)]
    waiting = (second(Tensor(X)) ** 2).sum()
    for _ in range(3):
        for _ in range(2):
            (first(Tensor(X)) ** 2).sum().backward()
        optimizers[0].step()
        optimizers[0].zero_grad()
    waiting.backward()  # the other model's weights are unchanged
    optimizers[1].step()


def test_retained_graph_is_refused_after_a_step() -> None:
    model = network()
    optimizer = tt.SGD(model.parameters(), lr=0.1)
    loss = (model(Tensor(X)) ** 2).sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(GradientError, match=r"parameter 2\.weight"):
        loss.backward()


def test_unnamed_parameter_is_named_by_its_shape() -> None:
    w = tt.Parameter(W.copy())
    loss = (w**2).sum()
    add_one(w, w)
    with pytest.raises(GradientError, match=r"a parameter of shape \(3, 3\) has been changed in place"):
        loss.backward()


def test_changes_are_forgotten_with_their_arrays() -> None:
    gc.collect()
    before = len(changes._changed)
    arrays = [np.zeros(3) for _ in range(5)]
    for array in arrays:
        changes.note(array[1:])
        changes.note(array)
    assert len(changes._changed) == before + 5
    del arrays, array
    gc.collect()
    assert len(changes._changed) == before


def test_threads_that_train_their_own_models_do_not_disturb_each_other() -> None:
    errors: list[Exception] = []

    def train() -> None:
        try:
            model = tt.Sequential(tt.Linear(3, 4), tt.ReLU(), tt.Linear(4, 1))
            optimizer = tt.SGD(model.parameters(), lr=1e-3)
            for _ in range(100):
                optimizer.zero_grad()
                (model(Tensor(X)) ** 2).sum().backward()
                optimizer.step()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
