"""The lesson of a module: the Markdown file in its folder."""

from __future__ import annotations

from tito.course.modules import Module
from tito.errors import CourseError
from tito.files import read_plain
from tito.project import Project


def read_lesson(project: Project, module: Module) -> str:
    """Return the text of a module's lesson.

    Raises:
        CourseError: there is none, or it is not text.
    """
    path = project.root / "modules" / module.folder / "lesson.md"
    try:
        return read_plain(path).decode().replace("\r\n", "\n")
    except FileNotFoundError:
        raise CourseError(f"{path}: module {module.label} has no lesson in this checkout") from None
    except UnicodeDecodeError:
        raise CourseError(f"{path}: not a text file in UTF-8") from None
