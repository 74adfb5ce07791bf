"""The link checker finds what is broken, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def tool(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("check_links")


def site(folder: Path, body: str) -> Path:
    (folder / "api").mkdir()
    (folder / "index.html").write_text(f"<h1 id=top>Start</h1>{body}")
    (folder / "api" / "index.html").write_text('<h2 id="forward()">x</h2><a name=old></a>')
    (folder / "picture.png").touch()
    return folder


GOOD = [
    '<a href="api/index.html">x</a>',
    '<a href="api/">x</a>',
    '<a href="/api/index.html#old">x</a>',
    '<a href="api/index.html#forward%28%29">x</a>',
    '<a href="#top">x</a>',
    '<a href="">x</a>',
    '<img src="picture.png">',
    '<img src="data:image/png;base64,AA==">',
    '<a href="https://arxiv.org/abs/1512.03385#S1">x</a>',
    '<a href="mailto:someone@example.org">x</a>',
]
BROKEN = {
    '<a href="nowhere.html">x</a>': "index.html: nowhere.html: no such file",
    '<a href="api/index.html#new">x</a>': "index.html: api/index.html#new: no place new there",
    '<a href="#bottom">x</a>': "index.html: #bottom: no place bottom there",
    '<a href="../secret.html">x</a>': "index.html: ../secret.html: leads out of the site",
    '<img src="lost.png">': "index.html: lost.png: no such file",
    '<a href="https://">x</a>': "index.html: https://: not a complete address",
    '<a href="https://localhost">x</a>': "index.html: https://localhost: not a complete address",
    '<a href="javascript:alert(1)">x</a>': (
        "index.html: javascript:alert(1): expected http, https, mailto, or a path, not javascript"
    ),
    '<script src="https://example.org/x.js"></script>': (
        "index.html: loads https://example.org/x.js from another host"
    ),
    '<link rel="stylesheet" href="//example.org/x.css">': "index.html: loads //example.org/x.css from another host",
}


@pytest.mark.parametrize("body", GOOD)
def test_a_good_link_is_no_problem(tool: ModuleType, tmp_path: Path, body: str) -> None:
    assert list(tool.problems(site(tmp_path, body))) == []


@pytest.mark.parametrize("body", BROKEN)
def test_a_broken_link_is_one_line(tool: ModuleType, tmp_path: Path, body: str) -> None:
    assert list(tool.problems(site(tmp_path, body))) == [BROKEN[body]]
