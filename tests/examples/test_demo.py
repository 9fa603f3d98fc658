"""The demo accounts for every delivery."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.examples.conftest import EXAMPLES


@pytest.mark.timeout(180)
def test_the_demo_delivers_everything_or_knows_why_not() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "webhook_delivery.py")],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "Enqueued 240 deliveries" in said
    assert re.search(r"Replayed [1-9]\d* of", said)
    assert "0 are unaccounted for" in said
