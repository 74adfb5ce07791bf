"""One child process: start it in a pinned environment, read its events, and terminate it with everything it started.

    with Child("tito.bench.jobs", job, results, environment, limits) as child:
        for event in child.events(tick=0.25): ...

The job is sent as JSON on stdin. Events arrive as JSON lines on a separate pipe, so that a workload may print.
POSIX only (process groups).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import psutil

from tito.errors import RunError, printable
from tito.process.documents import Frozen, Limits
from tito.process.environment import child_environment, signal_name
from tito.process.events import Event, decode

GRACE = 0.5  # seconds between SIGTERM and SIGKILL
TREE_INTERVAL = 0.25  # seconds: walking the process tree reads all of /proc, so not at every tick
TAIL = 4000  # bytes of output kept for the error line
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Child:
    """A running `python -m tito.process`; a context manager that leaves nothing behind.

    Args:
        module: the module that does the job (see `tito.process.inside`).
        job: what to do.
        result: the fields that the job's "result" event must have; None if the job returns none.
        pinned: variables set in the child's environment.
        limits: the child is killed when it exceeds them.
    """

    def __init__(
        self,
        module: str,
        job: Mapping[str, Any],
        result: type[Frozen] | None,
        pinned: Mapping[str, str],
        limits: Limits,
    ) -> None:
        self.limits = limits
        self._result = result
        self._members: set[psutil.Process] = set()  # all living descendants, including those that left the group
        _adopt_orphans(True)
        self._before = {process.pid for process in psutil.Process().children(recursive=True)}
        self._next_tree = 0.0
        self._tail = b""
        read_end, write_end = os.pipe()
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            # -P: no file in the working directory can replace a library's
            [sys.executable, "-P", "-m", "tito.process", module, str(write_end)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=child_environment(pinned),
            pass_fds=(write_end,),
            start_new_session=True,
        )
        os.close(write_end)
        self._events = os.fdopen(read_end, "rb", buffering=0)
        self.pid = self._process.pid
        self.memory = psutil.Process(self.pid)
        self._send(json.dumps({**job, "data_mb": limits.data_mb}))

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def go(self) -> None:
        """Let the child begin; it waits after its imports, so that its memory can be read before any work."""
        self._send("go")

    def events(self, tick: float) -> Iterator[Event | None]:
        """Yield each event as it comes, and None at least every `tick` seconds, until the child exits.

        Raises:
            RunError: the child failed, crashed, sent no "result" event, or exceeded a limit (it is then killed first).
        """
        assert self._process.stdout is not None
        parts: list[bytes] = []  # of a line that is not complete: joined once, since a result may have 50 MB
        finished = False
        with selectors.DefaultSelector() as selector:
            selector.register(self._events, selectors.EVENT_READ)
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while True:
                ended = self._is_over()
                for key, _ in selector.select(0 if ended else tick if selector.get_map() else 0.005):
                    chunk = os.read(key.fd, 1 << 16)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is self._events:
                        *ends, rest = chunk.split(b"\n")
                        for end in ends:
                            event = decode(b"".join([*parts, end]), self._result)
                            parts.clear()
                            finished = finished or event["event"] == "result"
                            yield event
                        parts.append(rest)
                        ended = False  # read on: there may be more in the pipe
                    else:
                        self._tail = (self._tail + chunk)[-TAIL:]
                if ended:
                    break
                self._check_limits()
                yield None
        self._finish(finished)

    def end(self) -> None:
        """Terminate the child and everything it started; on return none of them is left."""
        if self._process.returncode is not None:
            return
        self._look_at_tree()
        if not self._is_over():
            _signal_group(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + GRACE
            while not self._is_over() and time.monotonic() < deadline:
                time.sleep(0.01)
        _signal_group(self.pid, signal.SIGKILL)  # the child is not reaped yet, so its group's id is still its own
        self._process.wait()
        self._end_members()
        _adopt_orphans(False)
        self._events.close()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _end_members(self) -> None:
        """Kill every remaining process; a killed one may leave orphans, so look again until there are none."""
        deadline = time.monotonic() + GRACE
        self._look_at_tree()
        while self._members and time.monotonic() < deadline:
            for member in self._members:
                with contextlib.suppress(psutil.Error):
                    member.kill()  # psutil checks that it is still the same process
                with contextlib.suppress(ChildProcessError):  # not adopted: its own parent reaps it
                    os.waitpid(member.pid, os.WNOHANG)
            time.sleep(0.005)
            self._look_at_tree()

    def _is_over(self) -> bool:
        """Return whether the child has exited, without reaping it."""
        return self.memory.status() == psutil.STATUS_ZOMBIE

    def _finish(self, finished: bool) -> None:
        """Raise the reason if the child, which has exited by itself, failed."""
        self.end()
        code = self._process.returncode
        if code < 0:
            hint = "out of memory?" if -code == signal.SIGKILL else signal_name(-code)
            raise RunError(f"killed by signal {-code} ({hint})", "died")
        if code > 0 or not finished:
            lines = self._tail.decode(errors="replace").strip().splitlines()
            last = f": {printable(lines[-1].strip()[:200])}" if lines else ""
            raise RunError(f"exited with code {code} and no result{last}", "died")

    def _check_limits(self) -> None:
        now = time.monotonic()
        if now - self.started > self.limits.seconds:
            self.end()
            raise RunError(f"killed at the time limit of {self.limits.seconds:g} s", "time")
        if now < self._next_tree:
            return
        self._next_tree = now + TREE_INTERVAL
        used = self._look_at_tree() / 2**20
        if used > self.limits.memory_mb:
            self.end()
            message = f"killed at {used:.0f} MB, above the memory limit of {self.limits.memory_mb} MB"
            raise RunError(message, "memory")

    def _look_at_tree(self) -> int:
        """Update the living descendants and return the memory of all processes together, in bytes."""
        self._members = {member for member in self._members | self._descendants() if member.is_running()}
        total = 0
        for process in (self.memory, *self._members):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue  # it has exited since it was listed
        return total

    def _descendants(self) -> set[psutil.Process]:
        """Return every process that the child started, including orphans, which this process adopts on Linux.

        These are the descendants of this process that did not exist before the child and are not in this process's own
        session: the child has started another session, which its descendants cannot leave for this one.
        """
        own = os.getsid(0)
        found = set()
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if process.pid != self.pid and process.pid not in self._before and os.getsid(process.pid) != own:
                    found.add(process)
        return found

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # it died before it read this; `events` reports the reason


def _adopt_orphans(wanted: bool) -> None:
    """Set whether orphans below this process become its children, so that none escapes (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(wanted))


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return  # the group is empty (macOS reports a missing permission if only zombies are left)
