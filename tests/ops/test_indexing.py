"""tinytorch/ops/indexing.py: gradients against central differences, and `in`."""

from __future__ import annotations

import pytest

from tests.torch_style import INDEXING, check_gradients, lines
from tinytorch.tensor import Tensor


@pytest.mark.parametrize("expression", lines(INDEXING))
def test_gradient_equals_central_differences(expression: str) -> None:
    check_gradients(expression)


def test_in_asks_for_any_element_of_any_row() -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert 3 in x
    assert 5 not in x
    assert x.nelement() == 4
