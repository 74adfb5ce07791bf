"""Pages on a server that forbids scripts, as CI servers do for what a build made: every figure is told all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.report.browser import in_a_browser
from tests.report.devtools import Tab, browser
from tests.report.samples import write_every_kind

pytestmark = in_a_browser
# Jenkins' own (https://www.jenkins.io/doc/book/security/configuring-content-security-policy/), and one that
# forbids scripts without a sandbox, in which a browser does not show <noscript>
POLICIES = [
    "sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self';",
    "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'none'",
]
LOOK = """({
  scripted: document.documentElement.className,
  figures: document.querySelectorAll(".is-plot, .is-flame").length,
  told: [...document.querySelectorAll(":is(.is-plot, .is-flame) > .data table")]
    .filter((one) => one.offsetHeight > 0).length,
  bare: [...document.querySelectorAll(".is-plot, .is-flame")].filter((one) => !one.querySelector(".data")).length,
  empty: [...document.querySelectorAll(".drawing")].filter((one) => one.offsetHeight > 0).length,
  styled: getComputedStyle(document.querySelector("main")).maxWidth,
  hidden: [...document.querySelectorAll("main tbody tr")].filter((one) => !one.closest("details") && !one.offsetHeight)
    .length,
})"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files with a policy and logs nothing."""

    def __init__(self, *arguments: Any, policy: str, **more: Any) -> None:
        self.policy = policy
        super().__init__(*arguments, **more)

    def end_headers(self) -> None:
        if self.policy:
            self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports")
    write_every_kind(path)
    return path


@pytest.fixture
def address(folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    handler = partial(Quiet, directory=str(folder), policy=request.param)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def look(tab: Tab) -> dict[str, Any]:
    """Return what the page shows; a world of its own runs scripts where the page may not."""
    frame = tab.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
    world = tab.send("Page.createIsolatedWorld", frameId=frame)["executionContextId"]
    answer = tab.send("Runtime.evaluate", expression=LOOK, contextId=world, returnByValue=True)
    return answer["result"]["value"]


def pages(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*.html")]


@pytest.mark.parametrize("address", POLICIES, indirect=True)
def test_without_scripts_every_figure_is_a_table(folder: Path, address: str, tmp_path: Path) -> None:
    figures = 0
    with browser(tmp_path / "profile") as tab:
        for page in pages(folder):
            tab.open(f"{address}/{page}")
            found = look(tab)
            assert found["scripted"] == "", page
            assert found["styled"] != "none", page
            assert (found["told"], found["empty"], found["bare"], found["hidden"]) == (found["figures"], 0, 0, 0), page
            figures += found["figures"]
    assert figures > 5


@pytest.mark.parametrize("address", [""], indirect=True)
def test_a_server_without_a_policy_serves_figures(folder: Path, address: str, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as tab:
        for page in pages(folder):
            tab.open(f"{address}/{page}")
            tab.drawn()
            assert tab.errors() == [], page
            assert look(tab)["told"] == 0
