"""Which of tinytorch's kernel backends the children shall use: chosen once, here, and pinned in their environment."""

from __future__ import annotations

from tinytorch.native import backend, library
from tito.bench.record import BackendChoice


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
