"""Changes in words, the same on pages and in the terminal: "+25.0 %", "slower by 25 % since 2026-11-12"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tito.bench.compare import Compared, word_for
from tito.bench.entry import Entry, backend_of, is_noisy
from tito.bench.history import Change, Since
from tito.bench.quantities import SHARE
from tito.bench.record import Record
from tito.report import units
from tito.report.figures import title_of

NONE = "–"
HOW = (
    "The interval covers the processes and seeds of both runs or, if it is wider, how much comparable runs differ. "
    "Of figures without a real difference, about 1 in 20 shows one by chance."
)
ORDER = ("slower", "worse", "larger", "changed", "unclear", "faster", "better", "smaller", "tie")
PLURAL = {"tie": "ties", "unclear": "without an interval"}


def percent(change: float, digits: int = 1) -> str:
    """Return a relative change with its sign: +25.0 %, −3.2 %.

    >>> percent(0.25).replace(units.THIN, " "), percent(-0.5).replace(units.THIN, " ")
    ('+25.0 %', '−50.0 %')
    """
    return f"{signed(100 * change, digits)}{units.THIN}%"


def points(change: float) -> str:
    """Return a change of a share with its sign: +0.12 points."""
    return f"{signed(100 * change, 2)} points"


def signed(value: float, digits: int) -> str:
    """Return a number with its sign; a zero has none."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text.lstrip("+−") if not text.strip("+−0.") else text


def change(one: Compared) -> str:
    """Return a figure's change."""
    return points(one.change) if one.share else percent(one.change)


def interval(one: Compared) -> str:
    """Return the interval of a figure's change: +20.1 to +30.4."""
    if one.low is None or one.high is None:
        return NONE
    digits = 2 if one.share else 1
    return f"{signed(100 * one.low, digits)} to {signed(100 * one.high, digits)}"


def tally(compared: Sequence[Compared]) -> str:
    """Return how many figures there are of each verdict, those to look at first: 1 slower, 2 faster, 9 ties."""
    count: Counter[str] = Counter(one.verdict for one in compared)
    words = [f"{count[verdict]} {_noun(verdict, count[verdict])}" for verdict in ORDER if count[verdict]]
    return ", ".join(words) or "no figure is in both records"


def _noun(verdict: str, count: int) -> str:
    return "tie" if verdict == "tie" and count == 1 else PLURAL.get(verdict, verdict)


def by_case(record: Record, compared: Sequence[Compared]) -> dict[str, list[Compared]]:
    """Return the figures grouped by their case's title, in the order of the suite."""
    groups: dict[str, list[Compared]] = {}
    for case in record.cases:
        own = [one for one in compared if one.quantity.case == case.name]
        if own:
            groups.setdefault(title_of(record, case), []).extend(own)
    return groups


def origins(a: Record, b: Record) -> list[tuple[str, str]]:
    """Return where the two records come from, what they share, and what else differs between them."""
    pairs = [(name, _origin(record)) for name, record in (("before", a), ("after", b))]
    machine = b.provenance.machine
    both = [f"{machine.cpu}, {machine.cores} cores", f"backend {backend_of(b)}", *["quick"] * b.quick, *b.altered]
    pairs.append(("both", ", ".join(both)))
    also = [f"{name} {one} → {other}" for name, one, other in _versions(a, b) if one != other]
    return [*pairs, *([("also", ", ".join(also))] if also else [])]


def _origin(record: Record) -> str:
    commit = record.provenance.commit
    shown = f"commit {commit[:7]}{'+' if record.provenance.dirty else ''}" if commit else "no commit"
    parts = [f"{record.created:%Y-%m-%d %H:%M}", shown, record.status, record.id]
    parts += ["on a busy machine"] * is_noisy(record)
    return ", ".join([*parts, *filter(None, [record.note])])


def _versions(a: Record, b: Record) -> list[tuple[str, str, str]]:
    """Return versions that may differ between records that are compared."""
    one, other = a.provenance, b.provenance
    rows = [("tinytorch", one.tinytorch, other.tinytorch), ("Python", one.python, other.python)]
    rows.append(("NumPy", one.numpy, other.numpy))
    if one.backend and other.backend and backend_of(a) != "numpy":
        rows.append((backend_of(a), one.backend.version or NONE, other.backend.version or NONE))
    return rows


def by(one: Since) -> str:
    """Return what a change for good is: slower by 25.0 %, better by 0.30 points."""
    more = one.shift.after > one.shift.before
    size = abs(one.shift.after - one.shift.before)
    if one.quantity.metric.unit == SHARE:
        return f"{word_for(one.quantity, more)} by {100 * size:.2f} points"
    return f"{word_for(one.quantity, more)} by {100 * size / one.shift.before:.1f}{units.THIN}%"


def since(one: Since) -> str:
    """Return a change for good in words: slower by 25.0 % since 2026-11-12, commit 3f2ab1c after 91bc02d."""
    return f"{by(one)} since {one.run.created:%Y-%m-%d}, {commits(one)}"


def commits(one: Since) -> str:
    """Return the commit of the first run after a change, and of the last one before it, if it is another."""
    new, old = (_commit(run) for run in (one.run, one.last))
    return f"commit {new}, after {old}" if new != old else f"commit {new}, as before"


def _commit(run: Entry) -> str:
    return NONE if run.commit is None else run.commit[:7] + "+" * bool(run.dirty)


def level(one: Since, value: float, runs: int) -> str:
    """Return one of the two levels: 10.4 µs (12 runs)."""
    return f"{units.quantity(value, one.quantity.metric.unit)} ({runs} runs)"


def size(one: Change) -> str:
    """Return how far a figure is from the median of earlier runs: +25.0 %, −0.12 points."""
    if one.quantity.metric.unit == SHARE:
        return points(one.difference)
    return signed(one.difference, 2) if one.relative is None else percent(one.relative)


def against(one: Change) -> str:
    """Return how a figure differs from earlier runs: "+25.0 % against the median of 10 runs, worse"."""
    runs = "the run before" if one.runs == 1 else f"the median of {one.runs} runs"
    return f"{size(one)} against {runs}{f', {one.word}' if one.word else ''}"
