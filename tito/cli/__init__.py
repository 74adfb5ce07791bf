"""The command line `tito`: one file for each group of commands, and `app`, which adds them.

Contents: `console` (output, for all commands), the groups `module`, `checkpoint`, `milestone`, `suite`, `record`, and
`data`, the commands `grade` and `python` and those of the competition (`compete`), and `app` (`main`, `report`,
`doctor`).

May import: every other package of tito. A command parses its arguments, calls one of these packages, and prints the
result. They are imported inside the commands, so that `tito --help` does not load NumPy, pydantic, and the rest.

Changed by: maintainers who add a command. A group is a file in this folder and one line in `app`.
"""
