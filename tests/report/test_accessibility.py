"""axe (https://github.com/dequelabs/axe-core) on a page of every kind: no serious and no critical finding.

`nox -s tests` fetches axe-core from npm into build/axe; a test without it is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import in_a_browser
from tests.report.devtools import Tab, browser
from tests.report.samples import write_every_kind

AXE = Path(__file__).parents[2] / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    *in_a_browser,
    pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: `npm install --prefix build/axe axe-core` fetches it"),
]
RUN = """axe.run(document, { resultTypes: ["violations"] }).then(({ violations, passes }) => ({
  passes: passes.length,
  found: violations.map(({ impact, id, nodes }) =>
    `${impact} ${id}: ${nodes.length} times, ${nodes[0].html.slice(0, 160)}; ${nodes[0].failureSummary.slice(0, 300)}`),
}))"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports")
    write_every_kind(path)
    return path


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def findings(tab: Tab) -> list[str]:
    """Return what axe finds on the open page, each with its impact first."""
    tab.evaluate(f"{AXE.read_text('utf-8')}; 0")
    result = tab.evaluate(RUN)
    assert result["passes"]
    return result["found"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_axe_finds_nothing_serious(tab: Tab, folder: Path, scheme: str, width: int) -> None:
    found = {}
    for page in sorted(folder.rglob("*.html")):
        tab.prefer(scheme)
        tab.open(page, width)
        tab.drawn()
        bad = [one for one in findings(tab) if one.startswith(("serious", "critical"))]
        if bad:
            found[page.name] = bad
    assert found == {}


def test_axe_would_find_something(tab: Tab, folder: Path) -> None:
    tab.open(folder / "mine.html")
    tab.evaluate("document.querySelector('main').append(Object.assign(new Image(), { src: 'data:,' }))")
    assert any(one.startswith("critical image-alt") for one in findings(tab))
