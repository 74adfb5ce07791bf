"""A run that is not finished yet: what its finished seeds measured, so that `--resume` goes on after them.

    reports/unfinished/SUITE/TIME/run.json           what the run is; see Identity
    reports/unfinished/SUITE/TIME/CASE-SEED.json     one finished seed
    reports/unfinished/SUITE/TIME/model.safetensors  weights of the profiled case's first seed

Each file is written completely or not at all. The folder is removed when the run's record is saved. Another run may go
on only if it is the same one: the same suite, code, settings, machine, and environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import AwareDatetime, Field, ValidationError

import tinytorch
from tinytorch.base.files import atomic_write
from tito.bench.record import MemoryTrace, Resumed, SeedRun
from tito.bench.suite import Case, LoadedSuite, Parameters
from tito.errors import RecordError, RequestError
from tito.files import read_plain
from tito.process.blas import BlasChoice, KernelChoice
from tito.process.documents import Frozen
from tito.process.threads import Surroundings, ThreadChoice

FOLDER = "unfinished"
MOST_BYTES = 200_000_000  # of one seed
Document = TypeVar("Document", bound=Frozen)

KEPT = 5  # unfinished runs of a suite; older ones are removed when another one begins


class Identity(Frozen):
    """What must be equal for one run to go on where another one stopped. A field's value is shown if it differs."""

    suite: str  # SHA-256 of its files
    code: str  # SHA-256 of tinytorch and tito
    settings: dict[str, str]  # the options that change what is measured, or where models are kept
    machine: str
    versions: dict[str, str]
    environment: dict[str, str]


class _Run(Frozen):
    """The content of run.json."""

    began: AwareDatetime
    identity: Identity
    blas: BlasChoice
    kernel: dict[str, str]
    threads: ThreadChoice | None
    variables: dict[str, str]  # of the threads


class KeptModel(Frozen):
    """The facts about the weights that were saved next to a seed."""

    parameter_count: int
    sha256: str
    memory: MemoryTrace | None


class KeptSeed(Frozen):
    """A finished seed."""

    case: str
    parameters: Parameters
    run: SeedRun
    model: KeptModel | None = Field(default=None)


class Unfinished:
    """The folder of a run in progress, which this process alone uses as long as it lives."""

    def __init__(self, folder: Path, began: datetime, kernel: KernelChoice, around: Surroundings) -> None:
        self.folder, self.began, self.kernel, self.around = folder, began, kernel, around
        self.taken: dict[str, list[int]] = {}  # seeds that were taken over, by case
        self.kept = len(list(folder.glob("*-*.json")))  # seeds that a later run could take over
        self._lock = _lock(folder)

    @classmethod
    def start(
        cls, reports: Path, loaded: LoadedSuite, identity: Identity, kernel: KernelChoice, around: Surroundings
    ) -> Self:
        """Begin a run.

        Raises:
            RecordError: the folder cannot be written.
        """
        began = datetime.now(UTC)
        parent = reports / FOLDER / loaded.suite.name
        for old in sorted(_folders(parent))[: -KEPT + 1]:
            _remove(old)
        folder = parent / f"{began:%Y%m%dT%H%M%S}-{os.getpid()}"
        document = _Run(
            began=began,
            identity=identity,
            blas=kernel.record,
            kernel=kernel.environment,
            threads=around.threads,
            variables=dict(around.environment),
        )
        try:
            atomic_write(folder / "run.json", document.model_dump_json().encode())
            return cls(folder, began, kernel, around)
        except OSError as error:
            raise RecordError(f"cannot write into {folder}: {error.strerror or error}") from None

    @classmethod
    def resume(cls, reports: Path, loaded: LoadedSuite, identity: Identity) -> Self:
        """Go on with the newest unfinished run that is the same one, with its kernel and its threads.

        Raises:
            RequestError: there is none, or it still runs; the message says in what the newest one differs.
        """
        name, why = loaded.suite.name, ""
        for folder, run in _runs(reports / FOLDER / name):
            when = f"{run.began:%Y-%m-%d %H:%M:%S} UTC"
            differs = _differences(run.identity, identity)
            if differs:
                why = why or f"the unfinished run of {when} cannot be resumed: {'; '.join(differs)}"
                continue
            try:
                around = Surroundings(threads=run.threads, environment=run.variables)
                return cls(folder, run.began, KernelChoice(run.blas, run.kernel), around)
            except BlockingIOError:
                raise RequestError(f"{name}: the run of {when} is still running") from None
        raise RequestError(f"{name}: {why or 'no run of it is unfinished'}; without --resume, it runs from the start")

    @property
    def weights(self) -> Path:
        """The file with the weights of the profiled case's first seed."""
        return self.folder / "model.safetensors"

    @property
    def resumed(self) -> Resumed | None:
        """What the record says about seeds that were taken over."""
        return Resumed(began=self.began, seeds=self.taken) if self.taken else None

    def has(self, case: Case, seed: int) -> bool:
        """Return whether an earlier process finished this seed."""
        return self._file(case.name, seed).is_file()

    def take(self, case: Case, seed: int, with_model: bool) -> KeptSeed | None:
        """Return a seed that an earlier process finished; None if it must run.

        Args:
            case: its case, with the parameters of this run.
            seed: the seed.
            with_model: whether the weights of this seed are needed.
        """
        kept = _read(self._file(case.name, seed), KeptSeed)
        if kept is None or kept.parameters != case.parameters or kept.run.seed != seed:
            return None
        if with_model and (kept.model is None or kept.model.sha256 != _sha256(self.weights)):
            return None
        self.taken.setdefault(case.name, []).append(seed)
        return kept

    def keep(self, case: Case, run: SeedRun, model: KeptModel | None) -> None:
        """Keep a finished seed. If the disk is full, the run goes on, and the seed would run again."""
        kept = KeptSeed(case=case.name, parameters=case.parameters, run=run, model=model)
        with suppress(OSError):
            atomic_write(self._file(case.name, run.seed), kept.model_dump_json().encode())
            self.kept += 1

    def finish(self, identity: Identity) -> None:
        """Remove the run, whose record is saved, and older ones of the same suite with the same settings."""
        for folder, run in _runs(self.folder.parent):
            if folder != self.folder and run.began <= self.began and run.identity.settings == identity.settings:
                _remove(folder)
        self.leave(keep=False)

    def leave(self, keep: bool = True) -> None:
        """Let another process go on; a run without a finished seed is removed."""
        if not keep or not self.kept:
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()
                self.folder.parent.parent.rmdir()
        os.close(self._lock)

    def _file(self, case: str, seed: int) -> Path:
        return self.folder / f"{case}-{seed}.json"


