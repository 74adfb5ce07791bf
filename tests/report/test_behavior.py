"""What pages do in a browser: sort, save, scroll, search, print, and all of it without a mouse."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.report.browser import in_a_browser
from tests.report.devtools import Tab, browser
from tests.report.sample import make_record
from tests.report.samples import write_every_kind
from tito.report.pages import write_pages
from tito.report.standalone import write_standalone

pytestmark = in_a_browser
SAVED = "window.saved = []; tito.save = (name, text, type) => saved.push([name, text, type]);"
PRESS = """(async () => {
  for (const button of document.querySelectorAll(".tools button")) {
    if (button.textContent === LABEL) button.click();
  }
  for (let i = 0; i < 200 && saved.length < COUNT; i++) await new Promise((done) => setTimeout(done, 20));
  return saved;
})()"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports")
    write_every_kind(path)
    return path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(shared: Tab) -> Tab:
    shared.prefer("light")
    return shared


def suite_page(folder: Path) -> Path:
    """The page with the most figures."""
    return max(
        (path for path in folder.rglob("*.html") if "lessons" not in path.parts), key=lambda path: path.stat().st_size
    )


def saved(tab: Tab, label: str) -> list[tuple[str, str, str]]:
    """Press every button of this name and return the files that they save: names, texts, and types."""
    tab.evaluate(SAVED)
    count = tab.evaluate(
        f"[...document.querySelectorAll('.tools button')].filter((one) => one.textContent === '{label}').length"
    )
    files = tab.evaluate(PRESS.replace("LABEL", json.dumps(label)).replace("COUNT", str(count)))
    assert len(files) == count > 0
    return [(name, text, kind) for name, text, kind in files]


def test_every_figure_and_table_saves_its_data(tab: Tab, folder: Path) -> None:
    tab.open(suite_page(folder))
    tab.drawn()
    figures = tab.evaluate("document.querySelectorAll('.is-plot, .is-flame, .is-table, .is-images').length")
    files = saved(tab, "CSV")
    assert len(files) >= figures
    for name, text, kind in files:
        assert name.endswith(".csv")
        assert kind == "text/csv"
        rows = list(csv.reader(io.StringIO(text)))
        assert len(rows) > 1
        assert len({len(row) for row in rows}) == 1, name
    curves = next(list(csv.reader(io.StringIO(text))) for name, text, _ in files if "loss-by-epoch" in name)
    assert curves[0] == ["series", "epoch", "loss"]
    assert {row[0] for row in curves[1:]} == {f"{k}, seed {n}" for k in ("train", "validation") for n in (1, 2, 3)}
    assert all(float(row[2]) > 0 for row in curves[1:])
    pictures = next(list(csv.reader(io.StringIO(text))) for name, text, _ in files if "worst-mistakes" in name)
    assert pictures[0] == ["picture", "row", "column", "value"]
    assert len(pictures) == 1 + 20 * 28 * 28
    heat = next(list(csv.reader(io.StringIO(text))) for name, text, _ in files if "attention" in name)
    assert all(0 <= float(row[3]) <= 1 for row in heat[1:])


def test_every_drawing_is_saved_as_a_picture_on_white(tab: Tab, folder: Path) -> None:
    for page in (suite_page(folder), folder / "leaderboard.html"):
        tab.prefer("dark")
        tab.open(page)
        tab.drawn()
        drawings = tab.evaluate("document.querySelectorAll('.drawing, .flame, .chart, .images').length")
        files = saved(tab, "SVG")
        assert len(files) == drawings
        for name, text, kind in files:
            assert name.endswith(".svg")
            assert kind == "image/svg+xml"
            assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
            assert "#e7e8ea" not in text
            assert "rgb(231, 232, 234)" not in text  # the dark page's text


def test_heads_sort_by_key_with_units_and_say_so(tab: Tab, folder: Path) -> None:
    page = folder / "sorting.html"
    text = (folder / "mine.html").read_text("utf-8")
    start, end = text.index("</header>") + len("</header>"), text.index("</main>")
    rows = [("a", "1.5\u202fms"), ("b", "900\u202fµs"), ("c", "–"), ("d", "2\u202fs"), ("e", "0.5\u202fms")]
    body = "".join(f"<tr><td>{name}</td><td>{time}</td></tr>" for name, time in rows)
    body = body.replace("</tr>", '</tr><tr class="remark"><td colspan="2"><p>below a</p></td></tr>', 1)
    head = "<thead><tr><th>name</th><th>time</th></tr></thead>"
    table = f"<section><h2>T</h2><table>{head}<tbody>{body}</tbody></table></section>"
    page.write_text(text[:start] + table + text[end:], "utf-8")
    tab.open(page)
    look = "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[0].textContent)"
    head = "[...document.querySelectorAll('th')].map((head) => head.getAttribute('aria-sort'))"
    tab.evaluate("document.querySelectorAll('th button')[1].focus()")
    tab.press("Enter")
    assert tab.evaluate(look) == ["e", "b", "a", "below a", "d", "c"]  # the remark follows its row, the empty is last
    assert tab.evaluate(head) == ["none", "ascending"]
    tab.press("Enter")
    assert tab.evaluate(look) == ["d", "a", "below a", "b", "e", "c"]
    assert tab.evaluate(head) == ["none", "descending"]
    assert saved(tab, "CSV")[0][1].splitlines() == ["name,time [s]", "d,2", "a,0.0015", "b,0.0009", "e,0.0005", "c,"]


