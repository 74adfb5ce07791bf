"""Speed compared with ONNX Runtime and PyTorch: the same works, alternating, as a ratio with its interval.

A work is one computation that several libraries do, such as a training step. Each is a file in `works/`.

    works/NAME.py -> child (one contender in a fresh process) -> contest (both sides) -> driver (rounds) -> tables

Contents: `contender` (what a work returns), `rivals` (what TinyTorch is compared with), `child`, `contest`, `driver`,
`bounds` (what the machine allows), `tables` and `command` (what is printed), `nanogpt` (the PyTorch model to compare
with), and `works/`.

May import: `tito.errors`, `tito.files`, `tito.project`, `tito.process`, tinytorch, and, inside a work, torch. It does
not depend on suites or records; `tito.bench` calls `contest` for a round.

Changed by: authors of works; maintainers of the harness change the rest.
"""
