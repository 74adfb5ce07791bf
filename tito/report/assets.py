"""The style sheets and scripts of the pages, and how a page includes them.

Pages share their files in the folder `assets` of the reports, so that a page is small. Plotly's script is the one of
the installed package, which has only the full bundle.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tinytorch.base.files import atomic_write
from tito.errors import ReportError

FOLDER = "assets"  # in the folder of the reports
PLOTLY, FIGURES = "plotly.min.js", "figures.js"  # the second loads the first when the page has been painted
TEMPLATES = Path(__file__).parent / "templates"
# Marks a page whose scripts run. Without it, style.css shows the tables that the figures were drawn from: a server
# that forbids scripts by a policy does not make browsers show <noscript>.
SCRIPTED = 'document.documentElement.classList.add("scripted");'


def policy(styles: str, scripts: str) -> str:
    """Return a content security policy with these sources of styles and scripts; nothing else is loaded."""
    return f"default-src 'none'; img-src data:; style-src {styles} 'unsafe-inline'; script-src {scripts}"


def linked_policy() -> str:
    """Return the policy of a page that links its files.

    `file:` is for browsers that do not count a file's neighbors as 'self'; pages from a server may not load files.
    """
    return policy("'self' file:", f"'self' file: {hash_of(SCRIPTED)}")


def address(name: str, place: str) -> str:
    """Return the address of a shared file; the version makes a browser load a changed file again."""
    return f"{place}{FOLDER}/{name}?v={_digest(name)[:8]}"


def write_assets(names: Iterable[str], reports: Path) -> None:
    """Write shared files into the folder of the reports, each one whole; those that are there as they should be stay.

    Raises:
        ReportError: the folder cannot be written.
    """
    folder = reports / FOLDER
    for name in names:
        path, content = folder / name, text_of(name).encode()
        try:
            same = path.is_file() and not path.is_symlink() and path.stat().st_size == len(content)
            if not (same and path.read_bytes() == content):
                atomic_write(path, content)
        except OSError as error:
            raise unwritable(folder, error) from None


def unwritable(folder: Path, error: OSError) -> ReportError:
    """Return the error for a folder of pages that cannot be written."""
    return ReportError(
        f"{folder}: cannot write the report there ({error.strerror or error}); make the folder writable, "
        "free some space, or name another folder"
    )


@cache
def text_of(name: str) -> str:
    """Return the text of a style sheet or script beside the templates, or of Plotly's script."""
    if name == PLOTLY:
        from plotly.offline import get_plotlyjs

        return str(get_plotlyjs())
    return (TEMPLATES / name).read_text("utf-8")


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(text_of(name).encode()).hexdigest()


def hash_of(text: str) -> str:
    """Return a script's hash as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
