"""bfloat16 rounds to nearest even and loses nothing on the way back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tinytorch.native import backend


@pytest.fixture(autouse=True, scope="module")
def _leave_the_backend_as_it_was() -> Iterator[None]:
    before = backend.backend()
    yield
    backend.use_backend(before)
