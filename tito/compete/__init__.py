"""The competition: entries that are data, measured again by the organizer, and ranked by sealed receipts.

Contents, for an entry: `manifest`, `names`; `check`, with `shapes` (what fits), `steps` and `lineage` (the closed
division); the shared `folder`, with `plain` (files of strangers); `submit`; `rules`; `problems` (codes of refusals).
For measuring: `verify` (all entries) and `preview` (one round), on `measure` (rounds of the suite), `outcome` (one
entry), `session` (batches of entries between self-tests), `selftest` and `calibration` (the measurement itself),
`journal` (rounds that are in no receipt yet), `progress`, `writing`, and `seal` and `ledger` (which receipts count).
For results: `receipt` (what was measured for one entry), `intervals` (what decides that one entry beats another), and
`ranking` (from receipts to ranks, groups, and fronts).

May import: `errors`, `project`, `data`, `process`, `versus`, and `bench`; nothing that shows results. `report` and
`terminal` import only `receipt` and `ranking`.

Changed by: whoever changes the rules of the competition or what a receipt holds.
"""
