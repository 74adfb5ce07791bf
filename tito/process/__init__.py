"""Child processes: starting them, limiting them, reading their events, and recording their environment.

Contents: `child` (the parent's side), `inside` (the child's side), `events` (what passes between them), `environment`,
`orphan`, `turn` (one measurement at a time), `conditions` (load and stolen time), `documents` (the frozen base model
and the limits), and the facts that a process pins or reports: `blas`, `backend`, `provenance`.

May import: `tito.errors` and tinytorch; nothing else of tito. It does not depend on suites, records, or courses: the
caller that starts a child process names the module that does its job.

Changed by: maintainers of the harness, when the rules of measurement change.
"""
