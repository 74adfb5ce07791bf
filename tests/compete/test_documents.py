"""The competition's documents: the table of codes, the options, and the commands are those of the program."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.main import get_command

from tests.compete.competition import ROOT
from tito.cli.app import app
from tito.compete import plan, session
from tito.compete.problems import codes_table
from tito.compete.rules import Rules
from tito.report import standings

RULES = (ROOT / "docs" / "competition.md").read_text("utf-8")
README = (ROOT / "submissions" / "README.md").read_text("utf-8")
COMMAND = re.compile(r"(?:^|`)(tito [^`\n]*?)(?:  .*)?(?:`|$)", re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The tito commands of a document, as lists of words."""
    return [shlex.split(found.strip()) for found in COMMAND.findall(text.replace("    tito", "tito"))]


def shell_lines(text: str) -> list[list[str]]:
    """The lines of a document's shell block, as lists of words."""
    block = re.search(r"^```shell\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert block
    return [shlex.split(line) for line in block[1].splitlines()]


def test_the_table_of_codes_is_the_program_s() -> None:
    found = re.search(r"<!-- codes: .*? -->\n(.*?)<!-- end of codes -->", RULES, re.DOTALL)
    assert found
    assert found[1].strip() == codes_table().strip()


@pytest.mark.parametrize("words", commands(RULES) + commands(README), ids=" ".join)
def test_every_command_and_option_exists(words: list[str]) -> None:
    command = get_command(app)
    rest = words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def test_the_documents_hold_commands() -> None:
    assert len(commands(README)) >= 12
    assert [words[0] for words in shell_lines(README)].count("tito") >= 12
    for words in shell_lines(README):
        assert words[0] == "tito" or (ROOT / words[1]).is_file()
    assert {words[1] for words in commands(RULES)} >= {"submit", "check", "verify", "leaderboard"}


def test_the_rules_in_the_documentation_are_those_of_the_program(rules: Rules) -> None:
    text = " ".join(RULES.split())
    for track in rules.tracks.values():
        assert f"| `{track.name}` |" in RULES
    assert {track.gate for track in rules.tracks.values() if track.quality == "accuracy"} == {0.01}
    assert {track.gate for track in rules.tracks.values() if track.quality == "loss"} == {0.02}
    assert "more than 1 point of accuracy, or 0.02 nats" in text
    assert rules.tracks["tinygpt"].vocabulary == 4256
    assert "vocabulary 4,256, block 128; a cache has batch 1 and hop 64" in text
    assert (plan.SELF_TEST_ROUNDS, plan.QUALITY_ROUNDS, session.BATCH) == (2, 2, 24)
    assert "s * 2n / (n + 2)" in text
    assert "each batch of 24 entries" in text


@pytest.mark.parametrize("text", [RULES, README], ids=["docs/competition.md", "submissions/README.md"])
def test_no_document_passes_its_results_off_as_mlperf_s(text: str) -> None:
    assert standings.TRADEMARK in " ".join(text.split())


def test_what_cannot_be_proven_is_said() -> None:
    assert standings.PUBLIC in " ".join(RULES.replace("\n  ", " ").split())
