"""The gradients of tinytorch/nn/functional.py against central differences."""

from __future__ import annotations

import pytest

from tests.torch_style import FUNCTIONAL, check_gradients, lines


@pytest.mark.parametrize("expression", lines(FUNCTIONAL))
def test_gradient_equals_central_differences(expression: str) -> None:
    check_gradients(expression)
