"""The base class of all documents of the harness, a frozen model; what a wrong one breaks; limits of a child."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails


class Frozen(BaseModel):
    """A document that refuses unknown keys and does not change once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Limits(Frozen):
    """A child process that exceeds one of these is killed, with everything it started."""

    seconds: float = Field(gt=0)
    memory_mb: int = Field(gt=0)
    # Data that the child may allocate after its imports. The system itself refuses more: between two looks at the
    # memory in use, a child could ask for 100 GB.
    data_mb: int | None = Field(default=None, gt=0)


# What Pydantic's errors expect, in words; {ge} and its like are from the error's context.
_EXPECTED: Mapping[str, str] = {
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected keys with values",
    "model_type": "expected keys with values",
    "model_attributes_type": "expected keys with values",
    "finite_number": "expected a finite number",
    "literal_error": "expected {expected}",
    "union_tag_invalid": "expected {discriminator} to be one of {expected_tags}",
    "union_tag_not_found": "expected the key {discriminator}",
    "greater_than_equal": "expected at least {ge}",
    "greater_than": "expected more than {gt}",
    "less_than_equal": "expected at most {le}",
    "less_than": "expected less than {lt}",
    "too_short": "expected a length of at least {min_length}",
    "too_long": "expected a length of at most {max_length}",
    "string_too_short": "expected at least {min_length} characters",
    "string_too_long": "expected at most {max_length} characters",
    "extra_forbidden": "unknown key",
    "missing": "missing",
    "value_error": "{error}",
}
_SCALARS = ("bool", "int", "float", "str")


def expectation(problem: ErrorDetails) -> str:
    """Return what a document's field was expected to be: "expected at least 1", or "missing"."""
    if problem["loc"] != place(problem):
        return "expected a number, text, true or false, or a list of these"
    known = _EXPECTED.get(problem["type"])
    context: dict[str, Any] = problem.get("ctx", {})
    if known is None:
        return problem["msg"].replace("Input should", "expected to")
    # 0 and not 0.0: a bound is written as in the document
    return known.format_map({name: f"{v:g}" if isinstance(v, float) else v for name, v in context.items()})


def place(problem: ErrorDetails) -> tuple[int | str, ...]:
    """Return the keys that lead to a wrong field, without the types that Pydantic tried there."""
    where = problem["loc"]
    for i, part in enumerate(where):
        if part in _SCALARS or (isinstance(part, str) and part.startswith("list[")):
            return where[:i]
    return where
