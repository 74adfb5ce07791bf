"""Is a folder an entry? Everything that can be found without running the model.

All problems of the folder, the manifest, and the rules are reported at once, and the first one of the model files. An
entry is read once, through no link and never more than its limits; what is checked is what was read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinytorch.base.errors import StateError
from tinytorch.layers import Module
from tinytorch.saved.document import Document, parse
from tinytorch.saved.folder import DESCRIPTION, TENSORS
from tinytorch.saved.reading import build_model
from tito.compete.folder import LIMITS, read_model
from tito.compete.lineage import check_lineage
from tito.compete.manifest import MANIFEST, SHOWN, Manifest, model_sha256, parse_manifest
from tito.compete.plain import opened, survey
from tito.compete.problems import Problem, RefusedError
from tito.compete.rules import Rules, Track
from tito.compete.shapes import shape_problem

SPARSE = 0.5  # share of zeros in the weights of at least two dimensions from which on a model counts as sparse
_MESSAGE = re.compile(r"^(?:(?P<field>[^:]*?)(?: is |: ))?(?P<found>.*?):? expected (?P<expected>.*)$", re.DOTALL)


@dataclass(frozen=True)
class Checked:
    """What a check found. `manifest` and `model` are None where they cannot be read.

    `shown` are the techniques that the model files show.
    """

    problems: list[Problem]
    manifest: Manifest | None
    model: Module | None
    shown: list[str]


def check_entry(path: Path, id: str | None, rules: Rules, others: Mapping[str, str]) -> list[Problem]:
    """Return everything that is wrong with an entry; an empty list if it may be measured.

    Args:
        id: what its name must be; None for an entry that is not in the shared folder, whose manifest names it.
        others: the entry that holds a model, by the model's hash (see `SharedFolder.models`).
    """
    return inspect(path, id, rules, others).problems


def inspect(path: Path, id: str | None, rules: Rules, others: Mapping[str, str]) -> Checked:
    """Check an entry as `check_entry` does, and return what was read as well."""
    try:
        files, problems = _files(path, id)
    except RefusedError as error:
        return Checked(list(error.problems), None, None, [])
    except OSError as error:
        return Checked([Problem("files", path.name, "", error.strerror or str(error), "a folder")], None, None, [])
    manifest: Manifest | None = None
    if MANIFEST in files:
        try:
            manifest = parse_manifest(files[MANIFEST])
        except RefusedError as error:
            problems += error.problems
    if manifest and id is not None and manifest.id != id:
        problems.append(Problem("manifest", MANIFEST, "id", manifest.id, id))
    if DESCRIPTION not in files or TENSORS not in files:
        return Checked(problems, manifest, None, [])
    sha256 = model_sha256(files[DESCRIPTION], files[TENSORS])
    track = rules.tracks.get(manifest.track) if manifest else None
    if manifest:
        problems += _identity(manifest, sha256, rules, others)
    document, model, problem = _model(files[DESCRIPTION], files[TENSORS], track, rules.activation_bytes)
    if problem:
        problems.append(problem)
    if document and track:
        problems += _cache(document, track)
    shown = shown_techniques(document, model) if document and model else []
    if manifest and model:
        problems += _techniques(manifest, shown)
    if manifest and model and not problem and manifest.division == "closed" and track:
        problems += check_lineage(model, _reference(rules, manifest.track)[0])
    return Checked(problems, manifest, model, shown)


def shown_techniques(document: Document, model: Module) -> list[str]:
    """Return those of the techniques in `manifest.SHOWN` that the files show."""
    arrays = [tensor.data for _, tensor in model.named_tensors()]
    dtypes = {array.dtype.name for array in arrays}
    weights = [array for array in arrays if array.ndim > 1]
    zeros = sum(array.size - int(np.count_nonzero(array)) for array in weights)
    found = {
        "int8": "int8" in dtypes,
        "bf16": "bfloat16" in dtypes,
        "fp16": "float16" in dtypes,
        "sparse": bool(weights) and zeros >= SPARSE * sum(array.size for array in weights),
        "cache": document.cache is not None,
    }
    return [name for name in SHOWN if found[name]]


def _files(path: Path, id: str | None) -> tuple[dict[str, bytes], list[Problem]]:
    """Read the files. Where the path ends with the id, the submitter's folder must not be a link either."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 (`resolve` would follow links); "." has a name then
    names = list(path.parts[-2:]) if id is not None and id == "/".join(path.parts[-2:]) else [path.name]
    with opened(path.parents[len(names) - 1], *names) as folder:
        return survey(folder, LIMITS)


