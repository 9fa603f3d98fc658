"""What the tests of the buffered producers have in common."""

from __future__ import annotations

from typing import Any

from tests.jobs import job_data

NEVER = 3600.0
"""A delay within which no test ends: what is sent is not sent for its age."""


def runs(jobs: Any) -> list[str]:
    """Return the run of each job, which tells the jobs apart."""
    return [job["run_id"] for job in jobs]


def some_jobs(count: int) -> list[dict[str, Any]]:
    """Return jobs."""
    return [job_data() for _ in range(count)]
