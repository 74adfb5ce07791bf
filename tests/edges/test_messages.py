"""Errors in the user's words: what was given, what is expected, what to write instead."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import GradientError, InputTypeError, SettingError, ShapeError, StateError, TinyTorchError
from tinytorch.base.words import described, fits, in_words
from tinytorch.tensor import Array, Tensor

X = tt.ones(2, 3)
GPT = tt.GPT(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)


def untyped(value: Any) -> Any:
    """Return a value whose type mypy does not check."""
    return value


MESSAGES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tt.cat([]), ShapeError, r"^cat: no tensors: expected a list of at least one$"),
    (lambda: tt.stack([]), ShapeError, r"^stack: no tensors: expected"),
    (
        lambda: Tensor([1, 2]) ** -2,
        SettingError,
        r"^power: int64 to the power -2 is not an integer: use x\.to\(np\.float32\) \*\* -2$",
    ),
    (
        lambda: GPT.generate([[1, 2], [3]], 1),
        ShapeError,
        r"^generate: prompts of lengths \[2, 1\]: expected one length",
    ),
    (lambda: bool(X), ShapeError, r"^bool: a tensor of shape \(2, 3\) is neither true nor false: .*any\(\)"),
    (lambda: X.item(), ShapeError, r"^item: a tensor of shape \(2, 3\) has 6 elements: expected one"),
    (lambda: float(X), ShapeError, r"^item: a tensor of shape \(2, 3\)"),
    (lambda: len(Tensor(1.0)), ShapeError, r"^len: a tensor without dimensions is one number"),
    (lambda: list(Tensor(1.0)), ShapeError, r"^iteration over a tensor without dimensions"),
    (lambda: X.to("float33"), InputTypeError, r"^dtype is 'float33': expected one such as np\.float32"),
    (lambda: X.max((0, 1)), SettingError, r"^max: dim \(0, 1\): expected one dimension; for several, use amax$"),
    (lambda: X + None, InputTypeError, r"^add: None as an input: expected a Tensor, an array, or a number$"),
    (lambda: X * [1, 2, 3], InputTypeError, r"^mul: a list as an input: expected a Tensor"),
    (lambda: tt.relu(untyped("x")), InputTypeError, r"^relu: 'x' as an input: expected a Tensor"),
    (lambda: -Tensor([True]), SettingError, r"^neg: a boolean tensor has no negative"),
    (lambda: Tensor(np.array([1], np.uint8)) + 300, InputTypeError, r"^add: not defined for a tensor of uint8 and 300"),
    (lambda: X.sum("rows"), InputTypeError, r"^sum: not defined for a tensor of float32, dim='rows'.*integers$"),
    (lambda: X.unsqueeze("a"), InputTypeError, r"^dim is 'a': expected an integer$"),
    (lambda: tt.conv2d(untyped(None), X), InputTypeError, r"^Tensor: data is None: expected numbers, lists of numbers"),
    (lambda: tt.Conv2d(1, 1, 1)(None), InputTypeError, r"^Tensor: data is None: expected numbers"),
    (lambda: tt.Linear(untyped("a"), 2), InputTypeError, r"^Linear: in_features is 'a': expected int$"),
    (lambda: tt.DataLoader(untyped(3)), InputTypeError, r"^DataLoader: dataset is 3: expected Dataset$"),
    (lambda: tt.zeros(None), InputTypeError, r"^zeros: shape is None: expected int$"),
    (lambda: tt.ones([2, None]), InputTypeError, r"^ones: shape is a list that contains None: expected integers$"),
    (lambda: tt.rand(2.5), InputTypeError, r"^rand: shape is 2\.5: expected int$"),
    (lambda: tt.zeros(2, -1), SettingError, r"^zeros: shape \(2, -1\): expected sizes of at least 0$"),
    (lambda: tt.full(2, [1, 2]), InputTypeError, r"^full: fill_value is a list of shape \(2,\): expected one number$"),
    (lambda: tt.finfo(np.int8), InputTypeError, r"^finfo: dtype is int8: .*; for integers, use iinfo$"),
    (lambda: tt.iinfo(np.float32), InputTypeError, r"^iinfo: dtype is float32: .*; for floating point, use finfo$"),
    (lambda: tt.iinfo([None]), InputTypeError, r"^dtype is a list: expected one such as np\.float32$"),
    (lambda: X // tt.ones(2), ShapeError, r"^floor_divide: shapes \(2, 3\) and \(2,\) are incompatible$"),
    (lambda: X.isclose(tt.ones(2)), ShapeError, r"^isclose: shapes \(2, 3\) and \(2,\) are incompatible$"),
    (lambda: X.clamp(tt.ones(2)), ShapeError, r"^clamp: shapes \(2, 3\) and \(2,\) are incompatible$"),
    (lambda: X.logsumexp([None]), InputTypeError, r"^logsumexp: dim is None: expected an integer$"),
    (lambda: tt.Size(3), InputTypeError, r"^Size: sizes is 3: expected integers$"),
    (lambda: X.repeat_interleave([0.5]), InputTypeError, r"^repeat_interleave: repeats is a list: expected integers$"),
    (
        lambda: X.repeat_interleave([1, 2], 1),
        ShapeError,
        r"^repeat_interleave: repeats of shape .*: .* 3, the size",
    ),
    (lambda: X.repeat_interleave(-1), SettingError, r"^repeat_interleave: -1 repeats: expected at least 0$"),
    (lambda: X.split(["a"]), InputTypeError, r"^split: split_size is a list that contains 'a': expected integers$"),
    (lambda: X.view_as(untyped(None)), InputTypeError, r"^view_as: other is None: expected Tensor$"),
    (
        lambda: X.masked_fill(X > 0, "a"),
        InputTypeError,
        r"^masked_fill: not defined for .*, 'a': see help\(tinytorch\.Tensor\.",
    ),
    (lambda: X.tensor_split(0), SettingError, r"^tensor_split: 0 parts: expected at least 1$"),
    *(
        (lambda name=name: getattr(X, name)(5), ShapeError, rf"^{name}: dimension 5 of a tensor with 2 dimension")
        for name in ("all", "any", "argmin", "count_nonzero", "median", "nansum")
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), MESSAGES, ids=[message for _, _, message in MESSAGES])
def test_error_says_what_was_given_and_what_to_write(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


WRONG: tuple[Any, ...] = (
    None,
    "text",
    object(),
    2.5,
    -1,
    [],
    {},
    [None],
    ["text"],
    Tensor,
    np.float32,
    lambda: None,
    Tensor([1, 2]),
)
# NumPy's messages, and Python's about attributes and operators
RAW = re.compile(r"object has no attribute|ufunc|numpy|broadcast|axis|data type|not iterable|object of type|"
                 r"cannot be interpreted|unsupported operand|not supported between|unhashable|"
                 r"not subscriptable")  # fmt: skip

# It calls a function of the user's, whose own errors stay as they are
LEFT_OUT = {"check_grads"}


def public_callables() -> dict[str, Callable[..., Any]]:
    found = {name: getattr(tt, name) for name in tt.__all__ if name not in LEFT_OUT}
    found = {name: value for name, value in found.items()
             if callable(value) and not (isinstance(value, type) and issubclass(value, Exception))}  # fmt: skip
    methods = {name: getattr(Tensor, name) for name in dir(Tensor) if name[0] != "_"}
    return found | {f"Tensor.{name}": value for name, value in methods.items() if inspect.isfunction(value)}


def required(function: Callable[..., Any]) -> int:
    """Return the number of arguments without a default."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(p.default is inspect.Parameter.empty and p.kind in kinds for p in parameters)


