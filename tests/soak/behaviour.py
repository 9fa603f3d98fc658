"""What the jobs of a soak do, and how they must end."""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, Any

import attrs

from meshhook import DeadLetter, Snooze

if TYPE_CHECKING:
    from meshhook import Job

LEASE_SECONDS = 3.0
JOB_TIMEOUT_SECONDS = 5.5
MAX_ATTEMPTS = 12
RETRY_CONFIG = {"base_delay_ms": 50, "max_delay_ms": 500, "max_attempts": MAX_ATTEMPTS}

# How many jobs of a thousand behave how.
SHARES = {
    "succeed": 640,
    "fail": 140,
    "snooze": 80,
    "slow": 60,
    "hopeless": 45,
    "give up": 20,
    "over time": 12,
    "crash": 3,
}

# How they may end: all that did not use up their attempts in another way end as "completed".
DEAD = frozenset({"hopeless", "give up", "over time", "crash"})

# Of those that would otherwise take much longer than all the others.
OWN_MAX_ATTEMPTS = {"hopeless": 3, "over time": 2, "crash": 2}


class SoakError(Exception):
    """What a job of a soak raises when it is its part to fail."""


@attrs.frozen
class Act:
    """What a handler does in one attempt.

    Attributes:
        seconds: How long it works.
        error: What it raises then; None to return.
        crashes: Whether it kills its own process instead.
    """

    seconds: float
    error: BaseException | None = None
    crashes: bool = False


def draw_kinds(count: int, rng: random.Random) -> list[str]:
    """Draw by lot how so many jobs behave."""
    return rng.choices(list(SHARES), list(SHARES.values()), k=count)


def make_job(kind: str, rng: random.Random) -> dict[str, Any]:
    """Make the data of a job that behaves in some way."""
    metadata = {"kind": kind, "times": rng.randint(1, 3), "seconds": rng.uniform(0, 0.08)}
    data: dict[str, Any] = {
        name: str(uuid.UUID(int=rng.getrandbits(128)))
        for name in ("run_id", "workflow_id", "project_id")
    }
    if kind in OWN_MAX_ATTEMPTS:
        data["max_attempts"] = OWN_MAX_ATTEMPTS[kind]
    return {**data, "metadata": metadata}


def max_attempts_of(kind: str) -> int:
    """Return the last attempt of a kind of job."""
    return OWN_MAX_ATTEMPTS.get(kind, MAX_ATTEMPTS)


def act_of(job: Job) -> Act:
    """Return what a handler does with a job in this delivery."""
    metadata = job.message["metadata"]
    working_time = {"slow": LEASE_SECONDS + 1, "over time": JOB_TIMEOUT_SECONDS + 2}
    seconds = working_time.get(metadata["kind"], metadata["seconds"])
    error = _error_of(metadata["kind"], metadata["times"], job)
    return Act(seconds, error, crashes=metadata["kind"] == "crash")


def _error_of(kind: str, times: int, job: Job) -> BaseException | None:
    match kind:
        case "fail" if job.attempt <= times:
            return SoakError(f"attempt {job.attempt} of {times} that fail")
        case "hopeless":
            return SoakError("hopeless")
        case "give up":
            return DeadLetter("no further attempt makes sense")
        case "snooze" if job.read_ct <= times:
            return Snooze(0.1)
    return None
