"""Made progress of a learner."""

from __future__ import annotations

from tito.course.modules import MODULES
from tito.course.progress import ModuleProgress, Progress


def made_progress(complete: int, started: tuple[int, int] | None = (3, 7), stale: bool = False) -> Progress:
    """The progress of a learner who has completed this many modules and, maybe, started the next."""
    found = []
    for module in MODULES:
        if module.number <= complete:
            found.append(ModuleProgress(module, "complete", 7, 7, False))
        elif module.number == complete + 1 and started:
            found.append(ModuleProgress(module, "started", *started, stale))
        else:
            state = "open" if module.number == complete + 1 else "locked"
            found.append(ModuleProgress(module, state, 0, 7, False))  # type: ignore[arg-type]
    return Progress(tuple(found))
