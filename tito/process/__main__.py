"""`python -m tito.process MODULE EVENTS_FD`: the entry of every child process; see `inside`."""

import os
import sys

from tito.process.inside import main

main()
# Everything is sent. A thread that the workload left running must not keep the process, and with it the result.
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)
