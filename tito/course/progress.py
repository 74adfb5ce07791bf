"""How far a learner is: the state of each module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tito.course.modules import Module

State = Literal["locked", "open", "started", "complete"]


@dataclass(frozen=True)
class ModuleProgress:
    """A module's state, its steps that pass out of all, and whether a file has changed since they were tested."""

    module: Module
    state: State
    passed: int = 0
    total: int = 0
    stale: bool = False


@dataclass(frozen=True)
class Progress:
    """The states of all modules, in order."""

    modules: tuple[ModuleProgress, ...]
