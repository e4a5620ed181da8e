"""`python -m airscene` is the command `airscene`."""

import sys

from airscene.cli import main

sys.exit(main())
