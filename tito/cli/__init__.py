"""The command line `tito`: one file for each group of commands, and `app`, which adds them.

Contents: `console` (what every command prints with), the groups `suite`, `record`, and `data`, and `app` (`main`,
`report`, `doctor`).

May import: every other room. A command parses its arguments, calls a room, and prints the answer. Rooms are imported
inside the commands, so that `tito --help` need not load NumPy, pydantic, and the rest.

Changed by: whoever adds a command. A group is a file here and one line in `app`.
"""
