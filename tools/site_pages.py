"""The pages of the documentation site as plain Markdown, from which `nox -s docs` builds the site.

    python tools/site_pages.py build/pages      writes the pages there, and build/mkdocs.yml with their navigation

    docs/*.md                    *.md                  guides
    README.md                    index.md              start page
    examples/                    examples.md           the programs with their code
    `tito ... --help`            tito.md               reference of the command line
    modules/NN_name/lesson.md    lessons/NN_name.md    lessons with their drawings, and a list of the 20 modules
    tinytorch/**/*.py            api/*.md              API reference, one line for mkdocstrings each
    CHANGELOG.md, ...            changelog.md, ...

Nothing is copied into the repository. Links between files of the repository become links between pages; a link to a
file without a page is an error. This file does not depend on the program that builds the site from the pages.
"""

from __future__ import annotations

import ast
import importlib
import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]

FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
COMMAND = re.compile(r"^  ([a-z]+)  ", re.MULTILINE)  # a line below "Commands:" in a help text


@dataclass(frozen=True)
class Made:
    """A page: its place in the site, the file that it shows, its Markdown, and its title."""

    uri: str
    source: str  # relative to the root; links in the text are relative to it
    text: str
    title: str


def made_pages() -> list[Made]:
    """Return all pages except that of the commands, which takes a few seconds to create."""
    files = {
        "README.md": ("index.md", "Start"),
        "CONTRIBUTING.md": ("contributing.md", "Contributing"),
        "CHANGELOG.md": ("changelog.md", "Changes"),
        "SECURITY.md": ("security.md", "Security"),
    }
    pages = [Made(uri, name, (ROOT / name).read_text("utf-8"), title) for name, (uri, title) in files.items()]
    license_text = (ROOT / "LICENSE").read_text("utf-8").strip()
    pages.append(Made("license.md", "LICENSE", f"# License\n\n```text\n{license_text}\n```\n", "License"))
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text("utf-8")
        pages.append(Made(path.name, f"docs/{path.name}", text, text.partition("\n")[0].lstrip("# ")))
    return [*pages, examples_page(), *lesson_pages(), *api_pages()]


# Examples and the command line ---------------------------------------------------------------------------


def examples_page() -> Made:
    """Return the page with the README of the examples and the code of each program."""
    text = (ROOT / "examples" / "README.md").read_text("utf-8")
    parts = [text.rstrip()]
    for path in example_files():
        name = path.relative_to(ROOT / "examples").as_posix()
        language = "yaml" if path.suffix == ".yaml" else "python"
        parts.append(f"## {name} {{ #{anchor(name)} }}\n\n```{language}\n{path.read_text('utf-8').rstrip()}\n```")
    return Made("examples.md", "examples/README.md", "\n\n".join(parts) + "\n", "Examples")


def example_files() -> list[Path]:
    """Return the programs, then the files of the suite."""
    folder = ROOT / "examples"
    return [*sorted(folder.glob("*.py")), *sorted(folder.glob("own_suite/*/*.yaml")), *sorted(folder.glob("*/*/*.py"))]


def anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def command_page() -> Made:
    """Return the page with the help text of every command of `tito`, as the program prints it."""
    parts = ["# Commands of tito", "The help text of every command, as the program prints it."]
    for words in commands():
        parts.append(f"## {' '.join(['tito', *words])}\n\n```text\n{help_text(*words)}\n```")
    return Made("tito.md", "README.md", "\n\n".join(parts) + "\n", "Commands")


def commands() -> Iterator[tuple[str, ...]]:
    """Yield (), then each group and command: ("suite",), ("suite", "list"), ..."""
    yield ()
    for first in subcommands():
        yield (first,)
        for second in subcommands(first):
            yield first, second


def subcommands(*words: str) -> list[str]:
    """Return the names that a help text lists below "Commands:"."""
    _, _, listed = help_text(*words).partition("Commands:")
    return COMMAND.findall(listed)


