"""tito: TinyTorch's command line, benchmark harness, and reports.

import tito
tito.records("mnist")[["created", "commit", "mlp.p50_us"]]
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, which is not imported here: `tito.shadows` must come before it
if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["records"]


def records(suite: str | None = None, reports: str | Path | None = None) -> pd.DataFrame:
    """Return the records of earlier runs as a pandas DataFrame: one row for each run, oldest first.

    The columns are what `tito record list` shows, and one for each figure: `mlp.p50_us`. A run without a figure has
    NaN there. Files that cannot be read are named in a warning.

    Args:
        suite: only the records of this suite.
        reports: the folder of the reports; by default, that of the project that contains the working directory.
    """
    from tito.report.frame import load_frame

    return load_frame(suite or "", reports)
