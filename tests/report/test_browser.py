"""Pages in headless Chromium: every figure is drawn, the console stays empty, text from records stays text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.report.browser import browse, in_a_browser, widths
from tests.report.sample import make_case, make_profile, make_provenance, make_record, picture
from tito.bench.record import (
    Bars,
    Confusion,
    Heatmaps,
    Lines,
    Omission,
    Pictures,
    Points,
    Record,
    Series,
    Stacks,
    Table,
    Texts,
)
from tito.bench.suite import Metric
from tito.report.pages import write_pages

EVIL = "</script><img src=x onerror=alert(1)><b>bold</b> %{x} \u2028"
pytestmark = in_a_browser


def drawings(dom: str) -> list[str]:
    """The part of the page that each figure's box fills."""
    return [part.split('<script type="application/json">')[0] for part in dom.split('<div class="drawing')[1:]]


def assert_all_drawn(dom: str, expected: int) -> None:
    boxes = drawings(dom)
    assert len(boxes) == expected
    for box in boxes:
        label = re.search(r'aria-label="([^"]*)"', box)
        assert 'class="main-svg"' in box, label
        marks = re.search(r'class="(?:trace |point|hm|heatmaplayer|slice|contour|js-line|scatterlayer)', box)
        assert marks, label


def test_every_figure_is_drawn_and_the_console_is_empty(tmp_path: Path) -> None:
    records = [make_record(number=number) for number in range(2)]
    page = write_pages(records, tmp_path)[1]
    dom, console = browse(page, tmp_path / "profile")
    assert console == []
    assert_all_drawn(dom, expected=page.read_text("utf-8").count('<div class="drawing'))
    assert len(drawings(dom)) == 15
    assert "<b>matmul</b> tensor.py:140" in dom
    assert dom.count('<img src="data:image/png;base64,') == 20 + 8 + 8 + 1


def test_many_cases_and_seeds_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    cases = [make_case(rng, seeds=2, name="perceptron"), make_case(rng, seeds=100, name="hidden", solved=True)]
    page = write_pages([make_record(cases=cases)], tmp_path)[0]
    dom, console = browse(page, tmp_path / "profile")
    assert console == []
    assert_all_drawn(dom, expected=page.read_text("utf-8").count('<div class="drawing'))


def test_index_and_failed_page_open_without_complaint(tmp_path: Path) -> None:
    failed = make_record(status="failed", reason="killed", cases=[], profile=None)
    for page in write_pages([failed], tmp_path):
        dom, console = browse(page, tmp_path / "profile")
        assert console == []
        assert "killed" in dom


def test_text_from_a_record_is_shown_and_never_run(tmp_path: Path) -> None:
    _, page, summary, index = write_pages([evil_record(0), evil_record(1)], tmp_path)
    # In figures too the text stands as written: axes, legends, bars, a phase.
    figures = Elements()
    figures.feed(browse(page, tmp_path / "profile")[0])
    assert sum("<b>bold</b>" in text for text in figures.drawn) >= 7  # the seventh is the unit beside the history
    for path in (page, summary, index):
        dom, console = browse(path, tmp_path / "profile")
        assert console == []  # a script or an event handler would be refused there, loudly
        elements = Elements()
        elements.feed(dom)
        assert ("img", "x") not in elements.sources
        assert "<b>bold" not in dom
        assert not [name for name in elements.attributes if name.startswith("on")]
        assert "&lt;img src=x onerror=alert(1)&gt;" in dom
        assert_all_drawn(dom, expected=path.read_text("utf-8").count('<div class="drawing'))


class Elements(HTMLParser):
    """The tags, attributes and sources of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.sources: set[tuple[str, str | None]] = set()
        self.drawn: list[str] = []  # texts of drawings
        self._drawing = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._drawing += tag == "svg"
        self.attributes |= {name for name, _ in attrs}
        self.sources |= {(tag, value) for name, value in attrs if name == "src"}

    def handle_endtag(self, tag: str) -> None:
        self._drawing -= tag == "svg"

    def handle_data(self, data: str) -> None:
        if self._drawing:
            self.drawn.append(data)


def evil_record(number: int) -> Record:
    """A record whose every free text tries to be markup."""
    rng = np.random.default_rng(0)
    exhibits = [
        Lines(
            title=EVIL,
            x_title=EVIL,
            y_title=EVIL,
            series=[Series(name=EVIL + name, x=[1, 2], y=[1, 2]) for name in "ab"],
        ),
        Confusion(title=EVIL, classes=[EVIL, "b"], counts=[[1, 2], [3, 4]]),
        Pictures(title=EVIL, pictures=[picture(EVIL, [[0, 255]])]),
        Points(title=EVIL, x=[0, 1], y=[0, 1], label=[0, 1]),
        Heatmaps(title=EVIL, x_title=EVIL, y_title=EVIL, names=[EVIL], matrices=[[[0, 1]]]),
        Bars(title=EVIL, y_title=EVIL, names=[EVIL], groups={EVIL: [1], "b": [2]}),
        Texts(title=EVIL, texts=[(EVIL, EVIL)]),
        Table(title=EVIL, columns=[EVIL], rows=[[EVIL]]),
    ]
    case = make_case(rng)
    curve = [{"epoch": 1.0, EVIL: 1.0}, {"epoch": 2.0, EVIL: 2.0}]
    run = case.runs[0].model_copy(update={"exhibits": exhibits, "curve": curve})
    profile = make_profile(rng)
    assert profile.memory
    phase = profile.memory.phases[2].model_copy(update={"name": EVIL})
    memory = profile.memory.model_copy(update={"phases": [phase]})
    stacks = Stacks(tool="py-spy", rate_hz=100, seconds=1, collapsed=[("a;" + EVIL, 3), ("a;b", 2)])
    return make_record(
        number=number,
        metrics={"accuracy": Metric(title=EVIL, unit=EVIL)},
        title=EVIL,
        story=EVIL,
        reason=EVIL,
        status="gate missed",
        cases=[case.model_copy(update={"title": EVIL, "note": EVIL, "runs": [run, *case.runs[1:]]})],
        profile=profile.model_copy(update={"memory": memory, "stacks": stacks}),
        omitted=[Omission(what=EVIL, why=EVIL)],
        provenance=make_provenance(EVIL).model_copy(update={"command": EVIL, "environment": {EVIL: EVIL}}),
    )


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_window(tmp_path: Path, width: int) -> None:
    rng = np.random.default_rng(0)
    records = [make_record(number=n, cases=[make_case(rng), make_case(rng, name="wide")]) for n in range(2)]
    assert widths(write_pages(records, tmp_path), width, tmp_path / "profile") == [width] * 4
