"""Running a block of code as what a reader makes of it: a file, pasted and started."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import attrs

from tests.docs.snippets import Snippet


@attrs.frozen
class Run:
    """What a program did.

    Attributes:
        output: What it printed.
        code: Its exit code.
    """

    output: str
    code: int


def run(snippet: Snippet, folder: Path) -> Run:
    """Run a block as a program; one that does not end by itself is stopped after its first line.

    Args:
        snippet: The block.
        folder: Where its file is put.

    Returns:
        What it did.
    """
    script = folder / "program.py"
    script.write_text(snippet.code, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-u", "-W", "error", str(script)], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        output = program.stdout.readline()
        if snippet.runs_until_stopped:
            program.send_signal(signal.SIGTERM)
        output += program.communicate()[0]
    return Run(output, program.returncode)