def test_a_formula_in_a_text_is_not_one_in_a_spreadsheet(tab: Tab, folder: Path) -> None:
    tab.open(folder / "mine.html")
    made = tab.evaluate(
        'tito.csv([["=1+1", "-5", -5, "@x", "a,b", \'say "x"\'], ["+cmd", "\\u2212", "é", "", 1e-7, "l\\nm"]])'
    )
    assert made == '\'=1+1,-5,-5,\'@x,"a,b","say ""x"""\r\n\'+cmd,−,é,,1e-7,"l\nm"\r\n'


@pytest.mark.parametrize("width", [400, 900])
def test_wide_tables_scroll_by_key_and_keep_their_first_column(tab: Tab, folder: Path, width: int) -> None:
    wide = 0
    for page in folder.rglob("*.html"):
        tab.open(page, width)
        tab.drawn()
        regions = tab.evaluate("""[...document.querySelectorAll(".scroll")]
        .filter((one) => one.offsetParent).map((one) => {
          const wide = one.scrollWidth > one.clientWidth + 1, tall = one.scrollHeight > one.clientHeight + 1;
          const first = one.querySelector(".ranks .entry") || one.querySelector("tbody td");
          const before = first.getBoundingClientRect().left - one.getBoundingClientRect().left;
          one.scrollLeft = 1000;
          const after = first.getBoundingClientRect().left - one.getBoundingClientRect().left;
          const [role, label] = ["role", "aria-label"].map((name) => one.getAttribute(name));
          return { wide, tall, index: one.tabIndex, role, label, before, after };
        })""")
        for one in regions:
            scrolls = one["wide"] or one["tall"]
            assert (one["index"], one["role"]) == ((0, "region") if scrolls else (-1, None)), (page.name, one)
            assert one["label"] or not scrolls
            if one["wide"]:
                wide += 1
                assert 0 <= one["after"] <= one["before"] + 1, (page.name, one)
        assert tab.evaluate("document.documentElement.scrollWidth") == width, page.name
    assert wide


def test_the_flame_graph_is_searched_and_enlarged_by_keys(tab: Tab, folder: Path) -> None:
    tab.open(suite_page(folder))
    tab.evaluate("""(() => {
      const field = document.querySelector(".search input");
      field.value = "matmul";
      field.dispatchEvent(new Event("input"));
    })()""")
    hits = tab.evaluate(
        "[...document.querySelectorAll('.flame .hit')].map((box) => box.querySelector('b').textContent)"
    )
    assert hits
    assert set(hits) == {"matmul"}
    assert tab.evaluate("document.querySelector('.search output').textContent").startswith(f"{len(hits)} box")
    tab.evaluate("document.querySelector('.flame [tabindex=\"0\"]').focus()")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        tab.press(key)
    chosen = "document.activeElement.getAttribute('aria-level') + ' ' + document.activeElement.style.width"
    assert tab.evaluate(chosen) == "3 100%"
    assert tab.evaluate("[...document.querySelectorAll('.flame [tabindex=\"0\"]')].length") == 1
    shown = "[...document.querySelectorAll('.flame [role=treeitem]')].filter((box) => !box.hidden).length"
    few = tab.evaluate(shown)
    tab.press("Escape")
    assert tab.evaluate(shown) > few


def test_print_is_light_open_and_whole(tab: Tab, folder: Path) -> None:
    for page in folder.rglob("*.html"):
        tab.prefer("dark")
        tab.open(page, 1400)
        tab.drawn()
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        tab.prefer("dark", media="print")
        tab.send("Emulation.setDeviceMetricsOverride", width=1032, height=720, deviceScaleFactor=1, mobile=False)
        state = tab.evaluate("""({
          folded: document.querySelectorAll("details:not([open])").length,
          page: getComputedStyle(document.body).backgroundColor,
          text: [...document.querySelectorAll(".drawing .xtick text")].map((one) => one.style.fill),
          cut: [...document.querySelectorAll("main *:not(svg *)")].filter((one) => {
            const { overflowX } = getComputedStyle(one);
            return overflowX !== "visible" && one.scrollWidth > one.clientWidth + 1 && !one.closest(".flame");
          }).map((one) => one.outerHTML.slice(0, 200)),
          width: document.documentElement.scrollWidth,
        })""")
        assert state["folded"] == 0
        assert state["page"] == "rgb(255, 255, 255)"
        assert set(state["text"]) <= {"rgb(27, 29, 33)"}, page.name
        assert state["cut"] == [], page.name
        assert state["width"] <= 1032, page.name


def test_after_print_the_page_is_as_before(tab: Tab, folder: Path) -> None:
    tab.open(suite_page(folder))
    tab.drawn()
    look = """[document.documentElement.className, document.querySelectorAll("details[open]").length,
      document.querySelector(".drawing").clientWidth]"""
    before = tab.evaluate(look)
    tab.evaluate("dispatchEvent(new Event('beforeprint')); dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(look) == before


def test_a_single_file_draws_its_figures(tab: Tab, tmp_path: Path) -> None:
    pages = write_pages([make_record()], tmp_path)
    page = max(write_standalone(pages, tmp_path), key=lambda path: path.stat().st_size)
    tab.open(page)
    tab.drawn()
    assert tab.evaluate("document.querySelectorAll('.drawing.drawn').length") > 5
    assert tab.errors() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_complains(tab: Tab, folder: Path, scheme: str) -> None:
    for page in folder.rglob("*.html"):
        tab.prefer(scheme)
        tab.open(page)
        tab.drawn()
        assert tab.errors() == [], page.name


def test_keys_reach_everything_that_does_something(tab: Tab, folder: Path) -> None:
    tab.open(suite_page(folder))
    tab.drawn()
    reachable: list[Any] = (
        tab.evaluate("""[...document.querySelectorAll("main button, main summary, main input, main a[href]")]
      .filter((one) => one.offsetParent && one.tabIndex < 0).map((one) => one.outerHTML)""")
    )
    assert reachable == []
