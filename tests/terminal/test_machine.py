"""What is printed of data sets and of the doctor's findings."""

from __future__ import annotations

from tests.terminal.sample import printed
from tito.doctor import Finding
from tito.terminal.machine import list_findings


def test_findings_show_state_in_words_and_advice_below() -> None:
    text = printed(list_findings([Finding("stacks", "note", "refused", "do this")]))
    first, second = text.splitlines()
    assert first.split() == ["note", "stacks", "refused"]
    assert second.strip() == "do this"
