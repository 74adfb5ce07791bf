"""Reports: figures and pages, created from records alone, without a network.

    records -> history (tables) -> figures, exhibits (pieces of a page) -> pages (HTML files)

Contents: `headline` (the figures to read first), `verdicts` (gates and aims), `overview` (cases side by side),
`figures`, `curves`, `flame`, `exhibits`, `history`, `pieces` (what a page consists of), `pages`, `units` (numbers as
text), and for the course `journey` and `lesson`.

May import: `tito.errors`, `tito.bench.record` and `tito.bench.suite` for the models, and `tito.course.journey` for a
learner's progress; from tinytorch, atomic writes and PNG. It runs and measures nothing.

Changed by: maintainers who change what a page or the terminal shows of a record.
"""
