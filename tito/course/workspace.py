"""The workspace: a learner's own files, `02_tensor.py` and so on, one for each module that was started.

The files are numbered, so that none of them can replace a library's module, and the folder is never on Python's path.
`.tito/` in it contains what tito keeps: a state for each module, the blank files that were handed out, and backups.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tito.course.modules import MODULES, Module
from tito.errors import CourseError
from tito.files import read_plain
from tito.project import Project

if TYPE_CHECKING:  # tito module list reads the workspace without them
    from tito.course.exercise import Exercise

VARIABLE = "TITO_WORKSPACE"
LARGEST = 4 * 2**20  # bytes of a learner's file
PATIENCE = 10.0  # seconds to wait for a command in another terminal


@dataclass(frozen=True)
class Replaced:
    """What a reset or an update did.

    Attributes:
        path: the learner's file, which is new.
        backup: where the previous file is; None if there was none.
        kept: the names whose answers are in the new file.
        dropped: the learner's answers and changes that are only in the backup.
    """

    path: Path
    backup: Path | None
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


class Workspace:
    """A folder with a learner's files; it need not exist yet.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @classmethod
    def find(cls, project: Project) -> Workspace:
        """Return the workspace that commands use: the folder TITO_WORKSPACE, or workspace/ in the checkout.

        Raises:
            CourseError: TITO_WORKSPACE names a file.
        """
        named = os.environ.get(VARIABLE)
        path = Path(named).expanduser().absolute() if named else project.root / "workspace"
        if path.exists() and not path.is_dir():
            raise CourseError(f"{path}: a file: expected a folder for the workspace ({VARIABLE} names it)")
        return cls(path)

    @property
    def private(self) -> Path:
        """The folder with what tito keeps."""
        return self.path / ".tito"

    def file(self, module: Module) -> Path:
        """Return where a module's file is, or would be."""
        return self.path / module.file

    def state_file(self, module: Module) -> Path:
        """Return where a module's state is, or would be."""
        return self.private / f"{module.key}.json"

    def blank_file(self, module: Module) -> Path:
        """Return where a copy of the blank file is that was handed out."""
        return self.private / "blank" / module.file

    def has(self, module: Module) -> bool:
        """Return whether the module's file exists."""
        return self.file(module).is_file()

    def started(self, module: Module) -> bool:
        """Return whether the module was started, even if its file has been deleted since."""
        return self.has(module) or self.blank_file(module).is_file() or self.state_file(module).is_file()

    def files(self, up_to: Module) -> dict[str, Path]:
        """Return the files that exist, by module, up to this module."""
        return {m.name: self.file(m).absolute() for m in MODULES if m.number <= up_to.number and self.has(m)}

    def require(self, module: Module) -> Path:
        """Return the module's file.

        Raises:
            CourseError: the module is not started, or its file is missing.
        """
        if self.has(module):
            return self.file(module)
        if self.started(module):
            backups = f", and earlier versions are in {self.private / 'backup'}" if self._backups(module) else ""
            raise CourseError(
                f"{self.file(module)}: the file is missing: tito module start {module.key} creates it again{backups}"
            )
        raise CourseError(f"module {module.label} is not started: tito module start {module.key} creates its file")

    # Changes ------------------------------------------------------------------------------------------

    def start(self, exercise: Exercise) -> bool:
        """Create the module's file if there is none, and return whether it was created.

        Raises:
            CourseError: another command is changing the workspace.
            OSError: the folder cannot be written to; nothing is half-written.
        """
        from tito.course.blank import blank

        module = exercise.module
        with self.lock():
            if self.has(module):
                return False
            self._hand_out(module, blank(exercise.source(), exercise))
            return True

    def reset(self, exercise: Exercise) -> Replaced:
        """Replace the module's file by the blank one, and keep the previous file as a backup."""
        from tito.course.blank import blank

        with self.lock():
            backup = self._back_up(exercise.module)
            self._hand_out(exercise.module, blank(exercise.source(), exercise))
            self.state_file(exercise.module).unlink(missing_ok=True)
        return Replaced(self.file(exercise.module), backup)

    def update(self, exercise: Exercise) -> Replaced:
        """Put the learner's answers into the newest version of the exercise, and keep the previous file as a backup.

        Raises:
            CourseError: the module is not started, or its file has a syntax error.
        """
        from tito.course.blank import blank
        from tito.course.merging import merged

        module = exercise.module
        path = self.require(module)
        with self.lock():
            mine = read_source(path)
            newest = blank(exercise.source(), exercise)
            handed_out = self.blank_file(module)
            before = read_source(handed_out) if handed_out.is_file() else None
            text, kept, dropped = merged(mine, before, newest, exercise, str(path))
            backup = self._back_up(module)
            self._hand_out(module, newest, text)
        return Replaced(path, backup, kept, dropped)

    def outdated(self, exercise: Exercise) -> bool:
        """Return whether the exercise has changed since the learner's file was created."""
        from tito.course.blank import blank

        copy = self.blank_file(exercise.module)
        return copy.is_file() and copy.read_bytes() != blank(exercise.source(), exercise).encode()

    def _hand_out(self, module: Module, blank: str, text: str | None = None) -> None:
        write(self.blank_file(module), blank)
        write(self.file(module), blank if text is None else text)

    def _backups(self, module: Module) -> list[Path]:
        return sorted((self.private / "backup").glob(f"{module.file[:-3]}-*.py"))

    def _back_up(self, module: Module) -> Path | None:
        """Copy the module's file, and return the copy; it stays until the new file has replaced it."""
        path = self.file(module)
        if not path.is_file():
            return None
        stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = self.private / "backup"
        names = (f"{module.file[:-3]}-{stamp}{suffix}.py" for suffix in ["", *(f"-{i}" for i in range(2, 100))])
        backup = next(folder / name for name in names if not (folder / name).exists())
        write(backup, path.read_bytes())
        return backup

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep commands in other terminals from changing the workspace meanwhile.

        Raises:
            CourseError: another command has kept the lock for 10 seconds.
            OSError: the workspace cannot be written to.
        """
        self.private.mkdir(parents=True, exist_ok=True)
        with (self.private / "lock").open("ab") as handle:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise CourseError(
                            f"{self.path}: another tito command is changing this workspace: wait until it has finished"
                        ) from None
                    time.sleep(0.05)
            yield


def write(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    from tinytorch.base.files import atomic_write  # imports NumPy, which most commands do not need

    atomic_write(path, content.encode() if isinstance(content, str) else content)


def read_source(path: Path) -> str:
    """Return the text of a learner's file.

    Raises:
        CourseError: it is not UTF-8, or too large to be a program.
    """
    if (size := path.stat().st_size) > LARGEST:
        raise CourseError(f"{path}: {size} bytes: expected a Python file of at most {LARGEST}")
    try:
        return read_plain(path).decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise CourseError(
            f"{path}:{line}: not UTF-8 (byte 0x{error.object[error.start]:02x}): save it as UTF-8"
        ) from None


def digest(*paths: Path) -> str:
    """Return the SHA-256 of the contents of files; a missing file counts as empty."""
    total = hashlib.sha256()
    for path in paths:
        try:
            content = read_plain(path)  # a pipe, which would block, counts as missing
        except OSError:
            content = b""
        total.update(f"{path.name} {len(content)}\n".encode() + content)
    return total.hexdigest()
