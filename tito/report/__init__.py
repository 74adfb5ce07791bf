"""Reports: figures and pages, created from records alone, without a network.

    records -> history (tables) -> figures, exhibits (pieces of a page) -> pages (HTML files)

Contents: `headline` (the figures to read first), `verdicts` (gates and aims), `overview` and `speedups` (cases side by
side), `figures`, `curves`, `flame`, `exhibits`, `history`, `pieces` (what a page consists of); `record_page`,
`suite_page`, and `timeline` (what the three kinds of pages show), and `pages`, which writes them; `units` (numbers as
text); `journey` and `lesson` for the course.

May import: `tito.errors`, `tito.bench.record` and `tito.bench.suite` for the models, and `tito.course.journey` for a
learner's progress; from tinytorch, atomic writes and PNG. It runs and measures nothing.

Changed by: maintainers who change what a page or the terminal shows of a record.
"""
