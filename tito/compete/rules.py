"""The rules of the competition: a suite like any other, and beside it the facts that a suite cannot state.

suites/2025_competition/suite.yaml, rules.yaml -> load_rules() -> Rules
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from tinytorch.saved.folder import DESCRIPTION, MAX_BYTES, MAX_HEADER, TENSORS
from tito.bench.suite import LoadedSuite
from tito.bench.suites import load_suite
from tito.compete.names import NAME
from tito.compete.problems import shown
from tito.errors import SuiteError
from tito.files import LARGE_BYTES, read_plain
from tito.process.documents import Frozen, expectation, place
from tito.project import Project

FOLDER, FILE = "2025_competition", "rules.yaml"
MANIFEST_BYTES = 65536
TEXT, RECIPE = 80, 4000  # characters
TrackName = Literal["mnist", "cifar10", "tinygpt"]


class EntryFormat(Frozen):
    """The limits of an entry's files: stated by the rules, enforced by the program, and the same in both."""

    name: str
    manifest_bytes: int
    description_bytes: int
    tensors_bytes: int
    text: int
    recipe: int


ENFORCED = EntryFormat(
    name=NAME,
    manifest_bytes=MANIFEST_BYTES,
    description_bytes=MAX_HEADER,
    tensors_bytes=MAX_BYTES,
    text=TEXT,
    recipe=RECIPE,
)


class Track(Frozen):
    """A task, its reference, and what an entry must be like. Images have `input` and `outputs`, texts the rest.

    Attributes:
        reference: the folder of the reference in submissions/reference.
        input: the shape of one image. outputs: the number of classes.
        vocabulary, block: a GPT's sizes. cache_batch, cache_hop: the settings of its key-value cache, if it has one.
        quality: the metric. gate: by how much it may be worse than the reference's.
        quality_case, times_case: the cases of the suite that measure an entry of this track.
    """

    name: TrackName
    title: str
    reference: str = Field(pattern=r"^[a-z0-9_]+$")
    input: list[int] | None = Field(default=None, min_length=1)
    outputs: int | None = Field(default=None, ge=1)
    vocabulary: int | None = Field(default=None, ge=1)
    block: int | None = Field(default=None, ge=1)
    cache_batch: int | None = Field(default=None, ge=1)
    cache_hop: int | None = Field(default=None, ge=1)
    quality: Literal["accuracy", "loss"]
    gate: float = Field(ge=0)
    quality_case: str
    times_case: str

    @model_validator(mode="after")
    def _images_or_texts(self) -> Self:
        images = (self.input, self.outputs)
        texts = (self.vocabulary, self.block, self.cache_batch, self.cache_hop)
        given, left_out = (texts, images) if self.input is None else (images, texts)
        if None in given or any(value is not None for value in left_out):
            raise ValueError("expected input and outputs, or vocabulary, block, cache_batch, and cache_hop")
        return self

    @property
    def is_text(self) -> bool:
        """Whether an entry is a language model."""
        return self.input is None

    def lost(self, own: float, reference: float) -> float:
        """Return by how much an entry's quality is worse than the reference's; negative if it is better."""
        return own - reference if self.quality == "loss" else reference - own


class RulesDocument(Frozen):
    """What rules.yaml holds."""

    entry: EntryFormat
    activation_bytes: int = Field(gt=0)
    tracks: list[Track] = Field(min_length=1)


@dataclass(frozen=True)
class Rules:
    """The suite that measures entries, the tracks by name, and the hash of everything that a rank depends on."""

    loaded: LoadedSuite
    tracks: dict[str, Track]
    activation_bytes: int
    sha256: str

    def reference_folder(self, track: str) -> Path:
        """Return the folder of a track's reference: the repository's own, never one of the shared folder."""
        return reference_folder(self.loaded.folder, self.tracks[track])


def load_rules(project: Project) -> Rules:
    """Read the suite of the competition and the rules beside it.

    The hash covers the suite with its workload, rules.yaml, and the references.

    Raises:
        SuiteError: one line that names the file, the key, and what was expected.
    """
    folder = project.suites / FOLDER
    loaded, content = load_suite(folder), _content(folder / FILE)
    document = read_rules(folder / FILE, content)
    for problem in _contradictions(document, loaded):
        raise SuiteError(f"{folder / FILE}: {problem}")
    digest = hashlib.sha256(loaded.sha256.encode() + content)
    for track in document.tracks:
        for name in (DESCRIPTION, TENSORS):
            digest.update(hashlib.sha256(_content(reference_folder(folder, track) / name)).digest())
    tracks: dict[str, Track] = {track.name: track for track in document.tracks}
    return Rules(loaded, tracks, document.activation_bytes, digest.hexdigest())


def reference_folder(suite_folder: Path, track: Track) -> Path:
    """Return where a track's reference is: in the checkout that the suite belongs to."""
    return suite_folder.resolve().parents[1] / "submissions" / "reference" / track.reference


def read_rules(file: Path, content: bytes) -> RulesDocument:
    """Parse and check rules.yaml on its own.

    Raises:
        SuiteError: it is not as it should be.
    """
    try:
        document: Any = yaml.safe_load(content)
        rules = RulesDocument.model_validate(document, strict=True)
    except (yaml.YAMLError, ValueError) as error:
        raise SuiteError(f"{file}: {_first_line(error)}") from None
    for name, value in ENFORCED:
        if (stated := getattr(rules.entry, name)) != value:
            raise SuiteError(f"{file}: entry.{name}: found {shown(stated)}, expected {value}, as the program enforces")
    names = [track.name for track in rules.tracks]
    if len(set(names)) < len(names):
        raise SuiteError(f"{file}: tracks: {', '.join(names)}: expected each name once")
    return rules


def _contradictions(document: RulesDocument, loaded: LoadedSuite) -> Iterator[str]:
    cases = {case.name for case in loaded.suite.cases}
    for track in document.tracks:
        for key, name in (("quality_case", track.quality_case), ("times_case", track.times_case)):
            if name not in cases:
                yield f"tracks.{track.name}.{key}: {name!r}: expected a case of suite.yaml: {', '.join(sorted(cases))}"


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, place(first)))}: {shown(first['input'])}: {expectation(first)}"
    return " ".join(str(error).split())


def _content(file: Path) -> bytes:
    try:
        return read_plain(file, LARGE_BYTES)
    except OSError as error:
        raise SuiteError(f"{file}: {error.strerror or error}") from None