def unfinished(reports: Path, suite: str, identity: Identity) -> tuple[datetime, int] | None:
    """Return when the newest unfinished run that could be resumed began, and how many seeds it has."""
    for folder, run in _runs(reports / FOLDER / suite):
        if run.identity == identity:
            return run.began, len(list(folder.glob("*-*.json")))
    return None


def code_sha256() -> str:
    """Return the SHA-256 of the files of tinytorch and tito, so that changes without a commit count."""
    home = Path(tinytorch.__file__).parents[1]
    digest = hashlib.sha256()
    for package in (home / "tinytorch", Path(__file__).parents[1]):
        for file in sorted(package.rglob("*.py")):
            digest.update(f"{file.relative_to(package.parent).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _differences(there: Identity, here: Identity) -> list[str]:
    """Return in what two runs differ, in words."""
    found = []
    if there.suite != here.suite:
        found.append("the suite has changed")
    if there.code != here.code:
        found.append("the code of tinytorch or tito has changed")
    if there.machine != here.machine:
        found.append("it ran on another machine")
    for what, a, b in (
        ("", there.settings, here.settings),
        ("", there.versions, here.versions),
        ("variable ", there.environment, here.environment),
    ):
        for name in sorted(a.keys() | b.keys()):
            if a.get(name) != b.get(name):
                found.append(f"{what}{name}: {a.get(name, 'not set')} there, {b.get(name, 'not set')} here")
    return found


def _runs(parent: Path) -> Iterator[tuple[Path, _Run]]:
    """Yield the unfinished runs of a suite, newest first."""
    for folder in sorted(_folders(parent), reverse=True):
        run = _read(folder / "run.json", _Run)
        if run is not None:
            yield folder, run


def _folders(parent: Path) -> list[Path]:
    with suppress(OSError):
        return [path for path in parent.iterdir() if path.is_dir() and not path.is_symlink()]
    return []


def _remove(folder: Path) -> None:
    """Remove an unfinished run, unless a process still works on it."""
    with suppress(OSError):
        lock = _lock(folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path) -> int:
    """Lock a folder for this process; the system unlocks it when the process ends, however it ends.

    Raises:
        BlockingIOError: another process has locked it.
    """
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _read(path: Path, model: type[Document]) -> Document | None:
    """Return a document, or None if there is none that can be read: it is then measured again."""
    try:
        return model.model_validate_json(read_plain(path, MOST_BYTES))
    except (OSError, ValidationError):
        return None


def _sha256(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def kept_model(weights: Path, parameter_count: int, memory: MemoryTrace | None) -> KeptModel:
    """Return the facts about saved weights."""
    return KeptModel(parameter_count=parameter_count, sha256=_sha256(weights) or "", memory=memory)


def identity_of(loaded: LoadedSuite, settings: Mapping[str, Any], backend: str) -> Identity:
    """Return what a run is.

    Args:
        loaded: the suite, with its altered gates and cases.
        settings: options by name; those that are not set are left out.
        backend: the kernel backend, in one line.
    """
    import platform

    import numpy as np

    from tito.process.blas import VARIABLE
    from tito.process.environment import pinned_environment, recorded_environment
    from tito.process.provenance import this_machine

    chosen = {name: str(value) for name, value in settings.items() if value}
    if loaded.altered:
        chosen["altered"] = ", ".join(loaded.altered)
    kernel = os.environ.get(VARIABLE)
    return Identity(
        suite=loaded.sha256,
        code=code_sha256(),
        settings=chosen | ({VARIABLE: kernel} if kernel else {}),
        machine=this_machine().fingerprint,
        versions={"Python": platform.python_version(), "NumPy": np.__version__, "backend": backend},
        environment=pinned_environment({}) | recorded_environment(),
    )
