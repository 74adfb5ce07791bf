"""The timeline in the terminal: it fits, it is to scale, and it says everything without color."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.course.progressing import made_progress
from tests.terminal.sample import printed
from tito.course.journey import make_journey
from tito.course.modules import ERAS, MILESTONES, MODULES
from tito.terminal.course import Timeline, axis


@pytest.mark.parametrize("width", [40, 60, 80, 115, 116, 120, 200])
@pytest.mark.parametrize("complete", [0, 6, 19, 20])
def test_the_timeline_fits_and_names_everything(width, complete):
    text = printed(Timeline(make_journey(made_progress(complete), {0: "passed"})), width)
    assert max(map(len, text.splitlines())) <= width
    for module in MODULES:
        assert f"{module.key} {module.title}" in text
    for name in [era.name for era in ERAS] + [milestone.suite for milestone in MILESTONES]:
        assert name in text
    assert f"{complete} of 20 modules complete" in text


def test_states_are_signs_and_the_next_command_is_named():
    text = printed(Timeline(make_journey(made_progress(6), {0: "passed", 1: "failed", 2: "changed"})), 120)
    for part in ("✓ 06 Autograd", "› 07 Optimizers", "· 08 Training", "◆ xor", "◇ mnist", "✓00 ✗01 ~02 ○03"):
        assert part in text
    assert "07 optimizers: 3 of 7 steps; next: tito module test 07" in text
    assert "checkpoints  1 of 16" in text


def test_the_axis_is_to_scale():
    years, line, here = (text.plain for text in axis(make_journey(made_progress(6)), 76))
    assert [i for i, sign in enumerate(line) if sign in "◆◇"] == [7, 19, 36, 62, 68, 75]
    assert here.index("▲") == 19
    assert years.split() == ["1957", "1969", "1986", "2012", "2018", "2025"]
    assert line[:19].count("━") == 18


@pytest.mark.parametrize("complete", [0, 10, 20])
def test_the_place_is_inside_the_axis(complete):
    for width in (38, 58, 116):
        for text in axis(make_journey(made_progress(complete)), width):
            assert len(text.plain) <= width


def test_a_narrow_list_says_how_many_steps_pass_and_what_changed():
    text = printed(Timeline(make_journey(made_progress(6, stale=True))), 60)
    assert "› 07 Optimizers         3 of 7 steps, test again" in text
    assert "◇ mnist  after 08" in text


def test_a_terminal_without_unicode_gets_other_signs():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    Console(file=out, width=100, markup=False, highlight=False).print(Timeline(make_journey(made_progress(6))))
    out.seek(0)
    text = out.read()
    assert "x 06 Autograd" in text
    assert "# xor" in text
