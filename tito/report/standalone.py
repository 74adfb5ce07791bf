"""Pages that stand alone: one file with its styles, scripts, and data, to be sent or archived.

They are made from the finished pages of the reports, whichever command wrote these.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Sequence
from pathlib import Path

from tito.bench.entry import Entry, in_order
from tito.files import read_plain
from tito.report import assets
from tito.report.library import href_of
from tito.report.rendering import UNSAFE, write_documents

FOLDER = "standalone"  # in the folder of the reports
MOST_BYTES = 100_000_000  # of a file that a page offers
STYLE = re.compile(r'<link rel="stylesheet" href="(?:\.\./)*assets/([\w.-]+)\?v=\w+">\n')
SCRIPT = re.compile(r'<script defer src="(?:\.\./)*assets/([\w.-]+)\?v=\w+"></script>\n')
PLOTLY = re.compile(r'<meta name="plotly" content="[^"]*">\n')
POLICY = re.compile(r'(<meta http-equiv="Content-Security-Policy" content=")[^"]*')
LINK = re.compile(r'<a\b([^>]*?) href="([^"#:?]+)"([^>]*)>')


def write_standalone(pages: Sequence[Path], reports: Path) -> list[Path]:
    """Write pages of the reports as single files into the folder `standalone`, at the same places below it.

    Raises:
        ReportError: the folder cannot be written.
        OSError: a page cannot be read.
    """
    names = [page.relative_to(reports).as_posix() for page in pages]
    documents = {name: contained((reports / name).read_text("utf-8"), name, names, reports) for name in names}
    return write_documents(documents, reports / FOLDER)


def to_send(runs: Sequence[Entry], reports: Path) -> list[Path]:
    """Return the pages worth sending: those of the newest runs, and all directly in the reports, the index last."""
    newest = {run.suite: run for run in in_order(runs)}
    of_runs = [reports / href_of(run) for _, run in sorted(newest.items())]
    pages = sorted(reports.glob("*.html"), key=lambda page: (page.name == "index.html", page.name))
    return [page for page in (*of_runs, *pages) if page.is_file()]


def contained(page: str, name: str, names: Sequence[str], reports: Path) -> str:
    """Return a page with its styles, scripts, and files inside it.

    Args:
        page: the page.
        name: its place below the reports.
        names: the pages that stand alone; links to others keep their text only.
        reports: the folder of the reports.
    """
    head, body = page.split("</head>", 1)
    styles, scripts = STYLE.findall(head), SCRIPT.findall(head)
    plotly = [assets.text_of(assets.PLOTLY)] if PLOTLY.search(head) else []
    texts = [assets.text_of(script) for script in scripts]
    allowed = " ".join(map(assets.hash_of, [assets.SCRIPTED, *texts, *plotly]))
    head = POLICY.sub(lambda found: found[1] + assets.policy("", allowed), PLOTLY.sub("", head))
    style = "\n".join(map(assets.text_of, styles))
    head = SCRIPT.sub("", STYLE.sub("", head)) + f"<style>\n{style}\n</style>\n"
    files: list[str] = []
    body = LINK.sub(lambda link: _link(link, name, names, reports, files), body)
    ends = [f'<script type="text/plain" id="plotly">{text}</script>\n' for text in plotly]
    ends += [*files, *(f"<script>{text}</script>\n" for text in texts)]
    before, end, after = body.rpartition("</body>")
    return f"{head}</head>{before}{''.join(ends)}{end}{after}"


def _link(link: re.Match[str], name: str, names: Sequence[str], reports: Path, files: list[str]) -> str:
    """Return a link to another page that stands alone, to a file inside this one, or without a target."""
    target = os.path.normpath(Path(name).parent / html.unescape(link[2]))
    if target in names:
        return link[0]
    if "download" in link[1] + link[3]:
        try:
            text = read_plain(reports / target, MOST_BYTES).decode("utf-8").translate(UNSAFE)
        except (OSError, UnicodeDecodeError):
            return f"<a{link[1]}{link[3]}>"
        id = f"file-{len(files) + 1}"
        files.append(f'<script type="application/json" id="{id}">{text}</script>\n')
        return f'<a{link[1]} href="#{id}" data-embedded="{id}"{link[3]}>'
    return f"<a{link[1]}{link[3]}>"
