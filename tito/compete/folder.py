"""The shared folder: the only file that knows where entries and receipts are.

    <folder>/<submitter>/<entry>/{model.json, model.safetensors, submission.json}
    <folder>/receipts/<ground>/<submitter>.<entry>.<receipt id>.json

An entry appears by one rename of a complete, synced folder, and so does a receipt. No lock is in the folder, so that it
can be shared over NFS or by git. Strangers write to it: see `plain`.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tinytorch.saved.folder import DESCRIPTION, MAX_BYTES, MAX_HEADER, TENSORS
from tito.compete.manifest import MANIFEST, Manifest, model_sha256, parse_manifest
from tito.compete.names import id_problem, name_problem
from tito.compete.plain import PART, Folder, made, not_a_folder, opened, part_name, survey
from tito.compete.problems import Problem, RefusedError
from tito.compete.rules import MANIFEST_BYTES
from tito.errors import TitoError

RECEIPTS, REFERENCE = "receipts", "reference"
LIMITS = {MANIFEST: MANIFEST_BYTES, DESCRIPTION: MAX_HEADER, TENSORS: MAX_BYTES + MAX_HEADER}
RECEIPT_BYTES = 16_000_000
_GROUND, _RECEIPT = r"[0-9a-f]{12}", r"[0-9A-Za-z-]{1,64}"
_EXISTS = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


@dataclass(frozen=True)
class EntryRef:
    """An entry by its id, `submitter/entry`, and where it is."""

    id: str
    path: Path


@dataclass(frozen=True)
class Contents:
    """The three files of an entry."""

    manifest: bytes
    description: bytes
    tensors: bytes

    @property
    def model_sha256(self) -> str:
        """The hash of the two model files as they are here."""
        return model_sha256(self.description, self.tensors)

    def files(self) -> dict[str, bytes]:
        """Return the contents by file name."""
        return {MANIFEST: self.manifest, DESCRIPTION: self.description, TENSORS: self.tensors}


@dataclass(frozen=True)
class Copy:
    """A private copy of an entry, and what it contains."""

    path: Path
    manifest: Manifest
    model_sha256: str


class SharedFolder:
    """The folder that submitters and the organizer share. It need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # Entries ------------------------------------------------------------------------------------------

    def entries(self) -> list[EntryRef]:
        """List the entries, by id."""
        return self.scan()[0]

    def scan(self) -> tuple[list[EntryRef], list[Problem]]:
        """List the entries, and report what is at the place of an entry and is none."""
        found: list[EntryRef] = []
        problems: list[Problem] = []
        if not self.path.is_dir():
            return found, problems
        with _errors(self.path, "read"), opened(self.path) as root:
            for submitter in root.names():
                status = root.status(submitter)
                hidden = submitter.startswith(".") or submitter in (RECEIPTS, REFERENCE)
                if hidden or status is None or stat.S_ISREG(status.st_mode):
                    continue  # README.md, .git
                problem = not_a_folder(submitter, status) or name_problem(submitter, "", submitter)
                if problem:
                    problems.append(problem)
                    continue
                try:
                    with opened(self.path, submitter) as folder:
                        for entry, wrong in _inside(folder, submitter):
                            if wrong:
                                problems.append(wrong)
                            else:
                                found.append(EntryRef(f"{submitter}/{entry}", self.path / submitter / entry))
                except RefusedError as error:
                    problems += error.problems
        return found, problems

    def entry_path(self, id: str) -> Path:
        """Return where the entry of this id is, whether it exists or not.

        Raises:
            RefusedError: it is no id.
        """
        if problem := id_problem(id):
            raise RefusedError([problem])
        return self.path.joinpath(*id.split("/"))

    def read(self, id: str) -> Contents:
        """Read the files of an entry.

        Raises:
            RefusedError: everything that is wrong with them as files.
        """
        names = self.entry_path(id).parts[-2:]
        with _errors(self.path, "read"), opened(self.path, *names) as folder:
            return _contents(folder)

    def publish(self, staged: Path, id: str) -> Path:
        """Put a staged entry into the folder, complete or not at all, and return where it is.

        The staged files are read once more, and what was read is what is written.

        Raises:
            RefusedError: an entry of this name exists (`taken`); the staged files are not those of the manifest
                (`changed`), or the manifest is another entry's.
            TitoError: the folder cannot be written.
        """
        submitter, entry = self.entry_path(id).parts[-2:]
        contents = read_entry(staged)
        manifest = parse_manifest(contents.manifest)
        if manifest.id != id:
            raise RefusedError([Problem("manifest", MANIFEST, "id", manifest.id, id)])
        _check_hash(contents, manifest.model_sha256)
        with _errors(self.path, "written"):
            self.path.mkdir(parents=True, exist_ok=True)
            with opened(self.path) as root, made(root, submitter) as own:
                own.remove_abandoned()
                if own.status(entry) is not None or not _put(own, entry, contents.files()):
                    raise RefusedError([Problem("taken", id, "", "an entry of this name", "a new name")])
        return self.path / submitter / entry

    def private_copy(self, id: str, to: Path, checked: str | None = None) -> Copy:
        """Copy an entry into a new folder that only this user can read, and return what was copied.

        Args:
            checked: the model's hash when the entry was checked; by default, the one in its manifest.

        Raises:
            RefusedError: the entry is not made of three plain files, its manifest is not valid, or the model's hash is
                another one (`changed`).
        """
        contents = self.read(id)
        manifest = parse_manifest(contents.manifest)
        expected = manifest.model_sha256 if checked is None else checked
        _check_hash(contents, expected)
        to.mkdir(mode=0o700, parents=True)
        with opened(to) as folder:
            for name, content in contents.files().items():
                folder.write(name, content, 0o600)
        return Copy(to, manifest, contents.model_sha256)

    def models(self, new: str | None = None) -> dict[str, str]:
        """Return the first entry that holds each model, by the model's hash.

        A manifest only claims its hash. Where two entries claim the same, or one claims `new`, the files are hashed, so
        that nobody can claim a model that they do not hold. Of several holders the first is the one whose folder was
        changed longest ago.
        """
        claims: dict[str, list[EntryRef]] = {}
        for entry in self.entries():
            try:
                with opened(self.path, *entry.id.split("/")) as folder:
                    manifest = parse_manifest(folder.read(MANIFEST, MANIFEST_BYTES))
            except (RefusedError, OSError):
                continue  # it is no valid entry, so it holds no model
            claims.setdefault(manifest.model_sha256, []).append(entry)
        found: dict[str, str] = {}
        for claimed, entries in claims.items():
            holders = [e for e in entries if self._holds(e.id, claimed)] if entries[1:] or claimed == new else entries
            if holders:
                found[claimed] = min(holders, key=_age).id
        return found

    def _holds(self, id: str, claimed: str) -> bool:
        try:
            return self.read(id).model_sha256 == claimed
        except TitoError:
            return False

    # Receipts -----------------------------------------------------------------------------------------

    def receipts(self) -> list[Path]:
        """List the files at the places of receipts, of all grounds. Who wrote them is not known yet."""
        found: list[Path] = []
        if not (self.path / RECEIPTS).is_dir():
            return found
        with _errors(self.path, "read"):
            try:
                with opened(self.path, RECEIPTS) as folder:
                    grounds = [name for name in folder.names() if re.fullmatch(_GROUND, name)]
            except RefusedError:
                return found  # a link: those are not this folder's receipts
            for ground in grounds:
                with suppress(RefusedError), opened(self.path, RECEIPTS, ground) as folder:
                    for name in folder.names():
                        status = folder.status(name)
                        plain = status is not None and stat.S_ISREG(status.st_mode)
                        if plain and name.endswith(".json") and not name.startswith("."):
                            found.append(self.path / RECEIPTS / ground / name)
        return found

    def read_receipt(self, path: Path) -> bytes:
        """Read one of `receipts()`, bounded and through no link.

        Raises:
            RefusedError: it is missing, not plain, or too large.
        """
        ground, name = path.parts[-2:]
        with _errors(self.path, "read"), opened(self.path, RECEIPTS, ground) as folder:
            return folder.read(name, RECEIPT_BYTES)

    def save_receipt(self, ground_id: str, entry_id: str, receipt_id: str, text: str) -> Path:
        """Write a new receipt, complete or not at all, and return where it is.

        Raises:
            TitoError: the folder cannot be written, a name is not valid, or there is a receipt of this id.
        """
        submitter, entry = self.entry_path(entry_id).parts[-2:]
        if not re.fullmatch(_GROUND, ground_id) or not re.fullmatch(_RECEIPT, receipt_id):
            raise TitoError(f"receipt {receipt_id!r} of ground {ground_id!r}: not names of a file and a folder")
        name = f"{submitter}.{entry}.{receipt_id}.json"
        with _errors(self.path, "written"):
            self.path.mkdir(parents=True, exist_ok=True)
            with opened(self.path) as root, made(root, RECEIPTS) as receipts, made(receipts, ground_id) as folder:
                folder.remove_abandoned()
                if folder.status(name) is not None:
                    raise TitoError(f"{self.path / RECEIPTS / ground_id / name}: a receipt is never overwritten")
                part = part_name(name)
                try:
                    folder.write(part, text.encode())
                    folder.rename(part, name)
                except BaseException:
                    folder.remove(part)
                    raise
                folder.sync()
        return self.path / RECEIPTS / ground_id / name


