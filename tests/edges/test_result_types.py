"""Result dtypes of operations: PyTorch's table, recorded from PyTorch 2.13 with torch.ones of each dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.dtypes import numpy_dtype
from tinytorch.base.errors import SettingError
from tinytorch.tensor import Tensor

NAMES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
CODES = dict(zip("?BbhileEfd", NAMES, strict=True))
INTEGERS = NAMES[:6]

TABLES = {  # one row and one letter for each dtype, in the order of NAMES
    "add, both with dimensions": """
        ?BbhileEfd BBhhileEfd bhbhileEfd hhhhileEfd iiiiileEfd
        lllllleEfd eeeeeeeffd EEEEEEfEfd fffffffffd dddddddddd""",
    "add, the second without dimensions": """
        ?BbhileEfd BBBBBBeEfd bbbbbbeEfd hhhhhheEfd iiiiiieEfd
        lllllleEfd eeeeeeeeee EEEEEEEEEE ffffffffff dddddddddd""",
    "div, both with dimensions": """
        ffffffeEfd ffffffeEfd ffffffeEfd ffffffeEfd ffffffeEfd
        ffffffeEfd eeeeeeeffd EEEEEEfEfd fffffffffd dddddddddd""",
    "div, the second without dimensions": """
        ffffffeEfd ffffffeEfd ffffffeEfd ffffffeEfd ffffffeEfd
        ffffffeEfd eeeeeeeeee EEEEEEEEEE ffffffffff dddddddddd""",
}
NUMBERS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {  # one letter for each dtype
    "x + True": ("?BbhileEfd", lambda x: x + True),
    "x + 2": ("lBbhileEfd", lambda x: x + 2),
    "2 - x": ("lBbhileEfd", lambda x: 2 - x),
    "x * 2.5": ("ffffffeEfd", lambda x: x * 2.5),
    "x / 2": ("ffffffeEfd", lambda x: x / 2),
    "2.5 / x": ("ffffffeEfd", lambda x: 2.5 / x),
    "x * np.float64(2.5)": ("ffffffeEfd", lambda x: x * np.float64(2.5)),
    "x ** 2": ("lBbhileEfd", lambda x: x**2),
    "x ** 2.5": ("ffffffeEfd", lambda x: x**2.5),
    "x ** np.float64(3)": ("ffffffeEfd", lambda x: x ** np.float64(3)),
    "x ** 0.5": ("ffffffeEfd", lambda x: x.sqrt()),
    "where(c, x, 2.5)": ("ffffffeEfd", lambda x: tt.where(x > 0, x, 2.5)),
    "where(c, x, 0)": ("lBbhileEfd", lambda x: tt.where(x > 0, x, 0)),
    "x.maximum(2.5)": ("ffffffeEfd", lambda x: x.maximum(2.5)),
    "x.sum()": ("lllllleEfd", lambda x: x.sum()),
    "x.exp()": ("ffffffeEfd", lambda x: x.exp()),
    "x.log()": ("ffffffeEfd", lambda x: x.log()),
    "sigmoid": ("ffffffeEfd", tt.sigmoid),
    "tanh": ("ffffffeEfd", tt.tanh),
    "gelu": ("ffffffeEfd", tt.gelu),
    "softmax": ("ffffffeEfd", tt.softmax),
    "log_softmax": ("ffffffeEfd", tt.log_softmax),
    "cat with float32": ("fffffffffd", lambda x: tt.cat([x, tt.ones(2)])),
    "stack with float32": ("fffffffffd", lambda x: tt.stack([x, tt.ones(2)])),
    "x @ float32": ("fffffffffd", lambda x: x @ tt.ones(2)),
}


def ones(name: str, dimensions: bool = True) -> Tensor:
    return Tensor(np.ones(2 if dimensions else (), numpy_dtype(name)))


@pytest.mark.parametrize("table", TABLES)
def test_result_of_two_tensors_has_the_dtype_of_pytorch(table: str) -> None:
    rows = TABLES[table].split()
    dimensions = "without" not in table
    for a, row in zip(NAMES, rows, strict=True):
        for b, code in zip(NAMES, row, strict=True):
            x, y = ones(a), ones(b, dimensions)
            z = x / y if table.startswith("div") else x + y
            assert z.dtype.name == CODES[code], (a, b)
            if not table.startswith("div"):
                assert (y + x).dtype == (x * y).dtype == x.maximum(y).dtype == z.dtype, (a, b)
                assert tt.where(True, x, y).dtype == z.dtype, (a, b)


@pytest.mark.parametrize("case", NUMBERS)
def test_result_with_a_number_and_of_a_function_has_the_dtype_of_pytorch(case: str) -> None:
    codes, operation = NUMBERS[case]
    for name, code in zip(NAMES, codes, strict=True):
        if name == "bool" and case in ("2 - x", "x ** 2"):
            continue  # PyTorch refuses the first, and returns int64 for the second
        assert operation(ones(name)).dtype.name == CODES[code], name


def test_a_mean_over_a_mask_is_float32() -> None:
    x, mask = tt.ones(4, requires_grad=True), Tensor(np.array([True, True, False, False]))
    mean = (x * mask).sum() / mask.sum()
    assert mean.dtype == np.float32
    assert mean.item() == 1
    mean.backward()
    assert x.grad is not None
    assert x.grad.dtype == np.float32
    assert tt.mse_loss(x, Tensor([1, 2, 3, 4])).dtype == np.float32
    assert tt.Linear(4, 2)(Tensor([[1, 2, 3, 4]])).dtype == np.float32


FLOAT_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": tt.sigmoid,
    "tanh": tt.tanh,
    "gelu": tt.gelu,
    "softmax": tt.softmax,
    "log_softmax": tt.log_softmax,
    "exp": lambda x: (x * 0.01).exp(),
    "sqrt": lambda x: x.sqrt(),
    "reciprocal": lambda x: (x + 1) ** -1.0,
    "mean": lambda x: x.mean(),
    "var": lambda x: x.var(),
    "layer_norm": lambda x: tt.LayerNorm(4)(x),
    "cross_entropy": lambda x: tt.cross_entropy(x, np.array([0, 1])),
    "binary_cross_entropy": lambda x: tt.binary_cross_entropy_with_logits(x, np.array([[0, 1, 1, 0.5], [1, 0, 1, 0]])),
    "attention": lambda x: tt.scaled_dot_product_attention(x, x, x),
    "mse": lambda x: tt.mse_loss(x, np.full((2, 4), 0.5)),
    "linear": tt.Linear(4, 3),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("name", FLOAT_FUNCTIONS)
def test_float_function_of_integers_equals_that_of_float32(name: str, dtype: type) -> None:
    x = np.array([[0, 5, 100, 3], [1, 2, 120, 7]])
    f = FLOAT_FUNCTIONS[name]
    got, expected = f(Tensor(x.astype(dtype))), f(Tensor(x.astype(np.float32)))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got.data, expected.data, rtol=1e-6)


def test_dropout_of_integers_scales_them_in_float32() -> None:
    y = tt.Dropout(0.3)(Tensor(np.full(100, 7)))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.data[y.data > 0], 10, rtol=1e-6)


def test_integers_without_a_common_dtype_are_refused() -> None:
    with pytest.raises(SettingError, match=r"^dtypes int64 and uint64: no integer dtype holds both"):
        Tensor([1]) + Tensor(np.array([1], np.uint64))


@pytest.mark.parametrize("name", ["minimum", "maximum", "remainder", "fmod", "floor_divide", "pow", "atan2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
def test_function_of_two_tensors_keeps_the_dtype_next_to_integers_and_numbers(name: str, dtype: str) -> None:
    function = getattr(tt, name)
    x, one = Tensor([1.0, 2.0]).to(dtype), Tensor(np.array(2, dtype="int64"))
    others: list[Any] = [x, 2, one] if dtype == "int32" else [x, 2, 2.0, one, Tensor([1, 2])]
    for other in others:
        expected = "float32" if (name, dtype) == ("atan2", "int32") else dtype
        assert function(x, other).dtype.name == expected, other


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_clamp_keeps_the_dtype(dtype: str) -> None:
    x = Tensor([1.0, 2.0]).to(dtype)
    assert [x.clamp(1.5).dtype.name, x.clamp(None, 1.5).dtype.name, x.clamp(1, tt.ones(2)).dtype.name] == [dtype] * 3
