"""The gradients of tinytorch/ops/products.py against central differences."""

from __future__ import annotations

import pytest

from tests.torch_style import PRODUCTS, check_gradients, lines


@pytest.mark.parametrize("expression", lines(PRODUCTS))
def test_gradient_equals_central_differences(expression: str) -> None:
    check_gradients(expression)
