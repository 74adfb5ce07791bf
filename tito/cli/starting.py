"""What a command that is about to measure says about the machine, and what it does about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from tito.process.blas import KernelChoice
    from tito.process.neighbors import Neighbors
    from tito.process.threads import Surroundings


def look_around(out: Console) -> Neighbors:
    """Look at what else runs on this machine, and print one line if it is much."""
    from tito.process.neighbors import look
    from tito.terminal.tables import say_indented

    with out.status("  is the machine idle?"):
        found = look()
    if found.noise.noisy:
        say_indented(out, f"this machine is busy, so figures of now are noisy: {found.line}", "yellow")
    return found


def suited(out: Console, found: Neighbors, kernel: KernelChoice) -> Surroundings:
    """Choose the threads for a run: on a busy machine fewer, if a measurement says that they are faster."""
    from tito.process.threads import Surroundings, choose_threads
    from tito.terminal.tables import say_indented

    if not found.noise.noisy:
        return Surroundings(found.conditions)
    with out.status("  trying fewer threads"):
        choice, environment = choose_threads(found.conditions.get("others", 0.0), kernel.environment)
    if not choice.usual:
        say_indented(out, choice.line, "yellow")
    return Surroundings(found.conditions, choice, environment)
