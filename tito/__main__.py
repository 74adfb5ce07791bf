"""`python -m tito`, and the console script: runs the command line.

What the command line imports may be hidden by a file of the same name, or be interrupted: this is one line, too.
"""

import sys

from tito.shadows import hidden_library


def main() -> None:
    """Run the command line."""
    try:
        from tito.cli.app import main as run

        run()
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    except Exception as error:
        found = hidden_library(error)
        if found is None:
            raise
        _leave(found, 1)


def _leave(message: str, code: int) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"tito: {message}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
