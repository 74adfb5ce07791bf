"""The gradients of tinytorch/nn/losses.py against central differences, and what it refuses."""

from __future__ import annotations

import pytest

from tests.torch_style import LOSSES, check_gradients, lines


@pytest.mark.parametrize("expression", lines(LOSSES))
def test_gradient_equals_central_differences(expression: str) -> None:
    check_gradients(expression)
