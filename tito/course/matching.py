"""How exercises name tests."""

from __future__ import annotations


def matches(test: str, wanted: str) -> bool:
    """Return whether a test is the wanted one, or one of its parameters.

    >>> matches("test_tensor.py::test_add[1-2]", "test_add")
    True
    >>> matches("test_tensor.py::test_add[1-2]", "test_add[1]")
    False
    """
    file, _, name = test.partition("::")
    expected, _, rest = wanted.partition("::")
    if expected.endswith(".py"):
        if file != expected:
            return False
        wanted = rest
    return name == wanted or ("[" not in wanted and name.partition("[")[0] == wanted)
