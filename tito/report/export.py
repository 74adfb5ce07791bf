"""Records as tables for other programs: CSV for a spreadsheet, Markdown for the summary of a CI job."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from tito.bench.entry import Entry
from tito.report import units

FACTS = (
    "id",
    "suite",
    "created",
    "status",
    "quick",
    "altered",
    "noisy",
    "backend",
    "machine",
    "commit",
    "dirty",
    "note",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet evaluates a cell that begins so
ESCAPED = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|~&"} | {"\n": " ", "\r": " "})
COMMIT = 7  # digits


def facts(entry: Entry) -> dict[str, object]:
    """Return what a table says about a run besides its figures."""
    found = {name: getattr(entry, name) for name in FACTS}
    return found | {"created": entry.created.isoformat(timespec="seconds"), "altered": "; ".join(entry.altered)}


def figures(entries: Sequence[Entry], metric: str = "") -> list[str]:
    """Return the keys of all figures of the runs, or of one metric in all cases, in the order of the newest run."""
    keys = dict.fromkeys(key for entry in reversed(entries) for key in entry.figures)
    return [key for key in keys if metric in ("", key, key.partition(".")[2])]


def as_csv(entries: Sequence[Entry], metric: str = "") -> str:
    """Return one line for each run: the facts, then a column for each figure, empty where a run has none."""
    keys = figures(entries, metric)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FACTS, *keys])
    for entry in entries:
        known = [_cell(value) for value in facts(entry).values()]
        writer.writerow([*known, *(entry.figures.get(key, "") for key in keys)])
    return text.getvalue()


def _cell(value: object) -> object:
    """Return a cell that a spreadsheet shows as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else "" if value is None else value


def as_markdown(entries: Sequence[Entry], metric: str = "") -> str:
    """Return one row for each run: when, which commit, the state, one figure; of a single run, all figures."""
    if len(entries) == 1 and not metric:
        return _one(entries[0])
    rows = [[_when(entry), _name(entry), _commit(entry), _state(entry), _figure(entry, metric)] for entry in entries]
    return _table(["date (UTC)", "record", "commit", "status", metric or "figure"], rows)


def _one(entry: Entry) -> str:
    head = f"**{_text(entry.suite)}** {_state(entry)}, {_when(entry)} UTC, commit {_commit(entry)}, {_name(entry)}"
    rows = []
    for key, value in entry.figures.items():
        case, _, name = key.partition(".")
        rows.append([_text(case), _text(name), _text(units.quantity(value, entry.unit_of(name)))])
    return f"{head}\n\n{_table(['case', 'figure', 'value'], rows)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * (len(heads) - 1) + ["---:"], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _when(entry: Entry) -> str:
    return f"{entry.created:%Y-%m-%d %H:%M}"


def _name(entry: Entry) -> str:
    return f"`{entry.id}`" if "`" not in entry.id else _text(entry.id)


def _commit(entry: Entry) -> str:
    return "–" if entry.commit is None else _text(entry.commit[:COMMIT]) + "+" * bool(entry.dirty)


def _state(entry: Entry) -> str:
    marks = {"quick": entry.quick, "altered": bool(entry.altered), "noisy": entry.noisy, "own code": entry.mine}
    return _text(
        ", ".join([entry.status, *(mark for mark, holds in marks.items() if holds), *filter(None, [entry.note])])
    )


def _figure(entry: Entry, metric: str) -> str:
    key = entry.key_of(metric) if metric else entry.first
    if key not in entry.figures:
        return "–"
    name = key.partition(".")[2]
    shown = units.quantity(entry.figures[key], entry.unit_of(name))
    return _text(shown if metric else f"{name} {shown}")


def _text(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return text.replace(units.THIN, " ").translate(ESCAPED)
