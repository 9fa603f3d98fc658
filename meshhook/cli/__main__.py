"""`python -m meshhook.cli` is the command `meshhook`."""

from __future__ import annotations

import sys

from meshhook.cli import main

if __name__ == "__main__":
    sys.exit(main())