def help_text(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tito", *words, "--help"],
        env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


# Lessons -------------------------------------------------------------------------------------------------


def module_folders() -> list[Path]:
    return sorted((ROOT / "modules").glob("[0-9][0-9]_*"))


def module_file(folder: Path) -> str:
    """Return the stem of a module's file in tinytorch/: its folder's name, except for the first, 01_setup."""
    name = folder.name[3:]
    return {"setup": "environment"}.get(name, name)


def lesson_pages() -> Iterator[Made]:
    """Yield the list of the modules, and their lessons."""
    rows = ["| module | file | lesson |", "|---|---|---|"]
    for folder in module_folders():
        lesson, stem = folder / "lesson.md", module_file(folder)
        name = folder.name[3:].replace("_", " ").capitalize()
        # relative to modules/, because the source of this page is given as modules/README.md
        there = f"[{title_of(lesson)}]({folder.name}/lesson.md)"
        rows.append(f"| {folder.name[:2]} {name} | [`{stem}.py`](../tinytorch/{stem}.py) | {there} |")
        source = lesson.relative_to(ROOT).as_posix()
        yield Made(f"lessons/{folder.name}.md", source, lesson.read_text("utf-8"), f"{folder.name[:2]} {name}")
    text = (
        "# The course\n\nTwenty modules build the framework. Each one is a file that imports only files of earlier "
        "modules, and has a lesson.\n\n"
    )
    yield Made("lessons/index.md", "modules/README.md", text + "\n".join(rows) + "\n", "Modules")


def title_of(lesson: Path) -> str:
    """Return the first heading without its number and name: "Know your machine"."""
    heading = lesson.read_text("utf-8").partition("\n")[0].lstrip("# ")
    subtitle = heading.partition(": ")[2] or heading
    return subtitle[0].upper() + subtitle[1:]


# API reference -------------------------------------------------------------------------------------------


def modules_of(folder: Path) -> list[str]:
    """Return the dotted names of the Python files directly in a folder, without its `__init__`."""
    stems = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return [".".join((*folder.relative_to(ROOT).parts, stem)) for stem in stems]


def rooms() -> list[Path]:
    """Return the packages in tinytorch/, and those in them."""
    return sorted(file.parent for file in (ROOT / "tinytorch").glob("*/**/__init__.py"))


def course() -> list[str]:
    """Return the dotted names of the files of the course, in its order, then any other file next to them."""
    order = [f"tinytorch.{module_file(folder)}" for folder in module_folders()]
    found = modules_of(ROOT / "tinytorch")
    return [name for name in order if name in found] + [name for name in found if name not in order]


def api_pages() -> Iterator[Made]:
    """Yield a page for each package, and one for each module, which mkdocstrings fills in."""
    packages = ["tinytorch", *(".".join(room.relative_to(ROOT).parts) for room in rooms())]
    for package in packages:
        text = f"# {package}\n\n::: {package}\n    options: {{members: false, show_root_heading: false}}\n\n"
        yield Made(page_for(package), file_of(package), text + names_table(package), package)
    for name in [*course(), *(module for room in rooms() for module in modules_of(room))]:
        text = f"# {name}\n\n::: {name}\n    options: {{show_root_heading: false}}\n"
        yield Made(page_for(name), file_of(name), text, name.rpartition(".")[2])


def page_for(name: str) -> str:
    """Return the page of a module or package: tinytorch.saved.table -> api/saved/table.md."""
    _, *parts = name.split(".")
    is_package = file_of(name).endswith("__init__.py")
    return "/".join(["api", *parts, "index"] if is_package else ["api", *parts]) + ".md"


def file_of(name: str) -> str:
    """Return the file of a module or package, relative to the root."""
    path = Path(*name.split("."))
    return (path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")).as_posix()


def names_table(package: str) -> str:
    """Return the public names of a package (`__all__`), each with a link to where it is defined."""
    module = importlib.import_module(package)
    homes: dict[str, list[str]] = {}
    for name in getattr(module, "__all__", []):
        home = getattr(getattr(module, name), "__module__", "")
        homes.setdefault(home, []).append(name)
    if not homes:
        return ""
    order = {name: i for i, name in enumerate(course())}
    rows = ["## Public names", "", "| names | defined in |", "|---|---|"]
    for home in sorted(homes, key=lambda home: (order.get(home, len(order)), home)):
        if home.startswith("tinytorch."):
            documented = defined_in(home)
            links = (f"[`{name}`][{home}.{name}]" if name in documented else f"`{name}`" for name in homes[home])
            names = ", ".join(links)
            rows.append(f"| {names} | [`{home}`][{home}] |")
        else:  # a plain value, which has no __module__
            rows.append(f"| {', '.join(f'`{name}`' for name in homes[home])} | |")
    return "\n".join(rows) + "\n"


def defined_in(module: str) -> set[str]:
    """Return the functions and classes that a module defines, which its page describes.

    Others are made, as `log2` is from NumPy's function and its derivative, and have no entry of their own.
    """
    tree = ast.parse((ROOT / file_of(module)).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = {node.name for node in tree.body if isinstance(node, kinds)}
    described = zip(tree.body, tree.body[1:], strict=False)  # a value with a docstring below it
    for node, after in described:
        text = (
            isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        )
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {target.id for target in targets if text and isinstance(target, ast.Name)}
    return found


# Links ---------------------------------------------------------------------------------------------------


def homes_of(pages: list[Made]) -> dict[str, str]:
    """Return the page of each file that has one."""
    return {page.source: page.uri for page in pages}


def page_of(path: str, homes: dict[str, str]) -> str | None:
    """Return the page of a file or folder of the repository, with an anchor where it is only a part of a page."""
    folders = {"examples": "examples.md", "modules": "lessons/index.md", "tinytorch": "api/index.md"}
    if path in homes or path in folders:
        return homes.get(path) or folders[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("modules/") and path.endswith(".svg"):
        return path.replace("modules/", "lessons/", 1)
    if path.startswith("examples/"):  # a program, or the folder of the suite: its first file
        for file in example_files():
            if file.relative_to(ROOT).as_posix().startswith(path):
                return f"examples.md#{anchor(file.relative_to(ROOT / 'examples').as_posix())}"
    return None


def relinked(page: Made, homes: dict[str, str]) -> str:
    """Return a page's text with its links between files replaced by links between pages.

    Args:
        homes: the page of each file that has one.

    Raises:
        ValueError: the page links to a file that has no page.
    """

    def link(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page.source), found[1]))
        place = page_of(path, homes)
        if place is None:
            raise ValueError(f"{page.source} links to {path}, which has no page; link to another file, or name it only")
        home, _, part = place.partition("#")
        fragment = found[2] or (f"#{part}" if part else "")
        return posixpath.relpath(home, posixpath.dirname(page.uri) or ".") + fragment

    parts = FENCED.split(page.text)  # text, code, text, ...
    parts[::2] = [LINK.sub(link, text) for text in parts[::2]]
    return "".join(parts)


# Writing -------------------------------------------------------------------------------------------------


def navigation(pages: dict[str, Made]) -> list[Any]:
    """Return the site's navigation, in the form of mkdocs.yml."""

    def entry(uri: str) -> dict[str, str]:
        return {pages[uri].title: uri}

    def entries(names: list[str]) -> list[dict[str, str]]:
        return [entry(page_for(name)) for name in names]

    lessons = [uri for uri in sorted(pages) if uri.startswith("lessons/") and uri != "lessons/index.md"]
    names = {room.relative_to(ROOT / "tinytorch").as_posix(): room for room in rooms()}
    packages = [{name: [f"api/{name}/index.md", *entries(modules_of(room))]} for name, room in names.items()]
    start = ["examples.md", "changelog.md", "contributing.md", "security.md", "license.md"]
    guides = [
        "course.md",
        "command-line.md",
        "measuring.md",
        "writing-a-suite.md",
        "competition.md",
        "architecture.md",
        "tito.md",
    ]
    return [
        {"Start": ["index.md", *map(entry, start)]},
        {"Guides": [*map(entry, guides)]},
        {"Lessons": ["lessons/index.md", *map(entry, lessons)]},
        {"API": ["api/index.md", {"Modules": entries(course())}, *packages]},
    ]


def write(folder: Path) -> None:
    """Write all pages and the files that they show into a folder, which is replaced, and mkdocs.yml next to it.

    Raises:
        ValueError: a page links to a file that has no page.
    """
    pages = made_pages()
    homes = homes_of(pages)
    made = {page.uri: page for page in [*pages, command_page()]}
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.md"))
    for drawing in (ROOT / "modules").glob("*/*.svg"):
        copy = folder / "lessons" / drawing.relative_to(ROOT / "modules")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(drawing, copy)
    for page in made.values():
        path = folder / page.uri
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(relinked(page, homes), "utf-8")
    settings = {"INHERIT": "../mkdocs.yml", "docs_dir": folder.name, "site_dir": "site", "nav": navigation(made)}
    (folder.parent / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")


if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]).resolve())
    except ValueError as error:
        sys.exit(f"site_pages: {error}")
