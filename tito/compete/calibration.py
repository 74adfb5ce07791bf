"""How often the ranking errs, counted: `python -m tito.compete.calibration [TRACK ...]`, or `nox -s compete-selftest`.

For each track it records processes that time the reference against itself and against the twin that is 10% slower. Then
the ranking judges 200 pairs of entries drawn from them. Each process is kept when it ends: an interrupted recording
continues with the next one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tito.compete.journal import Journal, state_folder
from tito.compete.measure import Host, host_for
from tito.compete.progress import Progress, Rounds
from tito.compete.rules import load_rules
from tito.compete.selftest import Counts, count_pairs, recorded
from tito.data import fetch
from tito.errors import TitoError
from tito.process.backend import choose_backend
from tito.process.blas import choose_kernel
from tito.process.turn import turn
from tito.project import Project, find_project

CHILDREN, PAIRS, SIZE = 60, 200, 11  # recorded processes of each kind; pairs; processes of each entry of a pair


def calibrate(project: Project, tracks: Sequence[str], children: int, report: Rounds) -> dict[str, Counts]:
    """Record and count for each track.

    Raises:
        TitoError: a track does not exist, or a process failed.
    """
    rules = load_rules(project)
    for track in tracks:
        if track not in rules.tracks:
            raise TitoError(f"no track {track!r}; there are: {', '.join(rules.tracks)}")
    chosen = list(tracks) or list(rules.tracks)
    for track in chosen:
        report.plan(track, 2 * children)
    with (
        turn("nox -s compete-selftest", lambda holder: report.report(Progress("waiting", f"for {holder}"))),
        host_for(rules, chosen, choose_kernel(), choose_backend()) as host,
    ):
        return {track: _counts(host, track, children, report) for track in chosen}


def _counts(host: Host, track: str, children: int, report: Rounds) -> Counts:
    done = report.begin(track, f"recording {track}", f"{children} processes of each kind", 2 * children)
    folder = state_folder() / "selftest" / host.ground.id / track
    journals = Journal(folder / "same"), Journal(folder / "slowed")
    return count_pairs(*recorded(host, track, children, done, journals), size=SIZE, pairs=PAIRS)


def main() -> int:
    """Print the counts; return 0 if the ranking erred rarely enough on every track."""
    parser = argparse.ArgumentParser(
        prog="python -m tito.compete.calibration", description="How often the ranking errs."
    )
    parser.add_argument("tracks", nargs="*", metavar="TRACK", help="default: all")
    parser.add_argument("--children", type=int, default=CHILDREN, help=f"processes of each kind (default: {CHILDREN})")
    arguments = parser.parse_args()
    if arguments.children < 2 * SIZE:
        parser.error(f"--children {arguments.children}: expected at least {2 * SIZE}, two entries' worth")
    try:
        project = find_project()
        for name in load_rules(project).loaded.suite.data:
            fetch(name, lambda line: _say(f"  {line}\n"))
        found = calibrate(project, arguments.tracks, arguments.children, Rounds(lambda step: _say(f"{step}\n")))
    except TitoError as error:
        _say(f"compete-selftest: {error}\n")
        return 1
    except KeyboardInterrupt:
        _say("compete-selftest: interrupted; what was recorded is kept\n")
        return 130
    for track, counts in found.items():
        verdict = "passed" if counts.passed else "failed"
        told = f"{counts.pairs} pairs from {arguments.children} processes of each kind"
        sys.stdout.write(
            f"{track}: {told}: A/A told apart {counts.false}, 10% slower found {counts.found}: {verdict}\n"
        )
    return 0 if all(counts.passed for counts in found.values()) else 1


def _say(text: str) -> None:
    sys.stderr.write(text)


if __name__ == "__main__":
    sys.exit(main())
