"""The program `airscene`, which is also `python -m airscene`."""

import os
import sys

INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended


def main() -> int:
    """Runs the command line; see `airscene.apps.cli.main`."""
    os.environ["MPLBACKEND"] = "agg"  # figures go to files, and an unknown backend stops matplotlib
    try:
        from airscene.apps.cli import main as run  # which takes seconds
    except KeyboardInterrupt:
        return INTERRUPTED
    return run()


if __name__ == "__main__":
    sys.exit(main())
