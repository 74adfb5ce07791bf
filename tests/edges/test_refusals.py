"""What PyTorch has and TinyTorch lacks is refused with an explanation, where it would otherwise be ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch import autograd, nn, optim
from tinytorch.base.errors import GradientError, InputTypeError, SettingError, ShapeError, StateError, TinyTorchError
from tinytorch.nn.utils import rnn
from tinytorch.ops import hooks
from tinytorch.tensor import Tensor

X = tt.ones(2, 3, requires_grad=True)


def zero_data(module: tt.Module) -> None:
    if isinstance(module, tt.Linear):
        module.weight.data.zero_()  # type: ignore[attr-defined]


class Careless(tt.Module):
    def forward(self, x: Tensor) -> Tensor:
        x.data.clamp_(0, 1)  # type: ignore[attr-defined]
        return x


REFUSED: list[tuple[Callable[[], Any], type[TinyTorchError], str]] = [
    (lambda: X.sum().backward(create_graph=True), GradientError, r"^backward: create_graph=True is not supported"),
    (lambda: nn.Transformer(d_model=8), SettingError, r"^nn\.Transformer is not supported: .*encoder only"),
    (lambda: nn.TransformerDecoderLayer(8, 2), SettingError, r"^nn\.TransformerDecoderLayer is not supported"),
    (lambda: rnn.pack_padded_sequence(X, [3, 2]), SettingError, r"^pack_padded_sequence: .*y\[i, lengths\[i\] - 1\]$"),
    (lambda: rnn.PackedSequence(X, [1]), SettingError, r"^PackedSequence: packed sequences are not supported"),
    (
        lambda: nn.TransformerEncoderLayer(8, 2, 8)(tt.ones(3, 2, 8), is_causal=True),
        SettingError,
        r"^TransformerEncoderLayer: is_causal without a mask: expected also the mask",
    ),
    (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8), 1)(tt.ones(3, 2, 8), is_causal=True),
        SettingError,
        r"^TransformerEncoder: is_causal without a mask",
    ),
    (
        lambda: tt.Sequential(tt.Linear(1, 1)).apply(zero_data),
        InputTypeError,
        r"^zero_ is a method of tensors, and t\.data is a NumPy array: write t\.zero_\(\.\.\.\), under tinytorch",
    ),
    (lambda: Careless()(X), InputTypeError, r"^clamp_ is a method of tensors, and t\.data is a NumPy array"),
    (lambda: tt.StepLR(tt.SGD([X], lr=1), 0), SettingError, r"^StepLR: step_size 0: expected at least 1$"),
    (lambda: tt.causal_mask(-1), SettingError, r"^causal_mask: length -1: expected at least 0$"),
    (lambda: X.flatten(1, 0), ShapeError, r"^flatten: start_dim 1 comes after end_dim 0 in shape \(2, 3\)$"),
    (lambda: tt.save(tt.ones(1), "."), StateError, r"^.*: a folder: expected the name of a file$"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refusal_says_what_to_do_instead(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_hooks_are_refused_with_a_learners_backward_that_does_not_call_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autograd, "backward", lambda output, *_: None)
    for register in (lambda: X.register_hook(lambda g: g), lambda: (X * 1).retain_grad()):
        with pytest.raises(GradientError, match=r"^register_hook: your own backward\(\) in module 06 does not call"):
            register()
    monkeypatch.undo()
    assert hooks._called(autograd.backward)


def test_schedules_of_the_course_have_pytorchs_names() -> None:
    optimizer = optim.SGD([tt.Parameter(np.ones(1, np.float32))], lr=0.5)
    for schedule in (optim.lr_scheduler.StepLR(optimizer, 2), tt.CosineLR(optimizer, 5), tt.LambdaLR(optimizer, float)):
        schedule.step()
        assert (schedule.last_epoch, schedule.base_lrs) == (1, [0.5])


def test_seeds_are_known_and_can_be_drawn() -> None:
    state = tt.get_rng_state()
    tt.manual_seed(5)
    assert tt.initial_seed() == 5
    drawn = tt.seed()
    first = tt.rand(3).tolist()
    assert tt.initial_seed() == drawn != tt.seed()
    tt.manual_seed(drawn)
    assert tt.rand(3).tolist() == first
    tt.set_rng_state(state)


@tt.no_grad
def doubled(x: Tensor) -> Tensor:
    return x * 2


@tt.no_grad()
def tripled(x: Tensor) -> Tensor:
    return x * 3


def test_no_grad_keeps_the_type_and_the_result_of_a_function() -> None:
    results: list[Tensor] = [doubled(X), tripled(X)]  # mypy checks both
    assert not any(y.requires_grad for y in results)
