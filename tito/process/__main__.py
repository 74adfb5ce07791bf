"""`python -m tito.process MODULE EVENTS_FD`: the entry of every child process; see `inside`."""

from tito.process.inside import main

main()
