"""A headless Chromium for tests of pages: what a page looks like after its scripts ran."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=8000",
    "--enable-logging=stderr",
    "--v=0",
    "--dump-dom",
]

in_a_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: install one to open the pages"),
]


def browse(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The page's DOM after its scripts ran, and what they said on the console."""
    assert CHROMIUM
    ran = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    dom = re.sub(r"<script>.*?</script>", "", ran.stdout, flags=re.DOTALL)
    return dom, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


def widths(pages: Sequence[Path], width: int, profile: Path) -> list[int]:
    """The widths of pages in a window of this width. Rewrites the pages.

    Chromium's windows are at least 500 wide, so each page is put into a frame, where it tells its own width.
    """
    tell = "<script>setTimeout(() => parent.postMessage(document.documentElement.scrollWidth, '*'), 4000)</script>"
    frames = []
    for path in pages:
        open_to_scripts(path, tell)
        frames.append(f'<iframe src="{path.as_uri()}" width={width} height=900 style="border:0"></iframe>')
    heard = "<script>onmessage = (event) => document.body.append(`[width ${event.data}]`)</script>"
    frame = profile.with_name("frame.html")
    frame.write_text(f"<!doctype html><body>{heard}{''.join(frames)}</body>", "utf-8")
    dom, _ = browse(frame, profile)
    return [int(n) for n in re.findall(r"\[width (\d+)\]", re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL))]


def open_to_scripts(page: Path, script: str) -> None:
    """Drop a page's content security policy and append a script to it."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    page.write_text(text.replace("</body>", script + "</body>"), "utf-8")
