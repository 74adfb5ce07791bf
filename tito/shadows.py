"""A file that hides a library of the same name: `random.py` in the working directory, or `numpy.py` on PYTHONPATH.

Imports only what Python itself has loaded: any other library may be the hidden one.
"""

import os
import sys
from collections.abc import Iterator

LIBRARIES = (
    *("numpy", "rich", "typer", "yaml", "pydantic", "pydantic_core", "psutil", "pandas", "plotly", "jinja2"),
    *("safetensors", "ml_dtypes", "pooch", "platformdirs", "shellingham", "tinytorch", "tito"),
)
HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 (pathlib may be hidden)
STANDARD = os.path.dirname(os.__file__)  # noqa: PTH120


def hidden_library(error: BaseException) -> str | None:
    """Return one line that names the file, if an error is due to a file that hides a library."""
    if not isinstance(error, ImportError | AttributeError | SyntaxError | TypeError | NameError):
        return None
    for file in _candidates(error):
        name = _library(file)
        if name:
            kind = "Python's module" if name in sys.stdlib_module_names else "the package"
            advice = "rename it, or keep its folder out of PYTHONPATH and the working directory"
            return f"{file} hides {kind} {name}: {advice}"
    return None


def _candidates(error: BaseException) -> Iterator[str]:
    """Yield the files that the error names, then those of its traceback, the last first, then all that are loaded."""
    for name in ("path", "filename"):
        if isinstance(vars(error).get(name) or getattr(error, name, None), str):
            yield getattr(error, name)
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    yield from reversed(frames)
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            yield file


def _library(file: str) -> str | None:
    """Return the name of the library that a file hides, if any."""
    folder, name = os.path.split(os.path.abspath(file))  # noqa: PTH100
    if name == "__init__.py":
        folder, name = os.path.split(folder)
    name = name.removesuffix(".py")
    if name in sys.stdlib_module_names:
        searched = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100
        return name if folder in searched and not folder.startswith(STANDARD) else None
    installed = os.path.basename(folder) in ("site-packages", "dist-packages") or folder == HOME  # noqa: PTH119
    searched = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100
    return name if name in LIBRARIES and folder in searched and not installed else None
