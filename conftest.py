"""Set-up shared by all tests: the signals of a terminal, and the fixture that runs a test with each kernel backend.

A shell that starts a job in the background makes it ignore Ctrl-C, and `nohup` makes it ignore a closed terminal.
Child processes inherit both settings. Tests that send these signals would then wait until they time out, so the
default handlers are restored here.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(params=["numpy", "onednn"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once with each kernel backend, and restore the previous one; skip a backend that cannot be loaded.

    For a whole file: `pytestmark = pytest.mark.usefixtures("backend")`.
    """
    from tinytorch.native import backend as kernel_backend  # here: most tests need no kernel library
    from tinytorch.native import library

    if request.param == "onednn" and (problem := library.why_not()):
        pytest.skip(problem)
    before = kernel_backend.backend()
    kernel_backend.use_backend(request.param)
    yield request.param
    kernel_backend.use_backend(before)


@pytest.fixture
def onednn() -> Iterator[None]:
    """Run the test with oneDNN, and restore the previous backend; skip it where oneDNN cannot be loaded."""
    from tinytorch.native import backend as kernel_backend
    from tinytorch.native import library

    if problem := library.why_not():
        pytest.skip(problem)
    before = kernel_backend.backend()
    kernel_backend.use_backend("onednn")
    yield
    kernel_backend.use_backend(before)
