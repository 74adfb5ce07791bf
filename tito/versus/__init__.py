"""Speed compared with PyTorch: the same works in both frameworks, alternating, as a ratio with its interval.

A work is one computation that both frameworks do, such as a training step. Each is a file in `works/`.

    works/NAME.py -> child (one contender in a fresh process) -> contest (both sides) -> driver (rounds) -> table

Contents: `contender` (what a work returns), `child`, `contest`, `driver`, `nanogpt` (the PyTorch model to compare
with), and `works/`.

May import: `tito.errors`, `tito.project`, `tito.process`, tinytorch, and, inside a work, torch. It does not depend on
suites or records; `tito.bench` calls `contest` for a round.

Changed by: authors of works; maintainers of the harness change the rest.
"""
