"""Every error that TinyTorch raises on purpose.

TinyTorchError
├── ShapeError (ValueError)        arrays whose shapes do not fit; the message states them
├── GradientError (RuntimeError)   a missing derivative, or a graph that cannot be walked
├── NonFiniteError (ArithmeticError)  a loss that became NaN or infinite
├── StateError (ValueError)        a state_dict, checkpoint or file that does not fit the model
├── DataError (RuntimeError)       a data set that is missing, cut or corrupt
├── CheckError (ValueError)        a figure that a check does not believe; `code` says which check
└── SettingError (ValueError)      an argument out of its range
"""


def how_to_install(extra: str = "") -> str:
    """Return the command that installs the dependencies, or an optional extra, from a checkout.

    It never names the distribution: `tinytorch` on PyPI is another project.

    >>> how_to_install("onednn")
    "python -m pip install -e '.[onednn]' in the checkout"
    """
    what = f"'.[{extra}]'" if extra else "."
    return f"python -m pip install -e {what} in the checkout"


class TinyTorchError(Exception):
    """Base of all errors here: catch it to catch them all."""


class ShapeError(TinyTorchError, ValueError):
    """Shapes that do not fit together."""


class GradientError(TinyTorchError, RuntimeError):
    """Differentiation that is not possible as asked."""


class NonFiniteError(TinyTorchError, ArithmeticError):
    """A loss that is NaN or infinite."""


class StateError(TinyTorchError, ValueError):
    """Saved state that does not fit, or a file that does not hold any."""


class DataError(TinyTorchError, RuntimeError):
    """A data set that cannot be had, or whose bytes are not the right ones."""


class CheckError(TinyTorchError, ValueError):
    """A result that a check refuses. `code` is a stable name for the reason, e.g. "answers"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SettingError(TinyTorchError, ValueError):
    """An argument outside what is allowed."""
