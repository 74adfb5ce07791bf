"""The same work done by this framework and by PyTorch, alternating, as a ratio with its interval.

    works/NAME.py -> child (one contender in a fresh process) -> contest (both sides) -> driver (rounds) -> table

Contents: `contender` (what a work returns), `child`, `contest`, `driver`, `nanogpt` (the PyTorch model to compare
with), and `works/`.

May import: `tito.errors`, `tito.project`, `tito.process`, tinytorch, and, inside a work, torch. It knows no suites or
records; `tito.bench` calls `contest` for a round.

Changed by: whoever adds a work, a file in `works/`; maintainers of the harness change the rest.
"""
