"""The course in the terminal: the timeline from 1957 to 2025."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from tito.course.journey import FIRST_YEAR, LAST_YEAR, Journey, Stop
from tito.course.progress import ModuleProgress
from tito.terminal.tables import indented

WIDE = 116  # columns in which the eras fit side by side
MOST = 116  # columns of the axis on a wide terminal
INDENT, GAP = 2, 3

SIGNS = {
    "complete": "✓",
    "started": "›",
    "open": "○",
    "locked": "·",
    "unlocked": "◆",
    "ahead": "◇",
    "passed": "✓",
    "failed": "✗",
    "changed": "~",
    "ready": "○",
    "done": "━",
    "to do": "┄",
    "here": "▲",
}
ASCII = {
    "complete": "x",
    "started": ">",
    "open": "o",
    "locked": ".",
    "unlocked": "#",
    "ahead": "+",
    "passed": "x",
    "failed": "!",
    "changed": "~",
    "ready": "o",
    "done": "=",
    "to do": "-",
    "here": "^",
}
STYLES = {
    "complete": "green",
    "started": "bold yellow",
    "open": "bold",
    "locked": "dim",
    "unlocked": "bold green",
    "ahead": "dim",
    "passed": "green",
    "failed": "red",
    "changed": "yellow",
    "ready": "bold",
}


class Timeline:
    """The eras on an axis of years that is to scale, their modules and milestones, and where the learner stands."""

    def __init__(self, journey: Journey) -> None:
        self._journey = journey

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        signs = ASCII if options.ascii_only else SIGNS
        width = min(options.max_width, MOST + INDENT) - INDENT
        yield Text()
        for line in axis(self._journey, width, signs):
            yield indented(line)
        yield Text()
        if options.max_width >= WIDE:
            yield indented(_side_by_side(self._journey, signs))
        else:
            for stop in self._journey.stops:
                yield from map(indented, _listed(stop, self._journey, signs))
        yield Text()
        yield indented(_checkpoints(self._journey, width, signs))
        yield Text()
        for line in _standing(self._journey, signs):
            yield indented(line)
        yield Text()


def axis(journey: Journey, width: int, signs: dict[str, str] = SIGNS) -> list[Text]:
    """Return the years, the axis, and the learner's place below it, each `width` columns wide at most."""
    last = width - 1

    def column(year: float) -> int:
        return round((year - FIRST_YEAR) / (LAST_YEAR - FIRST_YEAR) * last)

    here = column(journey.year)
    years, line = [" "] * width, Text()
    marks = {column(stop.era.year): "unlocked" if stop.unlocked else "ahead" for stop in journey.stops}
    free = width  # a label that would touch the next one moves to the left
    for stop in reversed(journey.stops):
        begin = min(column(stop.era.year) - 1, free - 4)
        years[begin : begin + 4] = str(stop.era.year)
        free = begin - 1
    for i in range(width):
        state = marks.get(i) or ("done" if i <= here else "to do")
        line.append(signs[state], style=STYLES.get(state, "green" if state == "done" else "dim"))
    words = "you are here" if journey.here else "you have arrived"
    text = f"{signs['here']} {words}"
    begin = here if here + len(text) <= width else max(0, here - len(words) - 1)
    if begin != here:
        text = f"{words} {signs['here']}"
    return [Text("".join(years).rstrip(), style="bold"), line, Text(" " * begin + text, style="yellow")]


def _side_by_side(journey: Journey, signs: dict[str, str]) -> RenderableType:
    made = Table(box=None, show_header=False, padding=(0, GAP, 0, 0), pad_edge=False)
    for _ in journey.stops:
        made.add_column(no_wrap=True)
    made.add_row(*(Text(f"{stop.era.year}", style="bold") for stop in journey.stops))
    made.add_row(*(Text(stop.era.name, style="dim") for stop in journey.stops))
    for i in range(max(len(stop.modules) for stop in journey.stops)):
        cells = []
        for stop in journey.stops:
            rest = i - len(stop.modules)
            if rest < 0:
                cells.append(_module(stop.modules[i], signs))
            else:
                cells.append(_milestone(stop, signs) if rest == 0 else Text())
        made.add_row(*cells)
    longest = max(len(stop.modules) for stop in journey.stops)
    made.add_row(*(_milestone(stop, signs) if len(stop.modules) == longest else Text() for stop in journey.stops))
    return made


def _listed(stop: Stop, journey: Journey, signs: dict[str, str]) -> Iterator[Text]:
    yield Text.assemble((str(stop.era.year), "bold"), "  ", (stop.era.name, "dim"))
    for one in stop.modules:
        line = Text("      ").append(_module(one, signs))
        if one is journey.here:
            line.append(" " * max(1, 30 - cell_len(line.plain)) + _steps(one), style="yellow")
        yield line
    when = "" if stop.unlocked else f"  after {stop.milestone.after_module:02}"
    yield Text("      ").append(_milestone(stop, signs)).append(when, style="dim")


def _module(one: ModuleProgress, signs: dict[str, str]) -> Text:
    return Text(f"{signs[one.state]} {one.module.key} {one.module.title}", style=STYLES[one.state])


def _milestone(stop: Stop, signs: dict[str, str]) -> Text:
    state = "unlocked" if stop.unlocked else "ahead"
    return Text(f"{signs[state]} {stop.milestone.suite}", style=STYLES[state])


def _steps(one: ModuleProgress) -> str:
    if one.state != "started":
        return "not started"
    if one.missing:
        return one.remark
    return f"{one.passed} of {one.total} steps{f', {one.remark}' if one.remark else ''}"


def _checkpoints(journey: Journey, width: int, signs: dict[str, str]) -> Text:
    """Return the checkpoints in one line, or in several of a narrow terminal."""
    passed = sum(state == "passed" for _, state in journey.checkpoints)
    head = f"checkpoints  {passed} of {len(journey.checkpoints)}  "
    text, used = Text(head, style="dim"), len(head)
    for checkpoint, state in journey.checkpoints:
        cell = f" {signs[state]}{checkpoint.key}"
        if used + len(cell) > width:
            text.append("\n" + " " * len(head))
            used = len(head)
        text.append(cell, style=STYLES[state])
        used += len(cell)
    return text


def _standing(journey: Journey, signs: dict[str, str]) -> Iterator[Text]:
    total = sum(len(stop.modules) for stop in journey.stops)
    done = Text(f"{journey.complete} of {total} modules complete", style="bold")
    yield done
    if journey.here is not None:
        yield Text(f"{journey.here.module.label}: {_steps(journey.here)}; next: {journey.command}")
    yield Text()
    for names in (("complete", "started", "open", "locked"), ("unlocked", "ahead")):
        words = {"unlocked": "milestone unlocked", "ahead": "milestone locked", "locked": "later"}
        yield Text("   ".join(f"{signs[name]} {words.get(name, name)}" for name in names), style="dim")
