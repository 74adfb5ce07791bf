"""The gradients of tinytorch/ops/elementwise.py against central differences."""

from __future__ import annotations

import pytest

from tests.torch_style import ELEMENTWISE, check_gradients, lines


@pytest.mark.parametrize("expression", lines(ELEMENTWISE))
def test_gradient_equals_central_differences(expression: str) -> None:
    check_gradients(expression)
