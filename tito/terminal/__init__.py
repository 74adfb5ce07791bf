"""What the commands print: tables from records, suites, and findings, and the progress of a run.

Contents: `tables` (how a table looks), `record`, `overview` (its cases side by side), `suite`, `machine` (data sets and
the doctor's findings), `progress`, and for the course `course` (the timeline), `grading`, and `lesson`.

May import: `tito.bench` and `tito.report` for records, suites, and how figures are written; `tito.course`, `tito.data`,
and `tito.doctor` for what they return. The functions return something that Rich can print and print nothing themselves.
Text says everything that a color says, so that nothing is lost without color.

Changed by: maintainers who change what a command prints.
"""
