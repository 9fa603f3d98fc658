"""Run the tests of the SQL on other releases of Postgres: `python -m tests.compatibility`.

Each argument is a folder of Postgres' programs; without any, every Postgres that Debian's packages
have installed is taken. What follows `--` goes to pytest in place of the tests that are run
otherwise.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.compatibility.other_postgres import VARIABLE, version_line

DEBIAN = Path("/usr/lib/postgresql")
TESTS = ("tests/sql", "tests/upgrade/test_upgrade.py")
"""What needs no gateway: that of the embedded stack is made for the Postgres that it ships with."""


def main(arguments: list[str]) -> int:
    """Run the tests on each Postgres and say how each run ended.

    Args:
        arguments: Folders of programs, and after `--` what is given to pytest.

    Returns:
        0 if there was a Postgres and every run passed, otherwise 1.
    """
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    tests = arguments[cut + 1 :] or list(TESTS)
    found = [Path(folder) for folder in arguments[:cut]] or sorted(DEBIAN.glob("*/bin"))
    if not found:
        sys.stderr.write(f"no Postgres below {DEBIAN}: name a folder of its programs\n")
        return 1
    results = {version_line(programs): _run(programs, tests) for programs in found}
    for version, code in results.items():
        sys.stdout.write(f"{'passed' if code == 0 else f'FAILED ({code})'}: {version}\n")
    return int(any(results.values()))


def _run(programs: Path, tests: list[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-p", "tests.compatibility.other_postgres", *tests]
    environment = {**os.environ, VARIABLE: str(programs)}
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
