"""Which of tinytorch's kernel backends the children shall use: chosen once, here, and pinned in their environment."""

from __future__ import annotations

from typing import Literal

from tinytorch.native import backend, library
from tito.process.documents import Frozen


class BackendChoice(Frozen):
    """Which kernel backend of tinytorch the children used."""

    name: Literal["numpy", "onednn"]
    version: str | None  # of oneDNN; NumPy's stands in the provenance
    native: list[str]  # dtypes that it multiplies by instructions of their own
    why: str

    @property
    def line(self) -> str:
        """The choice in words: oneDNN 3.2.0, native bfloat16, float32, int8 (it is installed)."""
        title = f"oneDNN {self.version}, native {', '.join(self.native)}" if self.name == "onednn" else "NumPy"
        return f"{title} ({self.why})"


def choose_backend(name: str | None = None) -> BackendChoice:
    """The backend `name`; without one, what TINYTORCH_BACKEND says or the machine has.

    Raises:
        SettingError: there is no such backend, or it cannot be loaded here.
    """
    if name is not None:
        backend.use_backend(name)
    native = backend.backend() == "onednn"
    return BackendChoice(
        name="onednn" if native else "numpy",
        version=library.version() if native else None,
        native=sorted(library.native_dtypes()) if native else [],
        why="asked for by --backend" if name is not None else backend.reason(),
    )


def pinned_backend(choice: BackendChoice) -> dict[str, str]:
    """What makes a child use it."""
    return {backend.VARIABLE: choice.name}
