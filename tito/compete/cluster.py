"""`tito verify --scheduler ADDRESS`: the entries are spread over the workers of a Dask cluster (extra `cluster`).

    entries -> tasks of one track each -> a worker runs `tito verify ENTRY ...` -> receipts in the shared folder

A task starts `tito verify` as a process of its own, so that nothing is measured next to a worker's threads, and that
process dies with its worker. The results are the receipts: an entry that has one is skipped, so the task
of a worker that died is simply run again elsewhere. On one host, `process.turn` lets one of them measure at a time.

A scheduler runs whatever code is sent to it by anybody who can reach it. Hence only its loopback or TLS addresses are
accepted.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from tito.compete.folder import SharedFolder
from tito.compete.ledger import files_of
from tito.compete.progress import Progress, Report
from tito.errors import TitoError, printable

MOST_ENTRIES = 8  # of a task: its self-tests take as long as three to four entries, and a killed worker loses them all
RETRIES = 3  # workers that may die while they run one task
GRACE = 20  # seconds that an interrupted `tito verify` has to end
WORKER = "dask worker {address} --nthreads 1 --resources bench=1 --memory-limit 0"
INSTALL = "python -m pip install -e '.[cluster]' in the checkout"
RUN = """\
from tito.process.orphan import end_with_parent
end_with_parent()
from tito.cli.app import main
main()
"""
# A worker's own profiler samples its threads every 10 ms, also while its `tito verify` measures.
PROFILER = "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=false"


@dataclass(frozen=True)
class Task:
    """Entries of one track that one process verifies."""

    track: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """How one task ended."""

    task: Task
    worker: str
    code: int  # exit code of `tito verify`; negative: the signal that killed it
    said: tuple[str, ...]  # its output


@dataclass
class Outcomes:
    """What came of all tasks."""

    done: list[Done] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # by entry: why no worker could verify it
    receipts: list[Path] = field(default_factory=list)  # those that were written meanwhile

    @property
    def passed(self) -> bool:
        """Whether every task exited with code 0."""
        return not self.failed and all(one.code == 0 for one in self.done)

    def __str__(self) -> str:
        tasks, workers = len(self.done), len({one.worker for one in self.done})
        failed = len(self.failed) + sum(one.code != 0 for one in self.done)
        return f"{len(self.receipts)} receipts by {tasks} tasks on {workers} workers, failed {failed}"


def verify_on_cluster(
    address: str, folder: Path, ids: Sequence[str], options: Sequence[str], report: Report = lambda progress: None
) -> Outcomes:
    """Verify entries on the workers of a cluster, and wait for them.

    Args:
        address: of the scheduler, e.g. `tcp://127.0.0.1:8786` or `tls://bench.example.org:8786`.
        folder: the shared folder, at the same path on every host.
        options: for `tito verify`, e.g. `["--rounds", "21"]`.

    Raises:
        TitoError: the extra is missing, the address is not safe or not reachable, or a worker is not set up to measure.
    """
    check_address(address)
    with _client(address) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        check_workers(address, workers, client.run(_profiles))
        shared = SharedFolder(folder)
        tasks = tasks_of(shared, ids, len(workers))
        first, rest = founders(tasks, len({worker["host"] for worker in workers.values()}))
        outcomes, before = Outcomes(), set(shared.receipts())
        for wave in (first, rest):
            _run(client, wave, ["--folder", str(folder), *options], outcomes, report, len(tasks))
        outcomes.receipts = [path for path in shared.receipts() if path not in before]
    return outcomes


def check_address(address: str) -> None:
    """Raise TitoError unless a scheduler's address is TLS, or of this host only."""
    scheme, separator, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    expected = "expected tls://HOST:PORT, or tcp://127.0.0.1:PORT"
    if not separator or scheme not in ("tcp", "tls") or not host or not port.isdecimal():
        raise TitoError(f"--scheduler {printable(address)}: not an address; {expected}")
    if scheme == "tls":
        return
    try:
        loopback = ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        why = "anybody who reaches a scheduler without TLS can run code on its workers"
        raise TitoError(f"--scheduler {printable(address)}: {why}; {expected}")


