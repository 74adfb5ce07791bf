"""The reasons why an entry is refused: a stable code for each, and where the problem is.

`CODES` is the only list of codes. The table in the documentation is generated from it (`codes_table`).
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass

from tito.errors import TitoError

LONGEST = 300  # characters of one part of a problem; what is longer is cut

CODES: dict[str, str] = {
    "name": "A submitter or entry name that is not `[a-z0-9][a-z0-9-]{0,38}`, or that is reserved.",
    "not-plain": "A symbolic link, hard link, pipe, socket, or device where a plain file or folder belongs.",
    "files": "A file that is missing, or one that does not belong to an entry.",
    "too-large": "A file that is larger than the rules allow.",
    "manifest": "A `submission.json` that is not valid JSON, or whose fields are not those of the schema.",
    "version": "A `submission.json` of another schema version.",
    "text": "A text with characters that do not print, or with too many characters.",
    "hash": "A `model_sha256` that is not the hash of the two model files.",
    "model": "A `model.json` that describes no valid model, or whose layers do not fit one another.",
    "tensors": "A `model.safetensors` that is damaged, or whose tensors are not those of `model.json`.",
    "not-finite": "NaN or infinity in a weight or in an output.",
    "task": "A model with other inputs, outputs, vocabulary, or block size than the track's.",
    "cache": "A key-value cache with other settings than the track's.",
    "technique": "A technique that the files show and the manifest does not list, or the reverse.",
    "parent": "A `parent` that is not the SHA-256 of the track's reference.",
    "lineage": "An entry of the closed division with a number that is not the reference's, cast or rounded.",
    "taken": "An entry of this name exists. An entry never changes: choose a new name.",
    "same-model": "The same model was entered under another name.",
    "changed": "An entry that was changed between the check and the copy.",
    "memory": "A model that needs more memory than the limit.",
    "time": "A model that needs more time than the limit.",
    "died": "A measurement whose process died.",
    "answers": "Outputs of the timed calls that are not the model's, alone or in a batch.",
    "repeats": "A repeated input that is answered faster than a new one.",
    "ahead": "A language model whose logits depend on later tokens.",
    "cached": "A key-value cache whose logits or tokens are not those of full recomputation.",
    "unsteady": "A quality that does not repeat in a second process.",
    "seal": "A receipt that this organizer did not seal, or that was edited since.",
}


@dataclass(frozen=True)
class Problem:
    """One reason to refuse an entry. Texts that came with the entry are made printable and cut.

    >>> str(Problem("files", "model.json", "", "nothing", "a file"))
    'files model.json: found nothing, expected a file'
    """

    code: str
    file: str
    field: str
    found: str
    expected: str

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"{self.code!r} is not a code of tito.compete.problems")
        for name in ("file", "field", "found", "expected"):
            object.__setattr__(self, name, _cut(_printable(getattr(self, name))))

    def __str__(self) -> str:
        where = f"{self.file}: {self.field}" if self.field else self.file
        return f"{self.code} {where}: found {self.found}, expected {self.expected}"


class RefusedError(TitoError):
    """An entry that is refused, with every problem that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def shown(value: object) -> str:
    """Show a value from an entry in a few characters, however large or deep it is.

    >>> shown("x" * 500), shown([[[[]]]])
    ("'xxxxxxxxxxxx...xxxxxxxxxxxxx'", '[[[[]]]]')
    """
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"


def codes_table() -> str:
    """Return the documentation's table of all codes, in Markdown."""
    rows = [f"| `{code}` | {meaning} |" for code, meaning in CODES.items()]
    return "\n".join(["| code | meaning |", "|---|---|", *rows]) + "\n"


def _printable(text: str) -> str:
    """Escape whatever does not print; unlike in a path, also spaces other than the usual one."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
