"""How much time `import meshhook` adds to `import supabase`."""

from __future__ import annotations

import compileall
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.processes import ROOT
from benchmarks.results import Result, Row, at_most

if TYPE_CHECKING:
    from benchmarks.settings import Settings
    from benchmarks.target import Space

SUPABASE = "import supabase"
MESHHOOK = "import meshhook, after it"


def measure(space: Space, settings: Settings) -> Result:  # noqa: ARG001 - needs no database
    """Import both in fresh interpreters, and read the time of each import."""
    # As pip does when it installs a package.
    compileall.compile_dir(ROOT / "meshhook", quiet=1)
    runs = [import_times() for _ in range(settings.runs)]
    rows = [
        Row(SUPABASE, "", [run["supabase"] for run in runs], "ms"),
        Row(MESHHOOK, "", [run["meshhook"] for run in runs], "ms"),
    ]
    share = 100 * rows[1].median / rows[0].median
    return Result(
        name="imports",
        title="Cold start: time to import, ms",
        how=["`python -X importtime -c 'import supabase, meshhook'`, a fresh interpreter each run"],
        x_title="",
        rows=rows,
        verdicts=[
            at_most("`import meshhook` adds at most a tenth to `import supabase`", share, 10, " %")
        ],
    )


def import_times() -> dict[str, float]:
    """Import both in a fresh interpreter.

    Returns:
        How long each took, in milliseconds, with all that it imports that was not there yet.
    """
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import supabase, meshhook"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return parsed(done.stderr)


def parsed(lines: str) -> dict[str, float]:
    """Read the output of `-X importtime`.

    Args:
        lines: Its output, one line for each module: own and cumulative microseconds, and the name,
            indented by how deep the import was.

    Returns:
        The cumulative milliseconds of the modules that were imported at the top.
    """
    times = {}
    for line in lines.splitlines():
        own, bar, rest = line.removeprefix("import time:").partition("|")
        cumulative, _, name = rest.partition("|")
        if bar and own.strip().isdigit() and name.startswith(" ") and not name.startswith("  "):
            times[name.strip()] = int(cumulative) / 1000
    return times