def check_workers(address: str, workers: Mapping[str, Mapping[str, Any]], profiles: Mapping[str, bool]) -> None:
    """Raise TitoError unless there are workers, and all of them are set up to measure."""
    start = f"start workers with: {PROFILER} {WORKER.format(address=address)}"
    if not workers:
        raise TitoError(f"--scheduler {address}: no workers; {start}")
    for name, worker in workers.items():
        wrong = [
            text
            for text, bad in (
                (f"{worker['nthreads']} threads", worker["nthreads"] != 1),
                ("no resource `bench`", worker["resources"].get("bench", 0) < 1),
                (f"a memory limit of {worker['memory_limit']} bytes", bool(worker["memory_limit"])),
                ("a running profiler", profiles.get(name, True)),
            )
            if bad
        ]
        if wrong:
            raise TitoError(f"--scheduler {address}: worker {name} has {', '.join(wrong)}; {start}")


def tasks_of(shared: SharedFolder, ids: Sequence[str], workers: int) -> list[Task]:
    """Split entries into tasks of one track, small enough that every worker gets some."""
    tracks: dict[str, list[str]] = defaultdict(list)
    for id in ids:
        manifest = files_of(shared, id).manifest
        tracks[manifest.track if manifest else ""].append(id)
    tasks = []
    for track, own in tracks.items():
        size = min(MOST_ENTRIES, -(-len(own) // workers))
        tasks += [Task(track, tuple(own[i : i + size])) for i in range(0, len(own), size)]
    return tasks


def founders(tasks: Sequence[Task], hosts: int) -> tuple[list[Task], list[Task]]:
    """Split tasks into those that run first and the others.

    With several hosts, one task of each track comes first: its receipts are what the other hosts are compared with.
    """
    first = {task.track: task for task in reversed(tasks)} if hosts > 1 else {}
    return list(first.values()), [task for task in tasks if task not in first.values()]


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise TitoError(f"--scheduler: needs Dask: {INSTALL}") from None
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TypeError: TLS without certificates
        raise TitoError(f"--scheduler {address}: not reachable: {printable(str(error)).splitlines()[0]}") from None
    try:
        with client.as_current():
            yield client
    finally:
        with contextlib.suppress(Exception):  # a scheduler that is gone; what matters are the receipts
            client.close(timeout=5)


def _run(
    client: Any, tasks: Sequence[Task], options: list[str], outcomes: Outcomes, report: Report, total: int
) -> None:
    """Run tasks and collect how they ended; an interruption also interrupts what the workers run."""
    from distributed import Event, as_completed

    stop = Event(f"tito-stop-{uuid.uuid4().hex}", client=client)
    futures = {
        client.submit(
            run_task, task, options, stop.name, pure=False, retries=0, resources={"bench": 1}, key=_key(task)
        ): task
        for task in tasks
    }
    try:
        for future in as_completed(futures):
            task = futures[future]
            if future.status == "finished":
                done = future.result()
                outcomes.done.append(done)
                report(Progress(task.ids[0], f"{done.said[-1] if done.said else done.code}", _count(outcomes), total))
            else:
                reason = printable(str(future.exception())).splitlines()[0]
                outcomes.failed |= dict.fromkeys(task.ids, reason)
                report(Progress(task.ids[0], f"failed: {reason}", _count(outcomes), total))
            future.release()
    except BaseException:
        stop.set()
        client.cancel(list(futures))
        raise


def _count(outcomes: Outcomes) -> int:
    return len(outcomes.done) + len(outcomes.failed)


def _key(task: Task) -> str:
    return f"verify {task.ids[0]} {uuid.uuid4().hex[:8]}"


# On the workers ----------------------------------------------------------------------------------------


def run_task(task: Task, options: Sequence[str], stop: str) -> Done:
    """Run `tito verify` for a task, on a worker; it dies with the worker, and is interrupted if `stop` is set."""
    from distributed import Event, get_worker

    event = Event(stop)
    command = [sys.executable, "-c", RUN, "verify", *task.ids, *options]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        said = _watched(process, event.is_set)
    return Done(task, get_worker().address, process.returncode, said)


def _watched(process: subprocess.Popen[str], stopped: Callable[[], bool]) -> tuple[str, ...]:
    """Wait for a process, interrupt it once `stopped`, and return its output."""
    deadline = None
    while True:
        try:
            said, _ = process.communicate(timeout=2)
            return tuple(said.splitlines())
        except subprocess.TimeoutExpired:
            if deadline is None and stopped():
                process.send_signal(signal.SIGINT)
                deadline = time.monotonic() + GRACE
            elif deadline is not None and time.monotonic() > deadline:
                process.kill()


def _profiles() -> bool:
    """Return whether this worker samples its threads."""
    import dask

    return bool(dask.config.get("distributed.worker.profile.enabled"))
