"""A lesson in the terminal."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown
from rich.padding import Padding

WIDTH = 100  # columns: longer lines are hard to read


class Lesson:
    """A lesson's Markdown, at most 100 columns wide. Links that a terminal cannot open are shown as their text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        markdown = Markdown(self._text, code_theme="ansi_dark", hyperlinks=True)
        yield from console.render(Padding(markdown, (1, 2)), options.update_width(min(WIDTH, options.max_width)))
