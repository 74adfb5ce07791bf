"""The choice of tinytorch's kernel backend: made once in the parent and pinned in the children's environment."""

from __future__ import annotations

from typing import Literal

from tinytorch.native import backend, library
from tito.process.documents import Frozen


class BackendChoice(Frozen):
    """The kernel backend of tinytorch that the children used."""

    name: Literal["numpy", "onednn"]
    version: str | None  # of oneDNN; NumPy's is in the provenance
    native: list[str]  # dtypes that it multiplies with native instructions
    why: str

    @property
    def line(self) -> str:
        """The choice in one line: oneDNN 3.2.0, native bfloat16, float32, int8 (it is installed)."""
        title = f"oneDNN {self.version}, native {', '.join(self.native)}" if self.name == "onednn" else "NumPy"
        return f"{title} ({self.why})"


def choose_backend(name: str | None = None) -> BackendChoice:
    """Choose the backend `name`; by default, the one in TINYTORCH_BACKEND or the fastest installed.

    Raises:
        SettingError: there is no such backend, or it cannot be loaded.
    """
    if name is not None:
        backend.use_backend(name)
    native = backend.backend() == "onednn"
    return BackendChoice(
        name="onednn" if native else "numpy",
        version=library.version() if native else None,
        native=sorted(library.native_dtypes()) if native else [],
        why="set by --backend" if name is not None else backend.reason(),
    )


def pinned_backend(choice: BackendChoice) -> dict[str, str]:
    """Return the variable that makes a child use it."""
    return {backend.VARIABLE: choice.name}
