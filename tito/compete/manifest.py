"""The manifest of an entry, submission.json: who entered what, in which track and division. It holds no figures.

    {"schema_version": 1, "id": "alice/int8", "track": "mnist", "division": "closed", "model_sha256": "...",
     "parent": "...", "title": "INT8, calibrated", "authors": ["Alice"], "licence": "MIT", "techniques": ["int8"],
     "recipe": "quantize_static on 2,048 training images"}

It comes from strangers: it is bounded before it is parsed, and every text in it is checked before it is shown.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from typing import Annotated, Any, Literal, NoReturn, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from tito.compete.names import NAME, id_problem
from tito.compete.problems import Problem, RefusedError, shown
from tito.compete.rules import MANIFEST_BYTES, RECIPE, TEXT, TrackName
from tito.process.documents import Frozen

MANIFEST = "submission.json"
SCHEMA_VERSION = 1
DEPTH = 8  # of brackets; a manifest has two. Python's own limit differs from version to version
DIGITS = 20  # of a number; no field needs more
SHOWN = ("int8", "bf16", "fp16", "sparse", "cache")  # the files show whether these were used
Technique = Literal[
    "int8", "bf16", "fp16", "sparse", "cache",
    "calibrated", "quantization-aware", "folded", "pruned", "structured", "distilled", "retrained", "new-architecture",
    "mixed-precision", "other",
]  # fmt: skip
Division = Literal["closed", "open"]


def _plain(text: str, more: str = "") -> str:
    """Refuse what a terminal could obey, what a reader cannot see, and what changes the order of other letters."""
    for i, sign in enumerate(text):
        if not sign.isprintable() and sign not in more:
            raise PydanticCustomError("text", "{at}", {"at": f"{sign!a} at character {i}"})
    if not text.strip():
        raise PydanticCustomError("text", "{at}", {"at": "nothing that can be seen"})
    return text


def _plain_lines(text: str) -> str:
    return _plain(text, more="\n") if text else text


def _whole(value: Any) -> Any:
    if type(value) is not int:  # to Python, True and 1.0 equal 1
        raise PydanticCustomError("version", "Input should be 1")
    return value


def _unreserved(id: str) -> str:
    if id_problem(id):
        raise PydanticCustomError("reserved", "reserved")
    return id


def _once(values: list[str]) -> list[str]:
    for value, count in Counter(values).items():
        if count > 1:
            raise PydanticCustomError("twice", "{value} twice", {"value": value})
    return values


Text = Annotated[str, Field(min_length=1, max_length=TEXT), AfterValidator(_plain)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Frozen):
    """What submission.json holds."""

    schema_version: Annotated[Literal[1], BeforeValidator(_whole)]
    id: Annotated[str, Field(pattern=rf"^{NAME}/{NAME}$", description="submitter/entry"), AfterValidator(_unreserved)]
    track: TrackName
    division: Division
    model_sha256: Sha256 = Field(description="SHA-256 of the SHA-256 of model.json and that of model.safetensors")
    parent: Sha256 | None = Field(description="in the closed division: the reference's model_sha256")
    title: Text
    authors: Annotated[list[Text], Field(min_length=1, max_length=20)]
    licence: Text
    techniques: Annotated[list[Technique], Field(max_length=len(get_args(Technique))), AfterValidator(_once)]
    recipe: Annotated[str, Field(max_length=RECIPE), AfterValidator(_plain_lines)]

    def text(self) -> bytes:
        """Return the content of submission.json."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def model_sha256(description: bytes, tensors: bytes) -> str:
    """Return the hash that names a model: SHA-256 of the two files' SHA-256 (32 bytes each)."""
    parts = (hashlib.sha256(content).digest() for content in (description, tensors))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest."""
    return Manifest.model_json_schema()


def parse_manifest(content: bytes) -> Manifest:
    """Check a submission.json.

    Raises:
        RefusedError: all of its problems.
    """
    if len(content) > MANIFEST_BYTES:
        raise RefusedError([too_large(MANIFEST, len(content), MANIFEST_BYTES)])
    document = _json(content)
    version = document.get("schema_version")
    if type(version) is int and version != SCHEMA_VERSION:
        expected = f"{SCHEMA_VERSION}; a newer tito may read it" if version > SCHEMA_VERSION else str(SCHEMA_VERSION)
        raise RefusedError([Problem("version", MANIFEST, "schema_version", str(version), expected)])
    try:
        return Manifest.model_validate(document, strict=True)
    except ValidationError as error:
        raise RefusedError(_problem(details) for details in error.errors()[:20]) from None


def too_large(file: str, size: int, limit: int) -> Problem:
    """Return the problem of a file that exceeds its limit."""
    return Problem("too-large", file, "", f"{size} bytes", f"at most {limit}")


def _json(content: bytes) -> dict[str, Any]:
    """Parse an object; refuse keys that come twice, NaN, infinity, long numbers, and what is nested too deeply."""
    try:
        text = content.decode("utf-8")
        if _depth(text) > DEPTH:
            raise RecursionError
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse,
            parse_int=_integer,
            parse_float=_float,
        )
    except (ValueError, RecursionError) as error:
        found = "too many brackets" if isinstance(error, RecursionError) else f"other text ({error})"
        raise RefusedError([Problem("manifest", MANIFEST, "", found, "one JSON object in UTF-8")]) from None
    if not isinstance(document, dict):
        raise RefusedError([Problem("manifest", MANIFEST, "", shown(document), "one JSON object in UTF-8")])
    return document


def _depth(text: str) -> int:
    """Return how deeply brackets are nested, those in strings left out."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[{}\]]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"key {shown(key)} twice")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > 2 * DIGITS or not math.isfinite(float(digits)):
        raise ValueError(f"the number {shown(digits)}")
    return float(digits)


def _problem(details: ErrorDetails) -> Problem:
    """Return what pydantic found as a problem with its code."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in details["loc"]).lstrip(".")
    kind, given, about = details["type"], details["input"], details.get("ctx", {})
    if kind == "missing":
        return Problem("manifest", MANIFEST, where, "nothing", "this field")
    if kind == "extra_forbidden":
        return Problem("manifest", MANIFEST, where, "an unknown field", ", ".join(Manifest.model_fields))
    if where == "id" and isinstance(given, str):
        return id_problem(given, MANIFEST) or Problem("name", MANIFEST, where, shown(given), f"{NAME}/{NAME}")
    if kind == "text":
        return Problem("text", MANIFEST, where, str(about["at"]), "characters that print")
    if kind == "string_unicode":
        return Problem("text", MANIFEST, where, "half of a surrogate pair", "characters that print")
    if kind in ("string_too_long", "string_too_short"):
        most = RECIPE if where == "recipe" else TEXT
        return Problem("text", MANIFEST, where, f"{len(given)} characters", f"1 to {most}")
    if kind == "twice":
        return Problem("manifest", MANIFEST, where, details["msg"], "each technique once")
    if kind == "string_pattern_mismatch":
        return Problem("manifest", MANIFEST, where, shown(given), "64 hexadecimal digits in lower case")
    expected = re.sub(r"^.*?should (be|have|match) ", "", details["msg"])
    return Problem("manifest", MANIFEST, where, shown(given), expected)
