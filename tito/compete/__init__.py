"""The competition: entries that are data, measured again by the organizer, and ranked by sealed receipts.

Contents: an entry (`manifest`, `names`), its check (`check`, with `shapes` for what fits, `steps` and `lineage` for the
closed division), the shared folder (`folder`, with `plain` for files of strangers), `submit`, the `rules`, and the codes
of refusals (`problems`); `receipt` (what was measured for one entry) and `ranking` (from receipts to ranks, groups, and
fronts).

May import: `errors`, `project`, `data`, `process`, `versus`, and `bench`; nothing that shows results. `report` and
`terminal` import only `receipt` and `ranking`.

Changed by: whoever changes the rules of the competition or what a receipt holds.
"""
