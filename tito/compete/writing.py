"""From what came out for an entry to its sealed receipt in the shared folder."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tito.compete.folder import SharedFolder
from tito.compete.ledger import Files
from tito.compete.outcome import Outcome
from tito.compete.problems import Problem
from tito.compete.receipt import Anchor, Ground, Layer, ProblemText, Receipt, SelfTest
from tito.compete.seal import receipt_text, seal
from tito.process.provenance import this_host, this_machine


@dataclass(frozen=True)
class Span:
    """When measuring an entry began, and how long it took."""

    began: datetime
    seconds: float


class ReceiptWriter:
    """Writes sealed receipts of one ground, and counts them."""

    def __init__(self, shared: SharedFolder, key: bytes, ground: Ground) -> None:
        self.shared, self.key, self.ground = shared, key, ground
        self.verified = self.refused = 0
        self.written: list[Path] = []
        self.anchors: list[Anchor] = []

    def write(
        self,
        id: str,
        files: Files,
        outcome: Outcome,
        self_test: SelfTest | None = None,
        layers: list[Layer] | None = None,
        shown: list[str] | None = None,
        span: Span | None = None,
    ) -> Receipt:
        """Write the receipt of an entry.

        Raises:
            TitoError: the folder cannot be written.
        """
        created = datetime.now(UTC)
        manifest = files.manifest
        claimed = {} if manifest is None else manifest.model_dump(exclude={"schema_version", "id", "model_sha256"})
        receipt = Receipt.model_validate(
            {
                **({"track": None, "division": None, "title": id, "authors": [], "techniques": []} | claimed),
                **outcome.fields(),
                "id": f"{created:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
                "entry": id,
                "model_sha256": files.model_sha256,
                "manifest_sha256": files.manifest_sha256,
                "ground": self.ground,
                "machine": this_machine(),
                "host": this_host(),
                "anchors": self.anchors,
                "began": span.began if span else created,
                "created": created,
                "seconds": round(span.seconds, 1) if span else 0.0,
                "status": "refused" if outcome.problems else "verified",
                "problems": [_text(problem) for problem in outcome.problems],
                "techniques_checked": shown or [],
                "layers": layers or [],
                "self_test": self_test,
                "command": f"tito verify {id} --again",
            }
        )
        sealed = seal(receipt, self.key)
        self.written.append(self.shared.save_receipt(self.ground.id, id, receipt.id, receipt_text(sealed)))
        if outcome.problems:
            self.refused += 1
        else:
            self.verified += 1
        return sealed


def _text(problem: Problem) -> ProblemText:
    return ProblemText(**vars(problem))
