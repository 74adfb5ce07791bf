"""Which receipts count: those in the shared folder that this organizer sealed. And the entries that they are about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tito.compete.folder import SharedFolder
from tito.compete.manifest import Manifest, parse_manifest
from tito.compete.problems import Problem, RefusedError
from tito.compete.ranking import Entry
from tito.compete.receipt import Receipt
from tito.compete.seal import is_sealed_by, parse_receipt
from tito.errors import RecordError


@dataclass(frozen=True)
class Files:
    """What an entry's files are now. Hashes are empty, and `manifest` is None, where they cannot be read."""

    manifest_sha256: str
    model_sha256: str
    manifest: Manifest | None
    problem: str = ""

    def are_those_of(self, receipt: Receipt) -> bool:
        """Whether a receipt is about exactly these files."""
        return (receipt.manifest_sha256, receipt.model_sha256) == (self.manifest_sha256, self.model_sha256)


def sealed_receipts(shared: SharedFolder, key: bytes | None) -> tuple[list[Receipt], list[Problem]]:
    """Return the receipts that this organizer sealed, oldest first, and a problem for each other file.

    A copy under another name is the same receipt. Without a key, nothing counts.
    """
    found: dict[str, Receipt] = {}
    problems: list[Problem] = []
    for path in shared.receipts():
        name = "/".join(path.parts[-3:])
        try:
            receipt = parse_receipt(shared.read_receipt(path), name)
        except RefusedError as error:
            problems += error.problems
            continue
        except RecordError as error:
            problems.append(Problem("seal", name, "", str(error).removeprefix(f"{name}: "), "a receipt"))
            continue
        if key is None or not is_sealed_by(receipt, key):
            problems.append(Problem("seal", name, "seal", "a seal of someone else, or none", "this organizer's"))
        else:
            found[receipt.id] = receipt
    return sorted(found.values(), key=lambda receipt: (receipt.created, receipt.id)), problems


def holders_of(shared: SharedFolder, receipts: Sequence[Receipt]) -> dict[str, str]:
    """Return the entry that counts as the first one to hold each model, by the model's hash.

    That is the entry with the oldest receipt, of any ground, that verified it and is of its present files. The age of a
    folder, by which entries without receipts are ordered, is what anybody who writes the folder says it is.
    """
    holders = shared.models()
    present = {entry.id for entry in shared.entries()}
    found: dict[str, str] = {}
    for receipt in sorted(receipts, key=lambda receipt: (receipt.created, receipt.id)):
        sha256 = receipt.model_sha256
        if receipt.status != "verified" or sha256 in found or receipt.entry not in present:
            continue
        if holders.get(sha256) == receipt.entry or files_of(shared, receipt.entry).are_those_of(receipt):
            found[sha256] = receipt.entry
    return holders | found


def files_of(shared: SharedFolder, id: str) -> Files:
    """Read an entry's files and hash them."""
    try:
        contents = shared.read(id)
    except RefusedError as error:
        return Files("", "", None, str(error.problems[0]))
    manifest_sha256 = hashlib.sha256(contents.manifest).hexdigest()
    try:
        manifest = parse_manifest(contents.manifest)
    except RefusedError as error:
        return Files(manifest_sha256, contents.model_sha256, None, str(error.problems[0]))
    return Files(manifest_sha256, contents.model_sha256, manifest)


def entries_of(shared: SharedFolder, ids: Iterable[str] | None = None) -> list[Entry]:
    """Return the entries of the shared folder as the ranking needs them."""
    found = []
    for id in [entry.id for entry in shared.entries()] if ids is None else ids:
        files = files_of(shared, id)
        if files.manifest is None:
            found.append(Entry(id, problem=files.problem))
        else:
            manifest = files.manifest
            found.append(
                Entry(
                    id,
                    files.model_sha256,
                    manifest.track,
                    manifest.division,
                    manifest.title,
                    manifest_sha256=files.manifest_sha256,
                )
            )
    return found
