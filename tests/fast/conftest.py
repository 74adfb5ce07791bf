"""What all tests of `tinytorch.fast` share."""

from __future__ import annotations

import pytest

from tinytorch.fast import images, rows


@pytest.fixture(autouse=True)
def _for_small_arrays(onednn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use oneDNN for small arrays as well."""
    for room, names in ((images, "LEAST_WORK LEAST_POINTWISE LEAST_SIZE"), (rows, "LEAST_SIZE")):
        for name in names.split():
            monkeypatch.setattr(room, name, 0)
