"""The gradients of tinytorch/ops/reductions.py against central differences."""

from __future__ import annotations

import pytest

from tests.torch_style import REDUCTIONS, check_gradients, lines


@pytest.mark.parametrize("expression", lines(REDUCTIONS))
def test_gradient_equals_central_differences(expression: str) -> None:
    check_gradients(expression)
