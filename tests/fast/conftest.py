"""What all tests of `tinytorch.fast` share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tinytorch.fast import images, rows
from tinytorch.native import backend


@pytest.fixture(autouse=True)
def _by_oneDNN(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: N802 (its name)
    """Use oneDNN for small arrays as well."""
    before = backend.backend()
    backend.use_backend("onednn")
    for room, names in ((images, "LEAST_WORK LEAST_POINTWISE LEAST_SIZE"), (rows, "LEAST_SIZE")):
        for name in names.split():
            monkeypatch.setattr(room, name, 0)
    yield
    backend.use_backend(before)