def read_entry(path: Path) -> Contents:
    """Read the files of an entry that is anywhere.

    Raises:
        RefusedError: everything that is wrong with them as files.
    """
    with _errors(path, "read"), opened(path.parent, path.name) as folder:
        return _contents(folder)


def _contents(folder: Folder) -> Contents:
    found, problems = survey(folder, LIMITS)
    if problems:
        raise RefusedError(problems)
    return Contents(found[MANIFEST], found[DESCRIPTION], found[TENSORS])


def _inside(folder: Folder, submitter: str) -> Iterator[tuple[str, Problem | None]]:
    """Yield what is in a submitter's folder: the name, and why it is no entry, or None."""
    for name in folder.names():
        if name.startswith(".") and name.endswith(PART):
            continue  # it is being written
        status, where = folder.status(name), f"{submitter}/{name}"
        if status is not None and stat.S_ISREG(status.st_mode):
            yield name, Problem("files", where, "", "a file", "only folders of entries")
        elif status is not None:
            yield name, not_a_folder(where, status) or name_problem(name, "", where)


def _put(own: Folder, entry: str, files: Mapping[str, bytes]) -> bool:
    """Write a folder of files beside its place and rename it there; return False if the name is taken."""
    part = part_name(entry)
    try:
        with made(own, part) as folder:
            for name, content in files.items():
                folder.write(name, content)
            folder.sync()
        own.rename(part, entry)  # refuses to replace a folder that is not empty
    except BaseException as error:
        own.remove(part)
        if isinstance(error, OSError) and error.errno in _EXISTS:
            return False
        raise
    own.sync()
    return True


def _check_hash(contents: Contents, expected: str) -> None:
    if contents.model_sha256 != expected:
        found = f"other files, of SHA-256 {contents.model_sha256[:12]}"
        raise RefusedError([Problem("changed", f"{DESCRIPTION}, {TENSORS}", "", found, f"those of {expected[:12]}")])


def _age(entry: EntryRef) -> tuple[float, str]:
    try:
        return entry.path.stat().st_mtime, entry.id
    except OSError:
        return float("inf"), entry.id


@contextmanager
def _errors(path: Path, what: str) -> Iterator[None]:
    """Report an error of the file system in one line."""
    try:
        yield
    except OSError as error:
        raise TitoError(f"{path}: cannot be {what}: {error.strerror or error}") from None


def read_model(path: Path) -> tuple[bytes, bytes]:
    """Read the two files of a model's folder, whatever else is in it: model.json and model.safetensors.

    Raises:
        RefusedError: one of them is missing, not plain, or too large.
        TitoError: the folder cannot be read.
    """
    with _errors(path, "read"), opened(path) as folder:
        return folder.read(DESCRIPTION, LIMITS[DESCRIPTION]), folder.read(TENSORS, LIMITS[TENSORS])
