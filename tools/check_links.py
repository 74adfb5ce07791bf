"""Check every link of a built site, without a network: `python tools/check_links.py build/site`.

A link within the site must lead to an existing file and, if it has a fragment, to an existing place in it. A link to
another host must be a complete address; the host is not contacted. A page must load nothing from another host: no
script, style, or image.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ADDRESS = re.compile(r"https?://[\w-]+(\.[\w-]+)+(:\d+)?(/[^\s<>]*)?([?#][^\s<>]*)?")
LOADING = {"stylesheet", "icon", "preload", "preconnect"}  # the values of rel for which a <link> loads something
MAIL = re.compile(r"mailto:[^@\s]+@[\w-]+(\.[\w-]+)+")


class Links(HTMLParser):
    """The links of a page, the files that it loads, and the places in it to which a link can lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.places |= {values[name] for name in ("id", "name") if values.get(name)}
        if "src" in values:
            self.loaded.append(values["src"])
        if "href" in values:
            loads = tag == "link" and {"stylesheet", "icon", "preload", "preconnect"} & set(
                values.get("rel", "").split()
            )
            (self.loaded if loads else self.links).append(values["href"])


@cache
def read(page: Path) -> Links:
    return Links(page.read_text("utf-8"))


def problems(site: Path) -> Iterator[str]:
    """Yield one line for each broken link of each page."""
    for page in sorted(site.rglob("*.html")):
        name = page.relative_to(site).as_posix()
        for link in read(page).loaded:
            if urlsplit(link).netloc:
                yield f"{name}: loads {link} from another host"
            elif problem := _problem(link, page, site):
                yield f"{name}: {link}: {problem}"
        for link in read(page).links:
            if problem := _problem(link, page, site):
                yield f"{name}: {link}: {problem}"


def _problem(link: str, page: Path, site: Path) -> str:
    """Return what is wrong with a link on a page; "" if it is valid."""
    parts = urlsplit(link)
    if parts.scheme in ("http", "https"):
        return "" if ADDRESS.fullmatch(link) else "not a complete address"
    if parts.scheme == "mailto":
        return "" if MAIL.fullmatch(link) else "not a mail address"
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        return f"expected http, https, mailto, or a path, not {parts.scheme or parts.netloc}"
    path = unquote(parts.path)
    target = site / path.lstrip("/") if path.startswith("/") else page.parent / path if path else page
    if not target.resolve().is_relative_to(site.resolve()):
        return "leads out of the site"
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "no such file"
    place = unquote(parts.fragment)
    if place and target.suffix == ".html" and place not in read(target.resolve()).places:
        return f"no place {place} there"
    return ""


def main() -> None:
    site = Path(sys.argv[1])
    pages = list(site.rglob("*.html"))
    found = list(problems(site))
    for line in found:
        print(line, file=sys.stderr)
    print(f"{len(pages)} pages, {sum(len(read(page).links) for page in pages)} links, {len(found)} broken")
    sys.exit(1 if found or not pages else 0)


if __name__ == "__main__":
    main()