def raised(function: Callable[..., Any], args: list[Any]) -> Exception | None:
    try:
        function(*args)
    except Exception as error:
        return error
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", public_callables())
def test_no_public_function_answers_a_wrong_type_with_a_raw_error(name: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    function = public_callables()[name]
    count = required(function)
    state = tt.get_rng_state()
    for wrong in WRONG:
        for place in range(max(count, 1)):
            args: list[Any] = [Tensor([1.0, 2.0]) for _ in range(max(count, 1))]
            args[place] = wrong
            if name.startswith("Tensor.") and place == 0:
                continue
            answer = raised(function, args)
            assert not isinstance(answer, AttributeError), (wrong, answer)
            assert isinstance(answer, TinyTorchError) or not RAW.search(str(answer)), (wrong, answer)
            assert "\n" not in str(answer), (wrong, answer)
    tt.set_rng_state(state)


class Stranger:
    """A tensor of another framework, of a dtype that NumPy lacks."""

    shape = (1, 2)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise TypeError("Got unsupported ScalarType BFloat16")

    def detach(self) -> Stranger:
        return self

    def float(self) -> Array:
        return np.array([[1, 2]], np.float32)


def test_bfloat16_weights_load_from_arrays_tensors_and_other_frameworks() -> None:
    model = tt.Linear(2, 1, bias=False)
    array = np.array([[1, 2]], ml_dtypes.bfloat16)
    for value in (array, Tensor(array), Stranger()):
        model.weight.data[:] = 0
        model.load_state_dict({"weight": value})  # type: ignore[dict-item]
        np.testing.assert_array_equal(model.weight.data, [[1, 2]])
        assert model.weight.dtype == np.float32
    with pytest.raises(StateError, match=r"^weight is a dict: expected a Tensor or an array$"):
        model.load_state_dict({"weight": {}})  # type: ignore[dict-item]


def test_gradients_of_two_leaves_never_share_memory() -> None:
    a, b = tt.ones(3, requires_grad=True), tt.ones(3, requires_grad=True)
    (a + b).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    a.grad.data *= 2
    np.testing.assert_array_equal(b.grad.data, 1)
    np.testing.assert_array_equal(a.grad.data, 2)
    c, d = tt.ones(2, 3, requires_grad=True), tt.ones(1, 3, requires_grad=True)
    tt.cat([c.reshape(2, 3), d]).backward(np.ones((3, 3)))
    assert c.grad is not None
    assert d.grad is not None
    assert not np.shares_memory(c.grad.data, d.grad.data)


def test_error_of_the_users_own_code_stays_as_it_is() -> None:
    class Broken(tt.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.no_such_method()

    with pytest.raises(AttributeError, match="no_such_method"):
        Broken()(X)
    with pytest.raises(GradientError):
        Tensor([1], requires_grad=True)


def test_annotations_are_compared_with_arguments() -> None:
    def f(n: int, x: Tensor | None = None, *rest: float) -> None:
        raise TypeError("raw")

    checked = in_words(f)
    for args, message in (
        (("a",), "f: n is 'a': expected int"),
        ((1, "b"), "f: x is 'b': expected Tensor or None"),
        ((1, None, 1.0, "c"), "f: rest is 'c': expected float"),
        ((1, None, 1.0, np.float32(2)), "raw"),
        ((np.int64(3), X), "raw"),
    ):
        with pytest.raises(TypeError) as caught:
            checked(*args)
        assert message in str(caught.value)
    assert fits([1], list[int])
    assert not fits("abc", list[str])
    assert fits(print, Callable[..., Any])
    assert described(Tensor) == "the class Tensor, not an object: write Tensor(...)"
    assert described("x" * 100).endswith("...")
