"""For all tests: signals arrive as in a terminal.

A shell that starts a job in the background makes it ignore Ctrl-C, `nohup` makes it ignore a closed terminal, and what
it starts inherits both; the tests that send these signals would then wait in vain.
"""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
