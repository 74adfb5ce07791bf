"""The files that a page offers: the record that it shows, and its stacks for speedscope."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tito.bench.record import Record
from tito.report.speedscope import speedscope


@dataclass(frozen=True)
class Attachment:
    """A file beside the pages."""

    label: str
    href: str  # from the folder of the reports
    text: str | None = None  # None if it is there already

    @property
    def name(self) -> str:
        """The name under which a browser saves it."""
        return self.href.rsplit("/", 1)[-1]


def attachments(record: Record) -> list[Attachment]:
    """Return a record's files: the record as the store keeps it, and its stacks, if it has any."""
    found = [Attachment("Record as JSON", f"records/{record.suite}/{record.id}.json")]
    stacks = record.profile.stacks if record.profile else None
    if stacks and stacks.collapsed:
        document = json.dumps(speedscope(stacks, f"{record.suite} {record.id}"), separators=(",", ":"))
        found.append(Attachment("Stacks for speedscope", f"{record.suite}/{record.id}.speedscope.json", document))
    return found
