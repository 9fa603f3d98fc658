"""The journal: one file in which all processes of a soak write down what they do.

Each line is written with one call to a file opened for appending, so lines of several processes
never mix, and a line that was written stays when its process is killed the moment after.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import attrs

# How often a process looks whether it gets time, and how long it gets none before that is noted.
BEAT_SECONDS = 0.1
STANDSTILL_SECONDS = 0.7


@attrs.frozen
class Entry:
    """A line of the journal.

    Attributes:
        at: When, on the clock of `time.monotonic`, which all processes share.
        who: The worker, or "soak".
        what: What happened.
        more: What else is to be said.
    """

    at: float
    who: str
    what: str
    more: dict[str, Any]


class Journal:
    """Writes lines."""

    def __init__(self, path: Path, who: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._who = who

    def note(self, what: str, **more: Any) -> None:
        """Write a line."""
        line = json.dumps([time.monotonic(), self._who, what, more], default=str)
        os.write(self._file, f"{line}\n".encode())

    def woke(self, since: float) -> None:
        """Write down that this process got no time, if it slept for much longer than a beat."""
        if time.monotonic() - since > BEAT_SECONDS + STANDSTILL_SECONDS:
            self.note("standstill", begin=since)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_journal(path: Path) -> list[Entry]:
    """Read the whole journal in the order of time."""
    lines = path.read_text().splitlines()
    return sorted((Entry(*json.loads(line)) for line in lines), key=lambda entry: entry.at)
