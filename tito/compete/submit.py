"""From a saved model to an entry in the shared folder: stage, check, measure, publish.

model folder -> stage -> private folder -> check_entry -> preview -> SharedFolder.publish
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tinytorch.base.errors import StateError
from tinytorch.saved.document import parse
from tinytorch.saved.folder import DESCRIPTION, TENSORS
from tinytorch.saved.reading import build_model
from tito.compete.check import check_entry, shown_techniques
from tito.compete.folder import SharedFolder, read_model
from tito.compete.manifest import MANIFEST, Manifest, model_sha256, parse_manifest
from tito.compete.names import id_problem
from tito.compete.plain import opened
from tito.compete.problems import Problem, RefusedError
from tito.compete.rules import Rules
from tito.errors import TitoError
from tito.files import scratch


@dataclass(frozen=True)
class Fields:
    """What a submitter says about an entry.

    `techniques` need only name those that the files do not show, such as "pruned"; the others are added.
    """

    id: str
    track: str
    division: str
    title: str = ""  # the id where it is empty
    authors: list[str] = field(default_factory=list)  # the submitter where it is empty
    licence: str = "not stated"
    techniques: list[str] = field(default_factory=list)
    recipe: str = ""
    parent: str | None = None  # of an open entry; a closed one has the reference


def submit(
    shared: SharedFolder,
    model_folder: Path,
    fields: Fields,
    rules: Rules,
    preview: Callable[[Path], None] | None = None,
) -> Path:
    """Check a model as an entry and publish it, and return where it is.

    Args:
        preview: measures and shows the staged entry before it is published. What it raises stops the submission.

    Raises:
        RefusedError: every problem of the entry; a name that is taken is found before anything is measured.
        TitoError: a folder that cannot be read or written.
    """
    if problem := id_problem(fields.id):
        raise RefusedError([problem])
    with scratch("submit") as folder:
        staged = stage(model_folder, fields, folder / "entry", rules)
        sha256 = model_sha256(*read_model(staged))
        problems = check_entry(staged, fields.id, rules, shared.models(new=sha256))
        if shared.entry_path(fields.id).is_symlink() or shared.entry_path(fields.id).exists():
            problems.insert(0, Problem("taken", fields.id, "", "an entry of this name", "a new name"))
        if problems:
            raise RefusedError(problems)
        if preview:
            preview(staged)
        return shared.publish(staged, fields.id)


def stage(model_folder: Path, fields: Fields, to: Path, rules: Rules) -> Path:
    """Write a model and its manifest into a new private folder, and return it.

    The hash, the techniques that the files show, and the parent of a closed entry are filled in.

    Raises:
        RefusedError: a model file is missing, not plain, or too large; or a field is not valid.
        TitoError: the folder cannot be written.
    """
    description, tensors = read_model(model_folder)
    manifest = _manifest(fields, description, tensors, rules)
    try:
        to.mkdir(mode=0o700, parents=True)
        with opened(to) as folder:
            for name, content in ((DESCRIPTION, description), (TENSORS, tensors), (MANIFEST, manifest.text())):
                folder.write(name, content, 0o600)
    except OSError as error:
        raise TitoError(f"{to}: cannot be written: {error.strerror or error}") from None
    return to


def _manifest(fields: Fields, description: bytes, tensors: bytes, rules: Rules) -> Manifest:
    parent = fields.parent
    if fields.division == "closed" and fields.track in rules.tracks:
        parent = model_sha256(*read_model(rules.reference_folder(fields.track)))
    document = {
        "schema_version": 1,
        "id": fields.id,
        "track": fields.track,
        "division": fields.division,
        "model_sha256": model_sha256(description, tensors),
        "parent": parent,
        "title": fields.title or fields.id,
        "authors": fields.authors or [fields.id.partition("/")[0]],
        "licence": fields.licence,
        "techniques": list(dict.fromkeys([*_shown(description, tensors), *fields.techniques])),
        "recipe": fields.recipe,
    }
    return parse_manifest(json.dumps(document).encode())


def _shown(description: bytes, tensors: bytes) -> list[str]:
    """Return the techniques that the files show; none where no model can be read, which the check reports."""
    try:
        document = parse(description)
        return shown_techniques(document, build_model(document, tensors))
    except StateError:
        return []
