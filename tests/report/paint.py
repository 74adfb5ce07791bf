"""How soon a page is seen, on a slow processor: `python -m tests.report.paint reports/mnist.html`.

Chromium slows its processor to a quarter (--rate 4), opens the page five times, and prints when it was first painted
and when its figures were drawn. No test asserts these times.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from tests.report.browser import CHROMIUM
from tests.report.devtools import Tab, browser

TIMES = """new Promise((done) => {
  const look = () => {
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    if (paint) done([paint.startTime, performance.now()]); else setTimeout(look, 20);
  };
  look();
})"""


def paints(tab: Tab, page: Path, rate: float, times: int) -> list[tuple[float, float]]:
    """Return the seconds until the first contentful paint, and until all figures are drawn, for each opening."""
    tab.send("Emulation.setCPUThrottlingRate", rate=rate)
    found = []
    for _ in range(times):
        tab.open(page)
        first, _ = tab.evaluate(TIMES)
        tab.drawn()
        found.append((first / 1000, tab.evaluate("performance.now()") / 1000))
    return found


def main() -> None:
    """Print the times of each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path, help="HTML files")
    parser.add_argument("--rate", type=float, default=4, help="how many times slower the processor is")
    parser.add_argument("--times", type=int, default=5, help="how often each page is opened")
    options = parser.parse_args()
    missing = next((page for page in options.pages if not page.is_file()), None)
    if CHROMIUM is None or missing:
        sys.exit(f"{missing}: no such file" if missing else "no Chromium on the PATH: install one to open the pages")
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder) / "profile") as tab:
        for page in options.pages:
            found = paints(tab, page.resolve(), options.rate, options.times)
            first, last = (statistics.median(one) for one in zip(*found, strict=True))
            spread = f"{min(found)[0]:.2f} to {max(found)[0]:.2f}"
            print(f"{page}: first paint {first:.2f} s ({spread}), figures {last:.2f} s, processor / {options.rate:g}")  # noqa: T201


if __name__ == "__main__":
    main()
