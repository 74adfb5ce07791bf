"""The errors that TinyTorch raises.

TinyTorchError
├── ShapeError (ValueError)        arrays with incompatible shapes; the message states them
├── GradientError (RuntimeError)   a missing derivative, or a graph that cannot be differentiated
├── NonFiniteError (ArithmeticError)  a loss that became NaN or infinite
├── StateError (ValueError)        a state_dict, checkpoint, or file that does not match the model
├── DataError (RuntimeError)       a data set that is missing, truncated, or corrupt
├── CheckError (ValueError)        a result that a check refuses; `code` says which check
└── SettingError (ValueError)      an argument that is out of range
    └── InputTypeError (TypeError)     an argument of the wrong type
"""

from typing import NoReturn


def how_to_install(extra: str = "") -> str:
    """Return the command that installs the dependencies, or an optional extra, from a checkout.

    It never names the distribution: `tinytorch` on PyPI is another project.

    >>> how_to_install("onednn")
    "`python -m pip install -e '.[onednn]'` in the checkout"
    """
    what = f"'.[{extra}]'" if extra else "."
    return f"`python -m pip install -e {what}` in the checkout"


class TinyTorchError(Exception):
    """Base class of all errors that TinyTorch raises. A message is one line, also if it contains an array."""

    def __init__(self, message: str = "", *rest: object) -> None:
        super().__init__(" ".join(message.split()) if "\n" in message else message, *rest)


class ShapeError(TinyTorchError, ValueError):
    """Shapes that are incompatible."""


class GradientError(TinyTorchError, RuntimeError):
    """A gradient that cannot be computed."""


class NonFiniteError(TinyTorchError, ArithmeticError):
    """A loss that is NaN or infinite."""


class StateError(TinyTorchError, ValueError):
    """Saved state that does not match, or a file that does not contain any."""


class PathError(StateError, OSError):
    """A path that cannot be written, e.g. that of a folder where a file is to be; callers may expect an OSError."""


class DataError(TinyTorchError, RuntimeError):
    """A data set that is not available, or whose content is not the expected one.

    The message may have several lines: a list of what was tried and of the files to get by hand.
    """

    def __init__(self, message: str = "", *rest: object) -> None:
        super().__init__(message, *rest)
        self.args = (message, *rest)


class CheckError(TinyTorchError, ValueError):
    """A result that a check refuses. `code` is a stable name for the reason, e.g. "answers"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SettingError(TinyTorchError, ValueError):
    """An argument that is not allowed."""


class InputTypeError(SettingError, TypeError):
    """An argument of the wrong type, e.g. one tensor where a list of tensors is expected."""


def yours(name: str) -> NoReturn:
    """Raise the error that stands for an answer that a learner has not written yet, where an expression is needed.

    >>> yours("06 DERIVATIVES[T.mul]")
    Traceback (most recent call last):
    NotImplementedError: 06 DERIVATIVES[T.mul]: yours to write
    """
    raise NotImplementedError(f"{name}: yours to write")
