"""tito.compete.manifest: a submission.json from a stranger is a manifest, or every problem with its code and field."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tito.compete.manifest import MANIFEST, Manifest, manifest_schema, model_sha256, parse_manifest
from tito.compete.problems import Problem, RefusedError

GOOD: dict[str, Any] = {
    "schema_version": 1,
    "id": "alice/int8",
    "track": "mnist",
    "division": "closed",
    "model_sha256": "a" * 64,
    "parent": "b" * 64,
    "title": "INT8, größer und näher",
    "authors": ["Alice", "Bob"],
    "licence": "MIT",
    "techniques": ["int8", "calibrated"],
    "recipe": "two lines\nof text",
}


def refused(content: bytes | dict[str, Any]) -> tuple[Problem, ...]:
    with pytest.raises(RefusedError) as caught:
        parse_manifest(content if isinstance(content, bytes) else json.dumps(content).encode())
    assert all(problem.file == MANIFEST for problem in caught.value.problems)
    assert all("\n" not in str(problem) for problem in caught.value.problems)
    return caught.value.problems


def test_a_good_manifest_survives_being_written() -> None:
    manifest = parse_manifest(json.dumps(GOOD).encode())
    assert manifest.model_dump() == GOOD
    assert parse_manifest(manifest.text()) == manifest


@pytest.mark.parametrize("parent", [None, "0" * 64])
def test_an_open_entry_may_name_a_parent_or_none(parent: str | None) -> None:
    assert parse_manifest(json.dumps(GOOD | {"division": "open", "parent": parent}).encode()).parent == parent


@pytest.mark.parametrize(
    ("field", "value", "code", "where", "found"),
    [
        ("schema_version", 2, "version", "schema_version", "2"),
        ("schema_version", 0, "version", "schema_version", "0"),
        ("schema_version", True, "manifest", "schema_version", "True"),
        ("schema_version", 1.0, "manifest", "schema_version", "1.0"),
        ("id", "alice", "name", "id", "'alice'"),
        ("id", "alice/int8/x", "name", "id", "'alice/int8/x'"),
        ("id", "../int8", "name", "id", "'..'"),
        ("id", "/etc/passwd", "name", "id", "'/etc/passwd'"),
        ("id", "Alice/int8", "name", "id", "'Alice'"),
        ("id", "alice/int8\n", "name", "id", "'int8\\n'"),
        ("id", "аlice/int8", "name", "id", "'аlice'"),  # a Cyrillic а
        ("id", "alice/" + "x" * 40, "name", "id", "'xxx"),
        ("id", "con/int8", "name", "id", "'con'"),
        ("id", "alice/receipts", "name", "id", "'receipts'"),
        ("id", 5, "manifest", "id", "5"),
        ("track", "imagenet", "manifest", "track", "'imagenet'"),
        ("division", "both", "manifest", "division", "'both'"),
        ("model_sha256", "A" * 64, "manifest", "model_sha256", "'AAA"),
        ("model_sha256", "a" * 63, "manifest", "model_sha256", "'aaa"),
        ("parent", 7, "manifest", "parent", "7"),
        ("title", "", "text", "title", "0 characters"),
        ("title", "   ", "text", "title", "nothing that can be seen"),
        ("title", "x" * 81, "text", "title", "81 characters"),
        ("title", "\x1b[2J", "text", "title", "'\\x1b' at character 0"),
        ("title", "a\tb", "text", "title", "'\\t' at character 1"),
        ("title", "a\nb", "text", "title", "'\\n' at character 1"),
        ("title", "evil\u202etxt", "text", "title", "'\\u202e' at character 4"),
        ("title", "a\u200bb", "text", "title", "'\\u200b' at character 1"),
        ("title", "a\u2028b", "text", "title", "'\\u2028' at character 1"),
        ("title", "\ud800", "text", "title", "half of a surrogate pair"),
        ("authors", [], "manifest", "authors", "[]"),
        ("authors", ["A"] * 21, "manifest", "authors", "["),
        ("authors", ["A", "b\x07"], "text", "authors[1]", "'\\x07' at character 1"),
        ("licence", None, "manifest", "licence", "None"),
        ("techniques", ["magic"], "manifest", "techniques[0]", "'magic'"),
        ("techniques", ["int8", "int8"], "manifest", "techniques", "int8 twice"),
        ("recipe", "a\x00", "text", "recipe", "'\\x00' at character 1"),
        ("recipe", "x" * 4001, "text", "recipe", "4001 characters"),
        ("speedup", 99, "manifest", "speedup", "an unknown field"),
    ],
)
def test_a_bad_field_is_named_with_its_code(field: str, value: Any, code: str, where: str, found: str) -> None:
    (problem,) = refused(GOOD | {field: value})
    assert (problem.code, problem.field) == (code, where)
    assert problem.found.startswith(found)


@pytest.mark.parametrize(
    ("content", "code", "found"),
    [
        (b"", "manifest", "other text (Expecting value"),
        (b"[]", "manifest", "[]"),
        (b'{"id": ', "manifest", "other text (Expecting value"),
        (b"\xff\xfe{}", "manifest", "other text ('utf-8' codec"),
        (b"\xef\xbb\xbf{}", "manifest", "other text (Unexpected UTF-8 BOM"),
        (b'{"id": NaN}', "manifest", "other text (NaN"),
        (b'{"id": -Infinity}', "manifest", "other text (-Infinity"),
        (b'{"id": 1e999}', "manifest", "other text (the number '1e999'"),
        (b'{"id": 1, "id": 2}', "manifest", "other text (key 'id' twice"),
        (b'{"a": {"id": 1, "id": 2}}', "manifest", "other text (key 'id' twice"),
        (b'{"id": ' + b"9" * 5000 + b"}", "manifest", "other text (a number of 5000 digits"),
        (b"[" * 60_000, "manifest", "too many brackets"),
        (b'{"id":' * 10_000 + b"1" + b"}" * 10_000, "too-large", "70001 bytes"),
        (b'{"id":' * 9_000 + b"1" + b"}" * 9_000, "manifest", "too many brackets"),
        (b'{"id":' * 9 + b"1" + b"}" * 9, "manifest", "too many brackets"),
        (b" " * 65_537, "too-large", "65537 bytes"),
    ],
    ids=range(16),
)
def test_text_that_is_no_manifest(content: bytes, code: str, found: str) -> None:
    (problem,) = refused(content)
    assert problem.code == code
    assert problem.found.startswith(found)


def test_all_problems_are_reported_at_once() -> None:
    problems = refused({key: value for key, value in GOOD.items() if key != "licence"} | {"title": "", "extra": 1})
    assert {(problem.code, problem.field) for problem in problems} == {
        ("text", "title"),
        ("manifest", "licence"),
        ("manifest", "extra"),
    }


def test_a_newer_schema_is_not_measured_by_this_one() -> None:
    (problem,) = refused(GOOD | {"schema_version": 2, "carbon": 1, "title": "x" * 200})
    assert str(problem) == "version submission.json: schema_version: found 2, expected 1; a newer tito may read it"


def test_ten_thousand_unknown_fields_are_reported_in_twenty_lines() -> None:
    assert len(refused(GOOD | {f"f{i}": 0 for i in range(5000)})) == 20


def test_nested_values_in_a_field_are_shown_in_a_few_characters() -> None:
    (problem,) = refused(GOOD | {"licence": [[[[[["x" * 1000] * 50]]]]]})
    assert (problem.code, problem.field) == ("manifest", "licence")
    assert len(problem.found) < 250  # of 50,000 characters


def test_brackets_in_a_text_are_not_nested() -> None:
    recipe = '[{"' * 300 + "\\"
    assert parse_manifest(json.dumps(GOOD | {"recipe": recipe}).encode()).recipe == recipe


def test_the_hash_of_a_model_is_that_of_its_two_files_hashes() -> None:
    parts = hashlib.sha256(b"one").digest() + hashlib.sha256(b"two").digest()
    assert model_sha256(b"one", b"two") == hashlib.sha256(parts).hexdigest()
    assert model_sha256(b"on", b"etwo") != model_sha256(b"one", b"two")


def test_the_schema_describes_a_manifest() -> None:
    schema = manifest_schema()
    assert set(schema["properties"]) == set(schema["required"]) == set(Manifest.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["track"]["enum"] == ["mnist", "cifar10", "tinygpt"]
