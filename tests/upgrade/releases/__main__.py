"""Write down the migration as that of a release: `python -m tests.upgrade.releases 0.1.0`."""

from __future__ import annotations

import sys

from tests.upgrade.releases import write

sys.stdout.write(f"{write(sys.argv[1])}\n")
