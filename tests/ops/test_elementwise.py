"""tinytorch/ops/elementwise.py: gradients against central differences, and Python's own operators."""

from __future__ import annotations

import numpy as np
import pytest

from tests.torch_style import ELEMENTWISE, check_gradients, lines
from tinytorch.tensor import Tensor


@pytest.mark.parametrize("expression", lines(ELEMENTWISE))
def test_gradient_equals_central_differences(expression: str) -> None:
    check_gradients(expression)


def test_pythons_functions_and_operators_of_one_tensor() -> None:
    x = Tensor(np.array([[1.0, -2.0], [3.0, -4.0]], np.float32), requires_grad=True)
    assert abs(x).tolist() == [[1, 2], [3, 4]]
    abs(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1, -1], [1, -1]]
    assert (+x).tolist() == x.tolist()
    assert abs(Tensor(np.array([-3], np.int8))).dtype == np.int8
