"""The program `airscene`, which is also `python -m airscene`."""

import os
import sys


def main() -> int:
    """Runs the command line; see `airscene.cli.main`."""
    os.environ["MPLBACKEND"] = "agg"  # figures go to files, and an unknown backend stops matplotlib
    from airscene.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
