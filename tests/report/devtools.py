"""Headless Chromium through its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/), over a pipe.

For what `--dump-dom` cannot do: other windows, print, blocked scripts, keys, a slower processor.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.report.browser import CHROMIUM, FLAGS

PIPE_FLAGS = [flag for flag in FLAGS if not flag.startswith(("--virtual", "--dump", "--enable-logging", "--v="))]
SECONDS = 60  # until a browser that says nothing counts as broken


class Tab:
    """One page of a browser."""

    def __init__(self, to: int, from_: int) -> None:
        self._to, self._from, self._last, self._rest = to, from_, 0, b""
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _read(self, seconds: float = SECONDS) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium said nothing for {seconds} s")
            chunk = os.read(self._from, 1 << 20)
            assert chunk, "Chromium has exited"
            self._rest += chunk
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)

    def wait_for(self, event: str) -> dict[str, Any]:
        """Wait for an event that has not been waited for before."""
        while True:
            for i, one in enumerate(self.events):
                if one.get("method") == event:
                    return self.events.pop(i)["params"]
            self.events.append(self._read())

    def open(self, page: Path | str, width: int = 1400, height: int = 900) -> None:
        """Open a file or an address in a window of this size, and wait until it has loaded."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri() if isinstance(page, Path) else page)
        self.wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def drawn(self) -> None:
        """Wait until every figure that is displayed has been drawn, and until the scripts have measured the page."""
        self.until('[...document.querySelectorAll(".drawing:not(.drawn)")].every((box) => !box.offsetParent)')
        self.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
        )

    def press(self, key: str) -> None:
        """Press and release a key, e.g. Tab, Enter, ArrowDown."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        shared = {"key": key, "code": key, "windowsVirtualKeyCode": code[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **shared, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **shared)

    def errors(self) -> list[str]:
        """Return what the page complained about: console errors, exceptions, and refused loads."""
        self.evaluate("0")  # what was said before has been read then
        logged = [one["params"]["entry"]["text"] for one in self.events if one.get("method") == "Log.entryAdded"]
        return logged + [str(one["params"]) for one in self.events if one.get("method") == "Runtime.exceptionThrown"]

    def prefer(self, scheme: str = "light", media: str = "") -> None:
        """Prefer a light or a dark page, on the screen or as it is printed."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", media=media, features=[feature])

    def picture(self, path: Path) -> None:
        """Save the whole page as a PNG."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000), "scale": 1}
        shot = self.send("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path: Path) -> None:
        """Print the page, in the paper size that it asks for."""
        printed = self.send("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        path.write_bytes(base64.b64decode(printed["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A browser with one page, terminated when the context ends."""
    assert CHROMIUM
    into, to = os.pipe()
    from_, out = os.pipe()

    def connect() -> None:  # Chromium reads from 3 and writes to 4
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (into, out)]
        for number, end in enumerate(ends, start=3):
            os.dup2(end, number)
            os.close(end)

    flags = [*PIPE_FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        [CHROMIUM, *flags],
        close_fds=False,  # Python's own are closed anyway
        preexec_fn=connect,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(into)
    os.close(out)
    try:
        yield Tab(to, from_)
    finally:
        os.close(to)  # Chromium exits when its pipe closes
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
        os.close(from_)
