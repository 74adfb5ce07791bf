"""How a record is named on the command line: by its id, by its end (`xor-e51518`), or by its suite (`xor`, `xor~1`)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from tito.bench.entry import Entry
from tito.errors import UnknownRecordError, did_you_mean

_ID = re.compile(r"\d{8}T\d{6}Z-(?P<short>[a-z0-9_]+-[0-9a-f]{6})")
_BEFORE = re.compile(r"(?P<suite>[a-z0-9_]+)~(?P<count>\d{1,6})")
RECENT = 200  # records that a suggestion is looked for in


def short_names(entries: Sequence[Entry]) -> list[str]:
    """Return the shortest name of each record: the end of its id, or the whole id if two end alike."""
    shown = [_short(entry.id) for entry in entries]
    count = Counter(shown)
    return [name if count[name] == 1 else entry.id for name, entry in zip(shown, entries, strict=True)]


def _short(id: str) -> str:
    found = _ID.fullmatch(id)
    return found["short"] if found else id


def find_entry(
    name: str, entries: Sequence[Entry], suites: Collection[str] = (), typed: Callable[[str], str] = str
) -> Entry:
    """Return the record that is meant.

    Args:
        name: an id, the unique end of one, a suite for its newest record, or `suite~N` for the N-th before it.
        entries: all records, oldest first.
        suites: the suites that exist, with or without records.
        typed: returns how a command of tito is typed here.

    Raises:
        UnknownRecordError: there is none, or there are several; the message says what to type.
    """
    exact = [entry for entry in entries if entry.id == name]
    found = exact or [entry for entry in entries if _short(entry.id) == name]
    if len(found) == 1 or exact:
        return found[-1]
    if found:
        raise UnknownRecordError(f"{name}: {len(found)} records end so: {', '.join(entry.id for entry in found[:5])}")
    back = _BEFORE.fullmatch(name)
    suite, count = (back["suite"], int(back["count"])) if back else (name, 0)
    own = [entry for entry in entries if entry.suite == suite]
    if count < len(own):
        return own[-1 - count]
    if own:
        raise UnknownRecordError(
            f"{name}: there are {len(own)} records of {suite}; the oldest is {suite}~{len(own) - 1}"
        )
    if suite in suites:
        raise UnknownRecordError(f"no record of {suite} yet; {typed(f'tito suite run {suite}')} makes one")
    near = [_short(entry.id) for entry in entries[-RECENT:]]
    hint = did_you_mean(name, [*suites, *near, *(entry.id for entry in entries[-RECENT:])])
    raise UnknownRecordError(f"no record or suite {name!r}{hint}; tito record list lists the records")
