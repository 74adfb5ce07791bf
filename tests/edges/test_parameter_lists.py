"""What optimizers and clip_grad_norm_ accept as parameters: a list that they would not change is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import InputTypeError, SettingError, TinyTorchError
from tinytorch.tensor import Tensor

Make = Callable[[Any], tt.Optimizer]
OPTIMIZERS: list[Make] = [tt.SGD, tt.Adam, tt.AdamW]


def weight(size: int = 3) -> Tensor:
    return tt.randn(size, requires_grad=True)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "one tensor": (weight, r"one tensor of shape \(3,\): expected a list"),
    "a result": (lambda: [weight() * 1], r"parameter 0 of shape \(3,\) is the result of an operation"),
    "a view": (lambda: [weight(), weight()[0:2]], r"parameter 1 of shape \(2,\) is the result of an operation"),
    "its own result": (lambda: list(weight()), r"parameter 0 of shape \(\) is the result of an operation"),
    "no gradient": (lambda: [tt.ones(2)], r"parameter 0 of shape \(2,\) requires no gradient"),
    "detached": (lambda: [weight().detach()], "requires no gradient"),
    "a model": (lambda: tt.Linear(1, 1), r"a Linear: expected its parameters: write model\.parameters\(\)"),
    "an array": (lambda: [np.ones(3)], "parameter 0 is ndarray: expected a Tensor"),
    "a number": (lambda: 3, "int: expected a list of parameters"),
    "numbers": (lambda: [1.0], "parameter 0 is float: expected a Tensor"),
    "a list in a list": (lambda: [[weight()]], "parameter 0 is list: expected a Tensor"),
    "a state_dict": (lambda: tt.Linear(1, 1).state_dict(), "dict: expected a list of parameters"),
    "a group as the list": (lambda: {"params": [weight()]}, "dict: expected a list of parameters"),
    "a set": (lambda: {weight()}, "a set of parameters: expected a list"),
    "a group with a set": (lambda: [{"params": {weight()}}], "a set of parameters: expected a list"),
    "a group with a result": (lambda: [{"params": weight() * 1}], "is the result of an operation"),
    "a group and a tensor": (lambda: [{"params": [weight()]}, weight()], 'expected only dicts, each with "params"'),
    "a tensor and a group": (lambda: [weight(), {"params": [weight()]}], "parameter 1 is dict: expected a Tensor"),
    "a group without parameters": (lambda: [{"lr": 1.0}], 'expected only dicts, each with "params"'),
    "a model in a group": (lambda: [{"params": tt.Linear(1, 1)}], r"write model\.parameters\(\)"),
    "text": (lambda: "weight", "str: expected a list of parameters"),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("what", REFUSED)
def test_list_that_a_step_would_not_change_is_refused(what: str, optimizer: Make) -> None:
    make, message = REFUSED[what]
    with pytest.raises(TypeError, match=message) as caught:
        optimizer(make())
    assert isinstance(caught.value, InputTypeError)
    assert isinstance(caught.value, TinyTorchError)


def test_empty_list_is_refused() -> None:
    with pytest.raises(SettingError, match="SGD: no parameters were given"):
        tt.SGD([])


ACCEPTED: dict[str, Callable[[Tensor], Any]] = {
    "a list": lambda w: [w],
    "a tuple": lambda w: (w,),
    "a generator": lambda w: (p for p in [w]),
    "values of a dict": lambda w: {"w": w}.values(),
    "pairs with names": lambda w: [("w", w)],
    "a group": lambda w: [{"params": [w], "lr": 0.5}],
    "a group with one tensor": lambda w: [{"params": w, "lr": 0.5}],
    "a group with pairs": lambda w: [{"params": iter([("w", w)]), "lr": 0.5}],
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("how", ACCEPTED)
def test_every_accepted_list_is_trained(how: str, optimizer: Make) -> None:
    w = weight()
    before = w.data.copy()
    steps = optimizer(ACCEPTED[how](w))
    (w * w).sum().backward()
    steps.step()
    assert steps.parameters() == [w] or steps.parameters()[0] is w
    assert (w.data != before).all()


def test_frozen_parameter_is_accepted_and_trains_once_it_is_thawed() -> None:
    layer = tt.Linear(2, 1)
    layer.weight.requires_grad = False
    optimizer = tt.SGD(layer.parameters(), lr=0.1)
    before = layer.weight.data.copy()
    for frozen in (True, False):
        layer.weight.requires_grad = not frozen
        layer(tt.ones(1, 2)).sum().backward()
        optimizer.step()
        assert (layer.weight.data == before).all() == frozen


def test_clipping_accepts_one_tensor_as_pytorch_does() -> None:
    # w.grad = torch.full((3,), 2.); torch.nn.utils.clip_grad_norm_(w, .1) -> 3.4641; w.grad -> [0.0577, 0.0577, 0.0577]
    forms: tuple[Callable[[Tensor], Any], ...] = (lambda w: w, lambda w: [w], lambda w: iter([w]), lambda w: [("w", w)])
    for given in forms:
        w = weight()
        w.grad = Tensor(np.full(3, 2, np.float32))
        np.testing.assert_allclose(tt.clip_grad_norm_(given(w), 0.1), 3.4641, rtol=1e-5)
        np.testing.assert_allclose(w.grad.data, 0.0577, rtol=1e-3)


@pytest.mark.parametrize("given", [tt.Linear(1, 1), [1.0], 3, "w", {1.0}], ids=lambda g: type(g).__name__)
def test_clipping_refuses_what_has_no_gradients(given: Any) -> None:
    with pytest.raises(TypeError, match="clip_grad_norm_: "):
        tt.clip_grad_norm_(given, 1.0)
