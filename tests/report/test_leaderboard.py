"""The leaderboard's pages: what they say, and that strangers' texts stay texts; a thousand entries are no burden."""

from __future__ import annotations

import html
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.compete.crowd import TRACKS, make_crowd, make_standing
from tests.compete.sample import make_ground, make_receipt, make_self_test
from tito.compete.ranking import Entry, Standing, standing
from tito.compete.receipt import ProblemText, Ratio, Receipt
from tito.errors import ReportError
from tito.report import rendering, standings, units
from tito.report.leaderboard import file_name, href, write_leaderboard

EVIL = "</script><img src=x onerror=alert(1)><b>bold</b> \u2028 \u202e"


def ranked(*receipts: Receipt) -> Standing:
    return standing(receipts, [Entry(receipt.entry) for receipt in receipts])


def text(path: Path) -> str:
    """A page's visible text, in ordinary spaces."""
    page = re.sub(r"<(script|style)\b.*?</\1>", "", path.read_text("utf-8"), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)).replace(units.THIN, " "))


def written(made: Standing, folder: Path) -> str:
    return text(write_leaderboard(made, folder, TRACKS))


def test_ranked_entries_are_shown_with_their_intervals_gates_and_techniques(tmp_path: Path) -> None:
    made = ranked(
        make_receipt("alice/int8", techniques=["int8", "pruned"]),
        make_receipt("bob/slow", seed=1, speedup=1.5, title="Slow", age=3),
        make_receipt("bob/empty", seed=2, speedup=9, lost=0.4, title="Empty"),
    )
    page = written(made, tmp_path)
    row = made.boards[0].rows[0]
    assert row.receipt.entry == "alice/int8"
    for cell in (standings.ratio(row), standings.quality(row), standings.size(row.receipt)):
        assert f"{cell.value} {cell.detail}".replace(units.THIN, " ") in page
    assert "3 verified 0 refused 0 stale 0 pending" in page
    assert re.search(r"1 1 INT8, calibrated ★ alice/int8 · Alice Example .* 2 2 Slow .* – Empty", page)
    assert "✗" not in page  # marks are the style sheet's
    assert "missed 40.00 points lost" in page
    markup = (tmp_path / "leaderboard.html").read_text("utf-8")
    assert markup.count('class="declared"') == 1  # pruned: the files do not show it


def test_the_sentences_about_test_data_and_the_trademark_are_there(tmp_path: Path) -> None:
    made = ranked(make_receipt("a/open", division="open"), make_receipt("a/closed", seed=1))
    assert standings.PUBLIC in written(made, tmp_path)
    assert standings.TRADEMARK in text(tmp_path / "leaderboard.html")
    assert standings.PUBLIC in text(tmp_path / href("a/open"))
    assert standings.PUBLIC not in text(tmp_path / href("a/closed"))
    assert "MLPerf is a trademark of MLCommons" in text(tmp_path / href("a/closed"))


def test_refused_stale_and_pending_entries_say_why(tmp_path: Path) -> None:
    page = written(make_standing(6), tmp_path)
    assert "6 verified 2 refused 2 stale 2 pending" in page
    assert re.search(
        r"eve/cheat-0 MNIST, closed lineage model\.safetensors: 2\.weight\[3, 14\]: found 0\.25, expected", page
    )
    assert "old/entry-0 INT8, calibrated MNIST, closed NumPy 2.3.1, now 2.4.0; tinytorch changed" in page
    assert "zoe/new Ternary weights MNIST, open Not verified yet" in page
    assert "zoe/broken – Not JSON" in page


def test_the_ground_and_the_self_test_are_shown(tmp_path: Path) -> None:
    page = written(ranked(make_receipt()), tmp_path)
    ground = make_ground()
    for value in (ground.id, ground.backend, ground.kernel, ground.rules_sha256, "Test CPU 9000, 2 cores"):
        assert value in page
    assert "Self-test passed on MNIST" in page
    assert "MNIST tie, 1.002× (0.994–1.009×) slower, 0.910× (0.905–0.916×) 11 processes" in page
    lost = make_self_test().model_copy(update={"same": Ratio(ratio=0.9, low=0.8, high=0.95, verdict="slower")})
    page = written(ranked(make_receipt(self_test=lost)), tmp_path)
    assert "Self-test failed on MNIST" in page


def test_nothing_verified_is_a_page_too(tmp_path: Path) -> None:
    page = written(standing([], [Entry("zoe/new")]), tmp_path)
    assert "No entry is verified yet." in page
    assert "tito verify" in page
    assert "zoe/new" in page


