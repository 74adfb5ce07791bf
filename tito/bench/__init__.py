"""Benchmarks: their definition, how they are run, and their results.

    suite.yaml -> suites -> Suite -> runner (fresh child processes) -> Record -> store

Contents: `suite` (the model), `suites` (reading it), `workload` and `jobs` (inside a child), `results` (what a job may
return), `rounds` (one seed in one child), `runner`, `probes` (memory and stacks, observed from outside), `judge` (gates
and fronts), `record`, `store`, and `reference` (trained weights to keep).

May import: `tito.errors`, `tito.process`, `tito.versus.contest`, and tinytorch. It prints nothing and draws nothing.

Changed by: maintainers of the harness. A new benchmark is a folder in suites/ and needs no change here.
"""