def _identity(manifest: Manifest, sha256: str, rules: Rules, others: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with the hashes in a manifest."""
    if manifest.track not in rules.tracks:
        yield Problem("manifest", MANIFEST, "track", manifest.track, ", ".join(rules.tracks))
        return
    if manifest.model_sha256 != sha256:
        yield Problem("hash", MANIFEST, "model_sha256", manifest.model_sha256, f"{sha256}, as the files are")
    holder = others.get(sha256, manifest.id)
    if holder != manifest.id:
        yield Problem("same-model", f"{DESCRIPTION}, {TENSORS}", "", f"the model of {holder}", "another model")
    if manifest.division == "closed":
        expected = _reference(rules, manifest.track)[1]
        if manifest.parent != expected:
            yield Problem("parent", MANIFEST, "parent", str(manifest.parent), f"{expected}, the reference's")


def _reference(rules: Rules, track: str) -> tuple[Module, str]:
    """Return a track's reference and its hash."""
    description, tensors = read_model(rules.reference_folder(track))
    return build_model(parse(description), tensors), model_sha256(description, tensors)


def _model(
    description: bytes, tensors: bytes, track: Track | None, most_bytes: int
) -> tuple[Document | None, Module | None, Problem | None]:
    """Read the model as far as possible, and return the first problem of its files."""
    try:
        document = parse(description)
    except StateError as error:
        message = str(error)
        return None, None, _in_parts("cache" if message.startswith("cache") else "model", DESCRIPTION, message)
    problem = shape_problem(document.root, track, most_bytes) if track else None
    try:
        model = build_model(document, tensors)
    except StateError as error:
        return document, None, problem or _in_parts("tensors", TENSORS, str(error))
    return document, model, problem or _not_finite(model)


def _not_finite(model: Module) -> Problem | None:
    for name, tensor in model.named_tensors():
        if tensor.data.dtype.kind not in "iub" and not np.isfinite(tensor.data).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(tensor.data))[0])
            return Problem("not-finite", TENSORS, f"{name}{list(place)}", str(tensor.data[place]), "a finite number")
    return None


def _in_parts(code: str, file: str, message: str) -> Problem:
    """Return the one line of the saved format as a problem: where, what was found, and what was expected."""
    code = "too-large" if re.search(r"bytes.*expected at most|limit of \d+ bytes", message) else code
    parts = _MESSAGE.match(message)
    if parts is None:
        field, _, found = message.rpartition(": ")
        return Problem(code, file, field, found, "what save_model writes")
    return Problem(code, file, parts["field"] or "", parts["found"], parts["expected"])


def _cache(document: Document, track: Track) -> Iterator[Problem]:
    if document.cache is None:
        return
    for key, expected in (("batch_size", track.cache_batch), ("hop", track.cache_hop)):
        if expected is not None and document.cache[key] != expected:
            yield Problem("cache", DESCRIPTION, f"cache.{key}", str(document.cache[key]), str(expected))


def _techniques(manifest: Manifest, shown: list[str]) -> Iterator[Problem]:
    """Yield the techniques that either the files or the manifest leave out."""
    for name in SHOWN:
        if name in shown and name not in manifest.techniques:
            yield Problem("technique", MANIFEST, "techniques", f"no {name}", f"{name}, as the model files show")
        if name in manifest.techniques and name not in shown:
            yield Problem("technique", MANIFEST, "techniques", name, f"no {name}, as the model files show none")