def test_text_of_strangers_is_escaped(tmp_path: Path) -> None:
    problem = ProblemText(code="text", file=EVIL, field=EVIL, found=EVIL, expected=EVIL)
    changes: dict[str, Any] = {
        "title": EVIL,
        "authors": [EVIL],
        "licence": EVIL,
        "techniques": [EVIL],
        "recipe": EVIL,
        "command": EVIL,
    }
    receipts = [
        make_receipt("a/a", **changes),
        make_receipt("a/b", seed=1, status="refused", problems=[problem], times=[], quality=None, **changes),
        make_receipt("a/c", seed=2, age=99, ground=make_ground(numpy=EVIL, backend=EVIL), **changes),
    ]
    entries = [*(Entry(one.entry) for one in receipts), Entry(EVIL, problem=EVIL, title=EVIL, track=EVIL)]
    write_leaderboard(standing(receipts, entries), tmp_path, {"mnist": EVIL})
    pages = [tmp_path / "leaderboard.html", *(tmp_path / "leaderboard").glob("*.html")]
    assert len(pages) == 4
    for path in pages:
        page = path.read_text("utf-8")
        assert "<img" not in page
        assert "<b>bold" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;" in page
        assert page.count("<script>") == 1
        assert page.count("</script>") == 1 + page.count("<script defer ")


@pytest.mark.parametrize("entry", ["../../etc/passwd", "a/../b", "a", "A/b", "a/b/c", EVIL])
def test_no_entry_s_name_leads_out_of_the_folder(entry: str, tmp_path: Path) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}\.html", file_name(entry))
    write_leaderboard(ranked(make_receipt(entry)), tmp_path)
    assert [path.name for path in (tmp_path / "leaderboard").glob("*.html")] == [file_name(entry)]


def test_a_page_runs_its_own_script_only_and_loads_nothing(tmp_path: Path) -> None:
    write_leaderboard(make_standing(6), tmp_path, TRACKS)
    for path in (tmp_path / "leaderboard.html", tmp_path / href("eve/cheat-0")):
        page = path.read_text("utf-8")
        allowed = re.search(r"script-src ([^\"]*)", page)
        assert allowed
        assert allowed[1].count("sha256-") == page.count("<script>") == 1
        assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)


def test_links_between_the_pages_lead_to_pages(tmp_path: Path) -> None:
    write_leaderboard(make_standing(12), tmp_path, TRACKS)
    links = set(re.findall(r'href="([^"#]+\.html)"', (tmp_path / "leaderboard.html").read_text("utf-8")))
    assert len(links) == 1 + 12 + 2 + 2
    assert [link for link in links if not (tmp_path / link).is_file()] == ["index.html"]
    for path in (tmp_path / "leaderboard").glob("*.html"):
        (back,) = re.findall(r'href="([^"#]+\.html)"', path.read_text("utf-8"))
        assert (path.parent / back).resolve() == tmp_path / "leaderboard.html"


def test_pages_of_entries_that_are_gone_are_removed_and_others_left_as_they_are(tmp_path: Path) -> None:
    first = [make_receipt("a/a"), make_receipt("b/b", seed=1, division="open")]
    write_leaderboard(ranked(*first), tmp_path)
    kept, gone = tmp_path / href("a/a"), tmp_path / href("b/b")
    before = kept.stat().st_mtime_ns
    time.sleep(0.02)
    write_leaderboard(ranked(make_receipt("a/a"), make_receipt("c/c", seed=2, division="open")), tmp_path)
    assert kept.stat().st_mtime_ns == before
    assert not gone.exists()
    assert (tmp_path / href("c/c")).is_file()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(rendering, "atomic_write", refuse)
        with pytest.raises(ReportError, match="No space left on device"):
            write_leaderboard(ranked(make_receipt()), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot write the report"):
        write_leaderboard(ranked(make_receipt()), tmp_path / "file")


def test_a_thousand_entries_are_ranked_and_written_in_ten_seconds_and_six_megabytes(tmp_path: Path) -> None:
    """Processor time: the machine may be busy with others."""
    receipts = make_crowd(1000)
    entries = [Entry(receipt.entry) for receipt in receipts]
    start = time.process_time()
    path = write_leaderboard(standing(receipts, entries), tmp_path, TRACKS)
    assert time.process_time() - start < 10
    assert path.stat().st_size < 6_000_000
    assert len(list((tmp_path / "leaderboard").glob("*.html"))) == 1000
    assert len(list((tmp_path / "leaderboard").glob("*.json"))) == 1000
    assert path.read_text("utf-8").count("<tr data-t=") == 1000
    assert max(page.stat().st_size for page in (tmp_path / "leaderboard").iterdir()) < 100_000
