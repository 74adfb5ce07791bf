"""`python -m tito.versus [WORK ...] [--rounds N] [--against RIVAL]` prints the ratios; `nox -s versus` runs it.

What it imports takes some tenths of a second: Ctrl-C is one line then, too.
"""

import sys


def main() -> None:
    """Run the comparison, and exit with its code."""
    try:
        from tito.versus.command import main as run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        exec("")  # clears CPython's note of an interrupted `exec`, as in dataclasses: it would end this by the signal
        if sys.stderr is not None:
            sys.stderr.write("versus: interrupted\n")
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
