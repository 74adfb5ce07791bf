"""The gradients of tinytorch/ops/shapes.py against central differences."""

from __future__ import annotations

import pytest

from tests.torch_style import SHAPES, check_gradients, lines


@pytest.mark.parametrize("expression", lines(SHAPES))
def test_gradient_equals_central_differences(expression: str) -> None:
    check_gradients(expression)
