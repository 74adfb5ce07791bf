"""Records as a pandas DataFrame, for notebooks: `tito.records()`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tito.bench.entry import Entry
from tito.bench.store import Store
from tito.project import find_project
from tito.report.export import FACTS, figures


def load_frame(suite: str = "", reports: str | Path | None = None) -> pd.DataFrame:
    """Return the records in a folder of reports, by default the project's, as `frame` does."""
    folder = find_project().reports if reports is None else Path(reports)
    entries, skipped = Store(folder).entries(suite)
    for line in skipped:
        warnings.warn(line, stacklevel=3)
    return frame(entries)


def frame(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return one row for each run: the facts, then a column for each figure."""
    keys = figures(entries)
    rows = [[*(getattr(entry, name) for name in FACTS), *(entry.figures.get(key) for key in keys)] for entry in entries]
    made = pd.DataFrame(rows, columns=[*FACTS, *keys])
    made["created"] = pd.to_datetime(made["created"], utc=True)
    return made.astype(dict.fromkeys(keys, "float64"))
