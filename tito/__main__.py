"""`python -m tito`: the same as the console script `tito`."""

from tito.cli.app import main

main()
