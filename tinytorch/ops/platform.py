"""What programs ask PyTorch about the machine: there is no GPU, and nothing to compile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np


def _no(*_: Any) -> bool:
    return False


def _nothing(*_: Any, **__: Any) -> None:
    return None


cuda = SimpleNamespace(
    is_available=_no, device_count=lambda: 0, manual_seed=_nothing, manual_seed_all=_nothing, empty_cache=_nothing,
    synchronize=_nothing, is_bf16_supported=_no,
)  # fmt: skip
mps = SimpleNamespace(is_available=_no, is_built=_no)
backends = SimpleNamespace(
    mps=mps,
    cudnn=SimpleNamespace(deterministic=True, benchmark=False, enabled=False),
    cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False)),
)


def compile(model: Any, *_: Any, **__: Any) -> Any:
    """Return the model itself: for a faster forward pass, see `tinytorch.acceleration.trace`."""
    return model


def set_float32_matmul_precision(precision: str) -> None:
    """Accept PyTorch's setting; products of float32 are always computed in float32."""


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accept PyTorch's setting: all algorithms are deterministic on one machine with the same settings."""


def are_deterministic_algorithms_enabled() -> bool:
    """Return True; see `use_deterministic_algorithms`."""
    return True


def get_default_dtype() -> np.dtype[Any]:
    """Return float32, the dtype of Python floats."""
    return np.dtype(np.float32)


def set_printoptions(**settings: Any) -> None:
    """Set how many digits and elements `repr` shows: `precision`, `threshold`, `linewidth`, as in NumPy."""
    known = {
        key: value for key, value in settings.items() if key in ("precision", "threshold", "edgeitems", "linewidth")
    }
    if "sci_mode" in settings and settings["sci_mode"] is False:
        known["suppress"] = True
    np.set_printoptions(**known)
