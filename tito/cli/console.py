"""Output for all commands (results on stdout, messages on stderr), and groups of commands.

A command first does and saves everything, and prints last. A reader that closes the pipe early, such as `head`, changes
neither the command's work nor its exit code.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from tito.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    from tito.project import Project

WIDTH = 160  # columns of an answer that goes into a pipe or a file


class _Commands(TyperGroup):
    """A group of commands. Ctrl-C ends each of them with one word and the exit code that shells expect."""

    def list_commands(self, ctx: Any) -> list[str]:
        """List groups first: they are used most."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: not isinstance(self.commands[name], TyperGroup))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; for one of another group, say what to type."""
        try:
            return super().resolve_command(ctx, args)
        except Exception as error:  # a usage error, of a class that Typer does not publish
            groups = {name: one for name, one in self.commands.items() if isinstance(one, TyperGroup)}
            found = [f"tito {name} {args[0]}" for name, one in groups.items() if args[0] in one.commands]
            if found and isinstance(vars(error).get("message"), str):
                error.message = f"{error.message.rstrip('.')}. Did you mean `{'` or `'.join(found)}`?"  # type: ignore[attr-defined]
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted")
            sys.exit(130)


class _Command(TyperCommand):
    """A command whose usage line names a required argument as manual pages do: NAME, not {NAME}."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; what is wrong with a number is said in the words of all other messages."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # a usage error, of a class that Typer does not publish
            if isinstance(vars(error).get("message"), str):
                error.message = _in_our_words(error.message)  # type: ignore[attr-defined]
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return what the list of commands says, whole: the first sentence, up to a semicolon."""
        first = " ".join((self.help or "").partition("\n\n")[0].split())
        return f"{first.partition('; ')[0].rstrip('.')}."


def _in_our_words(message: str) -> str:
    """Return what Typer, in its various versions, says of a number, in the words of all other messages.

    >>> _in_our_words("Input should be a valid integer, unable to parse string as an integer")
    'expected a whole number'
    >>> _in_our_words("0 is not in the range x>=1.")
    'expected at least 1'
    """
    whole = r"Input should be a valid integer.*|'[^']*' is not a valid int(eger)?( range)?\."
    least = r"Input should be greater than or equal to (\S+)|\S+ is not in the range x>=(\S+)\."
    return re.sub(least, r"expected at least \1\2", re.sub(whole, "expected a whole number", message))


class _App(typer.Typer):
    """Commands of one kind."""

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Add a command."""
        return super().command(name, **{"cls": _Command} | settings)


def group(help: str, completion: bool = False) -> typer.Typer:
    """Return a group of commands with plain help texts, which do not need Rich and print in half the time.

    Args:
        help: what the commands are for.
        completion: offer the options that install shell completion.
    """
    return _App(
        cls=_Commands,
        help=help,
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def say(message: str) -> None:
    """Write one message to stderr."""
    try:
        print(printable(f"tito: {message}", keep="\n"), file=sys.stderr)  # noqa: T201 (the terminal is this file's business)
    except BrokenPipeError:
        _ignore(sys.stderr)


def write(text: object) -> None:
    """Write lines to stdout as they are, without wrapping them to the terminal's width."""
    try:
        typer.echo(printable(str(text), keep="\n\t"))
    except BrokenPipeError:
        _ignore(sys.stdout)


def show(content: RenderableType) -> None:
    """Print one result. In a pipe or a file, it is not cut to the terminal's width."""
    out = console()
    if not out.is_terminal and not _columns():
        out.width = WIDTH
    out.print(_Printable(content), crop=False)  # a command that is wider than the terminal is not cut


def show_path(page: Path | None) -> None:
    """Print the report's path on its own line, without a line break in it, so that a terminal turns it into a link."""
    if page:
        write(f"\n  report: {page}\n")


def console(stderr: bool = False) -> Console:
    """Return a console that prints text as it is and survives a closed pipe; Rich handles NO_COLOR and plain files."""
    from rich.console import Console

    if "COLUMNS" in os.environ and not _columns():
        del os.environ["COLUMNS"]  # 0, or no number: Rich would print nothing

    class Surviving(Console):
        def print(self, *objects: Any, **settings: Any) -> None:
            super().print(*(printable(o, keep="\n\t") if isinstance(o, str) else o for o in objects), **settings)

        def on_broken_pipe(self) -> None:
            self.quiet = True
            _ignore(sys.stderr if stderr else sys.stdout)

    return Surviving(stderr=stderr, markup=False, highlight=False, emoji=False)


def _columns() -> int:
    """Return the width that the environment asks for; 0 without one."""
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isascii() and text.isdigit() else 0


class _Printable:
    """Content for a terminal without the control characters that are in its texts."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for segment in console.render(self._content, options):
            text = segment.text if segment.control else printable(segment.text, keep="\n")
            yield Segment(text, segment.style, segment.control)


def project() -> Project:
    """Find the project that this command works on."""
    from tito.project import find_project

    return find_project()


def _ignore(stream: TextIO) -> None:
    """Discard the rest of a stream whose reader has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
