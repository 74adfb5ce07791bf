"""tito.cli.console: a closed pipe takes what is printed, and ends nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import HOME
from tito.cli.console import console

PROGRAM = """
import sys
from rich.text import Text
from tito.cli import console

sys.stdin.readline()  # both readers have left
for _ in range(3):
    console.write("a line")
    console.show(Text("an answer"))
    console.say("a message")
    console.console(stderr=True).print("progress")
with open(sys.argv[1], "w") as file:
    file.write("the work goes on")
"""


def test_a_message_of_the_progress_console_has_no_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    console(stderr=True).print("student \x1b[31mred", style="dim")
    assert capsys.readouterr().err == "student \\x1b[31mred\n"


@pytest.mark.skipif(sys.platform == "win32", reason="closes POSIX pipes")
def test_what_is_printed_into_a_closed_pipe_is_dropped_and_the_command_goes_on(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "done")]
    with subprocess.Popen(command, cwd=HOME, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        process.stdin.write(b"go\n")
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert (tmp_path / "done").read_text() == "the work goes on"
