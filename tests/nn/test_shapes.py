"""No module of tinytorch.nn answers a tensor of an unexpected shape with an error of Python or NumPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tinytorch import nn
from tinytorch.base.errors import TinyTorchError
from tinytorch.tensor import Tensor

KINDS = sorted(
    name for name, kind in ((name, getattr(nn, name)) for name in dir(nn))
    if isinstance(kind, type) and issubclass(kind, nn.Module) and name != "Sequential"  # whose parts are no numbers
)  # fmt: skip
ARGUMENTS = ((), (2,), (4, 4), (2, 2, 1), (4, 4, 3), (4, 2, 3))
SHAPES = ((), (4,), (2, 3), (2, 4), (0, 4), (2, 4, 4), (2, 4, 4, 4), (2, 3, 5, 5), (0, 4, 4, 4), (1, 2, 4, 4, 4))


@pytest.mark.parametrize("name", KINDS)
def test_shapes_are_accepted_or_refused_in_words(name: str) -> None:
    for arguments in ARGUMENTS:
        try:
            module = getattr(nn, name)(*arguments)
        except (TinyTorchError, TypeError):
            continue
        for shape in SHAPES:
            x = Tensor(np.ones(shape, np.float32))
            for inputs in ((x,), (x, x)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing
                    try:
                        module(*inputs)
                    except (TinyTorchError, NotImplementedError):
                        pass
                    except TypeError as error:
                        assert "positional argument" in str(error)  # noqa: PT017
