"""`tito submit | check | verify | leaderboard`: what they print, their exit codes, and what they leave alone.

Commands run in this process, with rounds that measure nothing (`tests.compete.measuring`).
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.cli.running import make_root, tito
from tests.compete.competition import small_model
from tests.compete.measuring import BACKEND, KERNEL, Organizer, organizer_at
from tinytorch.saved import save_model
from tito import data
from tito.cli import app as cli
from tito.cli import compete as module
from tito.compete import preview, verify
from tito.compete.ledger import sealed_receipts
from tito.compete.seal import organizer_key


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    made = organizer_at(tmp_path, monkeypatch)
    monkeypatch.setattr(module, "project", lambda: made.project)
    monkeypatch.setattr(data, "fetch", lambda name, say: None)
    for place in (verify, preview):
        monkeypatch.setattr(place, "choose_kernel", lambda: KERNEL)
        monkeypatch.setattr(place, "choose_backend", lambda: BACKEND)
    monkeypatch.setenv("TITO_SUBMISSIONS", str(made.folder))
    return made


def run(*arguments: object) -> Any:
    """One command; an error that `main` prints is left as it is raised."""
    return CliRunner().invoke(cli.app, list(map(str, arguments)), catch_exceptions=True)


def model(folder: Path, seed: int = 7) -> Path:
    save_model(small_model("mnist", seed), folder)
    return folder


def submit(tmp_path: Path, *more: object, name: str = "alice/small", seed: int = 7) -> Any:
    folder = model(tmp_path / f"model-{seed}", seed)
    return run("submit", folder, "--track", "mnist", "--division", "open", "--as", name, *more)


# ---- submit


def test_a_model_is_measured_next_to_the_reference_and_published(organizer: Organizer, tmp_path: Path) -> None:
    done = submit(tmp_path, "--title", "Tiny", "--author", "A", "--author", "B", "--technique", "pruned")
    assert done.exit_code == 0, done.output
    assert [row for row in done.stdout.splitlines() if row.split()[:1] == ["p50"]]
    assert "it ranks nothing" in done.stdout
    assert done.stdout.splitlines()[-1] == f"alice/small is published: {organizer.folder / 'alice' / 'small'}"
    manifest = json.loads((organizer.folder / "alice" / "small" / "submission.json").read_text())
    assert (manifest["title"], manifest["authors"], manifest["techniques"]) == ("Tiny", ["A", "B"], ["pruned"])
    assert len(organizer.rounds.asked) == 2
    assert organizer.shared.receipts() == []


def test_without_a_measurement_nothing_is_measured(organizer: Organizer, tmp_path: Path) -> None:
    assert submit(tmp_path, "--no-measure").exit_code == 0
    assert organizer.rounds.asked == []
    assert [entry.id for entry in organizer.shared.entries()] == ["alice/small"]


def test_a_refused_model_is_not_published_and_every_problem_is_one_line(organizer: Organizer, tmp_path: Path) -> None:
    assert submit(tmp_path, "--no-measure").exit_code == 0
    done = submit(tmp_path, "--no-measure", seed=8)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "tito: taken alice/small: found an entry of this name, expected a new name\n"
    done = submit(tmp_path, "--no-measure", name="bob/copy")
    assert done.stderr.startswith("tito: same-model ")
    done = submit(tmp_path, "--no-measure", name="../bob")
    assert done.stderr.startswith("tito: name ")
    assert [entry.id for entry in organizer.shared.entries()] == ["alice/small"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["submit"], "Missing argument 'MODEL'"),
        (
            ["submit", "m", "--track", "chess", "--division", "open", "--as", "a/b"],
            "expected one of mnist, cifar10, tinygpt",
        ),
        (["submit", "m", "--track", "mnist", "--division", "half", "--as", "a/b"], "expected one of closed, open"),
        (["verify", "--shard", "3"], "--shard '3': expected I/N"),
        (["verify", "--shard", "4/3"], "expected I from 1 to N"),
        (["verify", "--rounds", "0"], "--rounds"),
        (["leaderboard", "chess"], "expected one of mnist, cifar10, tinygpt"),
        (["leaderboard", "--plan", "0"], "--plan"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments_end_with_2(arguments: list[str], complaint: str, organizer: Organizer) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert complaint in " ".join(done.stderr.split())
    assert not organizer.folder.exists()


# ---- check


def test_every_problem_is_printed_and_the_exit_code_is_1(organizer: Organizer, tmp_path: Path) -> None:
    organizer.enter("alice/good")
    organizer.enter("bob/bad", title="\x1b[2J", licence="x" * 99)
    done = run("check")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert sum(line.startswith("bob/bad: text submission.json: ") for line in lines) == 2
    assert lines[-1] == "checked 2, with problems 1"
    assert "\x1b" not in done.output


def test_one_entry_is_checked_by_its_name_or_its_path(organizer: Organizer) -> None:
    path = organizer.enter("alice/good")
    organizer.enter("bob/bad", title="")
    for named in ("alice/good", path, os.path.relpath(path)):
        done = run("check", named)
        assert (done.exit_code, done.stdout) == (0, "checked 1, with problems 0\n")
    done = run("check", "bob/bad", "alice/good")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (1, "checked 2, with problems 1")


def test_a_folder_outside_is_checked_as_it_would_be_entered(organizer: Organizer, tmp_path: Path) -> None:
    organizer.enter("alice/good")
    other = shutil.copytree(organizer.folder / "alice" / "good", tmp_path / "mine")
    done = run("check", other)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "checked 1, with problems 0")
    (other / "extra.txt").write_text("")
    done = run("check", other)
    assert done.stdout.startswith("mine: files extra.txt: ")


def test_what_is_no_entry_is_a_problem_and_an_empty_folder_is_none(organizer: Organizer) -> None:
    assert run("check").stdout == f"{organizer.folder}: no entries\n"
    organizer.enter("alice/good")
    (organizer.folder / "BOB").mkdir()
    done = run("check")
    assert done.exit_code == 1
    assert done.stdout.startswith("name BOB: ")


def test_the_schema_is_json(organizer: Organizer) -> None:
    schema = json.loads(run("check", "--schema").stdout)
    assert set(schema["required"]) >= {"id", "track", "division", "model_sha256"}


# ---- verify and leaderboard


def test_entries_are_verified_and_ranked(organizer: Organizer) -> None:
    organizer.enter("alice/fast", "speedup=2.0 lost=0.005", title="Fast")
    organizer.enter("bob/slow", "speedup=0.5", title="Slow")
    organizer.enter("carol/bad", "fails=times code=answers message=they_differ")
    done = run("verify")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "verified 2, refused 1, self-test tied"
    assert any(line.startswith("carol/bad: answers ") for line in done.stdout.splitlines())
    assert "alice/fast: mnist, round" in done.stderr
    assert run("verify").stdout == "nothing to do: every entry has a receipt of this ground\n"
    shown = run("leaderboard")
    assert shown.exit_code == 0
    rows = [line.split()[:3] for line in shown.stdout.splitlines()]
    assert ["1", "1", "alice/fast"] in rows
    assert ["2", "2", "bob/slow"] in rows
    assert "verified 2, refused 1, stale 0, pending 0" in shown.stdout
    assert "answers" in shown.stdout
    document = json.loads(run("leaderboard", "mnist", "--json").stdout)
    (board,) = document["boards"]
    assert [row["entry"] for row in board["entries"]] == ["alice/fast", "bob/slow"]
    assert board["entries"][0]["ranks"]["latency"] == {"rank": 1, "group": 1}
    assert board["entries"][0]["speedup"] == pytest.approx(2, rel=0.02)
    assert json.loads(run("leaderboard", "cifar10", "--json").stdout)["boards"] == []
    assert not organizer.project.reports.exists()


def test_only_named_entries_and_only_one_part_are_verified(organizer: Organizer) -> None:
    for name in "abcdef":
        organizer.enter(f"alice/{name}")
    assert run("verify", "alice/a", organizer.folder / "alice" / "b").stdout.startswith("verified 2,")
    first, second = (run("verify", "--shard", f"{i}/2").stdout for i in (1, 2))
    counts = [int(text.split()[1].rstrip(",")) if text.startswith("verified") else 0 for text in (first, second)]
    assert sum(counts) == 4
    assert run("verify", "alice/a", "--again").stdout.startswith("verified 1,")
    unknown = run("verify", "alice/unknown")
    assert unknown.exit_code == 1
    assert "no entry 'alice/unknown'" in str(unknown.exception)


def test_a_failed_self_test_is_exit_code_1_and_no_receipt(organizer: Organizer) -> None:
    organizer.enter("alice/fast")
    organizer.rounds.bias = 1.3
    done = run("verify")
    assert done.exit_code == 1
    assert "self-test failed: mnist, before the entries: " in done.stdout
    assert done.stdout.endswith("; run the command again when nothing else uses this machine\n")
    assert organizer.shared.receipts() == []


def test_the_self_test_alone_measures_every_track_and_no_entry(organizer: Organizer) -> None:
    organizer.enter("alice/fast")
    done = run("verify", "--self-test", "--rounds", "11")
    assert done.exit_code == 0, done.output
    for track in ("mnist", "cifar10", "tinygpt"):
        assert f"{track}: the reference against itself tie" in done.stdout
    assert {recipe for _, recipe, _, _ in organizer.rounds.asked} == {""}
    assert len(organizer.rounds.asked) == 3 * 2 * 11
    organizer.rounds.slow_shows = False
    done = run("verify", "--self-test")
    assert done.exit_code == 1
    assert "failed" in done.stdout
    assert organizer.shared.receipts() == []


def test_a_receipt_of_someone_else_counts_for_nothing_and_is_named(organizer: Organizer) -> None:
    organizer.enter("alice/fast", "speedup=2.0")
    run("verify")
    (path,) = organizer.shared.receipts()
    document = json.loads(path.read_text())
    document["times"][0]["own"]["p50_us"] = 0.001
    path.write_text(json.dumps(document))
    shown = run("leaderboard")
    assert shown.exit_code == 0
    assert "tito: seal " in shown.stderr
    assert "verified 0, refused 0, stale 0, pending 1" in shown.stdout


def test_the_page_is_written_and_linked_from_the_index(organizer: Organizer) -> None:
    organizer.enter("alice/fast", "speedup=2.0")
    run("verify")
    done = run("leaderboard", "--html")
    page = organizer.project.reports / "leaderboard.html"
    assert done.stdout.splitlines()[-2].strip() == f"leaderboard: {page}"
    assert "alice/fast" in page.read_text("utf-8")
    assert (organizer.project.reports / "leaderboard" / "alice.fast.html").is_file()
    assert 'href="leaderboard.html"' in (organizer.project.reports / "index.html").read_text("utf-8")


def test_pending_entries_say_why(organizer: Organizer) -> None:
    organizer.enter("alice/fast", "speedup=2.0")
    run("verify")
    organizer.enter("alice/fast", "speedup=2.0", title="Another title")
    organizer.enter("bob/new")
    shown = run("leaderboard", "--pending").stdout
    assert "the manifest changed after it was verified" in shown
    assert "not verified yet" in shown


def test_the_plan_is_reckoned_from_receipts(organizer: Organizer) -> None:
    failed = run("leaderboard", "--plan", "10000")
    assert failed.exit_code == 1
    assert "no receipt of a measured entry yet" in str(failed.exception)
    organizer.enter("alice/fast")
    run("verify")
    shown = run("leaderboard", "--plan", "10000").stdout
    for words in ("entries a day", "10 000", "hosts", "storage", "self-tests"):
        assert words in shown


def test_reading_the_leaderboard_makes_no_key(organizer: Organizer, tmp_path: Path) -> None:
    organizer.enter("alice/fast")
    assert run("leaderboard").exit_code == 0
    assert organizer_key(organizer.folder, make=False) is None
    assert sealed_receipts(organizer.shared, None) == ([], [])


# ---- as processes


def test_an_error_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    root = make_root(tmp_path)  # without the competition's suite
    for command in (["check"], ["verify"], ["leaderboard"]):
        done = tito(root, *command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("tito: ")
        assert done.stderr.count("\n") == 1


def test_help_names_the_shared_folder() -> None:
    for command in ("submit", "check", "verify", "leaderboard"):
        shown: Any = run(command, "--help")
        assert shown.exit_code == 0
        assert "TITO_SUBMISSIONS" in shown.stdout
