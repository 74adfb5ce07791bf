"""The site's pages: every file of tinytorch and every lesson has one, and links lead from page to page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("site_pages")


@pytest.fixture(scope="module")
def pages(tool: ModuleType) -> list[Any]:
    return tool.made_pages()


def test_every_file_of_tinytorch_and_every_lesson_has_a_page(pages: list[Any]) -> None:
    sources = {page.source for page in pages}
    files = [
        *(ROOT / "tinytorch").rglob("*.py"),
        *(ROOT / "modules").glob("*/lesson.md"),
        *(ROOT / "docs").glob("*.md"),
    ]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= sources


def test_each_page_has_a_place_of_its_own(pages: list[Any]) -> None:
    uris = [page.uri for page in pages]
    assert len(set(uris)) == len(uris)


def test_no_file_links_to_one_that_is_not_there(tool: ModuleType, pages: list[Any]) -> None:
    homes = tool.homes_of(pages)
    for page in pages:
        tool.relinked(page, homes)
        for found in tool.LINK.finditer("".join(tool.FENCED.split(page.text)[::2])):
            if page.source != "modules/README.md":  # the list of modules is of no file
                assert (ROOT / page.source).parent.joinpath(found[1]).exists(), f"{page.source}: {found[1]}"


LINKS = {
    "[a](docs/guide.md)": "[a](../guide.md)",
    "[a](docs/guide.md#part)": "[a](../guide.md#part)",
    "[a](tinytorch/tensor.py)": "[a](../api/tensor.md)",
    "![a](docs/report.png)": "![a](../report.png)",
    "![a](modules/03_activations/activations.svg)": "![a](../lessons/03_activations/activations.svg)",
    "[a](#here) [b](https://example.org/x.md)": "[a](#here) [b](https://example.org/x.md)",
    "```python\n[a](docs/guide.md)\n```": "```python\n[a](docs/guide.md)\n```",
}


@pytest.mark.parametrize("text", LINKS)
def test_a_link_to_a_file_becomes_a_link_to_its_page(tool: ModuleType, text: str) -> None:
    homes = {"docs/guide.md": "guide.md", "tinytorch/tensor.py": "api/tensor.md"}
    assert tool.relinked(tool.Made("deep/page.md", "README.md", text, "Page"), homes) == LINKS[text]


def test_a_link_to_a_file_without_a_page_is_an_error(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"README\.md links to noxfile\.py, which has no page"):
        tool.relinked(tool.Made("index.md", "README.md", "[a](noxfile.py)", "Start"), {})
