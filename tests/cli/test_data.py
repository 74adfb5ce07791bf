"""`tito data`: what is in the cache, what is missing, and what is corrupt."""

from __future__ import annotations

from pathlib import Path

from tests.cli.running import tito


def test_data_sets_are_listed_with_what_is_missing(root: Path) -> None:
    done = tito(root, "data", "list")
    assert done.returncode == 0
    for name in ("mnist", "cifar10", "shakespeare"):
        assert any(name in line and " no " in line for line in done.stdout.splitlines())


def test_an_unknown_data_set_names_the_known_ones(root: Path) -> None:
    done = tito(root, "data", "fetch", "imagenet")
    assert done.returncode == 2
    assert done.stderr.startswith("tito: no data set is named 'imagenet'; available: mnist")


def test_a_corrupt_data_file_is_found(root: Path) -> None:
    assert tito(root, "data", "verify").returncode == 0  # nothing there is nothing wrong
    folder = root / "data" / "shakespeare"
    folder.mkdir(parents=True)
    (folder / "shakespeare.txt").write_text("Now is the summer")
    done = tito(root, "data", "verify")
    assert done.returncode == 1
    assert "corrupt" in done.stdout
    assert "tito data fetch shakespeare" in done.stderr
