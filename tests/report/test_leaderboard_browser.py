"""The leaderboard in headless Chromium: filters, sorting, phones, and text of strangers that stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.compete.crowd import TRACKS, make_standing
from tests.compete.sample import make_ground, make_receipt
from tests.report.browser import browse, in_a_browser, open_to_scripts, widths
from tests.report.test_leaderboard import EVIL
from tito.compete.ranking import Entry, standing
from tito.report.leaderboard import href, write_leaderboard

pytestmark = in_a_browser

# Says after each step what is visible: [[track, division, [[rank, group, entry], ...]], ...]
LOOK = """
<script>
const said = [];
function look() {
  said.push([...document.querySelectorAll(".board:not([hidden])")].map((board) => [
    board.dataset.track, board.dataset.division,
    [...board.querySelectorAll("tbody tr:not([hidden])")].map((row) =>
      [".rank", ".group", ".entry small"].map((cell) => row.querySelector(cell).textContent.split(" ")[0])),
  ]));
}
function choose(name, value) {
  const named = [...document.querySelectorAll(`#filters [name=${name}]`)];
  const field = named.find((one) => one.type !== "radio" || one.value === value);
  if (field.type === "radio") field.checked = true; else field.value = value;
  field.dispatchEvent(new Event("change", { bubbles: true }));
}
addEventListener("load", () => {
  look();
  STEPS
  document.body.append("[said " + JSON.stringify(said) + "]");
});
</script>
"""


def looks(page: Path, profile: Path, *steps: str) -> list[Any]:
    """What is visible at first and after each step."""
    open_to_scripts(page, LOOK.replace("STEPS", "\n".join(f"{step}; look();" for step in steps)))
    dom, console = browse(page, profile)
    assert console == []
    said = re.search(r"\[said (\[.*\])\]\s*</body>", dom, re.DOTALL)
    assert said
    return json.loads(said[1])


def test_ranks_follow_the_criterion_and_headings_sort(tmp_path: Path) -> None:
    receipts = [
        make_receipt("a/fast", seed=1, speedup=4, file_bytes=500, lost=0.005),
        make_receipt("b/small", seed=2, speedup=2, file_bytes=100, lost=0.002),
        make_receipt("c/sharp", seed=3, speedup=1.5, file_bytes=900, lost=-0.006),
        make_receipt("d/empty", seed=4, speedup=9, file_bytes=9, lost=0.4),
    ]
    page = write_leaderboard(standing(receipts, [Entry(one.entry) for one in receipts]), tmp_path, TRACKS)
    click = "document.querySelector('[data-key=\"1\"] button').click()"
    first, size, quality, ascending, descending, again = looks(
        page, tmp_path / "profile", "choose('by', '1')", "choose('by', '2')", click, click, "choose('by', '0')"
    )
    latency = [["1", "1", "a/fast"], ["2", "2", "b/small"], ["3", "3", "c/sharp"], ["–", "", "d/empty"]]
    assert first == [["mnist", "closed", latency]]
    assert size[0][2] == [["1", "1", "b/small"], ["2", "2", "a/fast"], ["3", "3", "c/sharp"], ["–", "", "d/empty"]]
    tied = [["2", "2", "a/fast"], ["2", "2", "b/small"]]
    assert quality[0][2] == [["1", "1", "c/sharp"], *tied, ["4", "3", "d/empty"]]
    assert [row[2] for row in ascending[0][2]] == ["d/empty", "b/small", "a/fast", "c/sharp"]
    assert [row[2] for row in descending[0][2]] == ["c/sharp", "a/fast", "b/small", "d/empty"]
    assert again == first


def test_filters_show_what_they_name_and_nothing_else(tmp_path: Path) -> None:
    made = make_standing(90)
    page = write_leaderboard(made, tmp_path, TRACKS)
    track, division, technique, every = looks(
        page,
        tmp_path / "profile",
        "choose('track', 'cifar10')",
        "choose('division', 'open')",
        "choose('technique', 'int8'); for (const all of document.querySelectorAll('.all')) all.click()",
        "choose('track', ''); choose('division', '')",
    )[1:]
    assert {board[0] for board in track} == {"cifar10"}
    assert [board[:2] for board in division] == [["cifar10", "open"]]
    expected = {
        (board.track, board.division): {row.receipt.entry for row in board.rows if "int8" in row.receipt.techniques}
        for board in made.boards
    }
    assert {row[2] for row in technique[0][2]} == expected["cifar10", "open"] != set()
    found = {(name, part): {row[2] for row in rows} for name, part, rows in every}
    assert found == {key: entries for key, entries in expected.items() if entries}


def test_a_long_table_is_short_until_all_of_it_is_asked_for(tmp_path: Path) -> None:
    receipts = [make_receipt(f"a/e{i}", seed=i, items=64, file_bytes=100 + i) for i in range(30)]
    page = write_leaderboard(standing(receipts, [Entry(one.entry) for one in receipts]), tmp_path, TRACKS)
    first, every = looks(page, tmp_path / "profile", "document.querySelector('.all').click()")
    assert (len(first[0][2]), len(every[0][2])) == (20, 30)


def test_the_marks_are_inside_the_figure_and_lead_to_their_entries(tmp_path: Path) -> None:
    made = make_standing(60)
    dom, console = browse(write_leaderboard(made, tmp_path, TRACKS), tmp_path / "profile")
    assert console == []
    place = r'style="left: ?([\d.]+)%; ?top: ?([\d.]+)%'
    marks = re.findall(r'class="mark [^"]*" (?:href="([^"]*)" |role="img" )' + place, dom)
    assert len(marks) == 60 + len(made.boards)
    assert all(0 <= float(left) <= 100 and 0 <= float(top) <= 100 for _, left, top in marks)
    rows = [row for board in made.boards for row in board.rows]
    assert sorted(link for link, _, _ in marks if link) == sorted(href(row.receipt.entry) for row in rows)
    assert 'class="stairs"' in dom


def test_text_of_strangers_is_shown_and_never_run(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"title": EVIL, "authors": [EVIL], "techniques": [EVIL], "recipe": EVIL, "command": EVIL}
    receipts = [make_receipt("a/a", **changes), make_receipt("a/b", seed=1, age=9, ground=make_ground(numpy=EVIL))]
    entries = [*(Entry(one.entry) for one in receipts), Entry("c/c", problem=EVIL, title=EVIL)]
    page = write_leaderboard(standing(receipts, entries), tmp_path, TRACKS)
    for path in (page, tmp_path / href("a/a"), tmp_path / href("a/b")):
        dom, console = browse(path, tmp_path / "profile")
        assert console == []  # a script or an event handler would be refused there, loudly
        assert "<img" not in dom
        assert "&lt;img src=x onerror=alert(1)&gt;" in dom


@pytest.mark.parametrize("width", [400, 1400])
def test_no_page_is_wider_than_the_window(tmp_path: Path, width: int) -> None:
    long = make_receipt("a" * 39 + "/" + "b" * 39, title="W" * 80, authors=["M" * 80] * 3, techniques=["x" * 60])
    made = make_standing(12)
    page = write_leaderboard(made, tmp_path, TRACKS)
    other = write_leaderboard(standing([long], [Entry(long.entry)]), tmp_path / "long", TRACKS)
    pages = [page, tmp_path / href("eve/cheat-0"), tmp_path / href(made.boards[0].rows[0].receipt.entry)]
    pages += [other, tmp_path / "long" / href(long.entry)]
    assert widths(pages, width, tmp_path / "profile") == [width] * 5
