"""Checks whether the jobs of a queue are worked on: pauses, workers, backlogs, lapsed leases.

The argument `served` holds the queues that have a worker that is alive. It is None if the database
does not say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook.cli import output
from meshhook.cli.doctor.findings import Finding, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from meshhook.cli.doctor.facts import Facts, Queue

OVERDUE_SECONDS = 300
"""How long a job may be due before its backlog is a problem."""

WAITING_SECONDS = 60
"""How long a job may be due if no worker is alive."""

COUNTED_DUE = 1000
"""In how many overdue jobs the database looks for lapsed leases."""

_MORE = "more workers (--processes) or more --concurrency"


def paused(queue: Queue) -> Iterator[Finding]:
    """Report a queue that is paused."""
    if queue.paused_at is not None:
        jobs = output.counted(queue.visible_jobs, "job")
        message = f"paused since {output.when(queue.paused_at)}, with {jobs} due"
        yield warning(f"queue {queue.name}", message, f"meshhook queues resume {queue.name}")


def workers(
    queue: Queue, served: Collection[str] | None, wanted: Sequence[str]
) -> Iterator[Finding]:
    """Check that a queue has a worker; a dead letter queue needs none.

    A missing worker and its backlog are one finding.
    """
    check = f"workers {queue.name}"
    if served is not None and queue.name in served:
        yield ok(check, "at least one is alive")
    elif served is None or _is_idle(queue):
        return
    elif queue.overdue_seconds > WAITING_SECONDS or queue.lapsed_jobs:
        yield problem(check, f"none is alive, and {_waiting(queue)}", _start(queue))
    elif queue.name in wanted:
        yield warning(check, "none is alive", _start(queue))


def growth(
    before: Facts,
    after: Facts,
    seconds: float,
    served: Collection[str] | None = None,
    reported: Collection[str] = (),
) -> Iterator[Finding]:
    """Compare two answers of the doctor.

    Args:
        before: The first.
        after: The later one.
        seconds: The time between them.
        served: The queues that have a worker that is alive; None if that is not known.
        reported: The checks that have found something: a backlog among them, or a missing worker,
            is not reported again.

    Yields:
        A finding for each queue of MeshHook's whose backlog grows.
    """
    depths = {queue.name: queue.visible_jobs for queue in before.queues}
    for queue in after.queues:
        then, now = depths.get(queue.name), queue.visible_jobs
        is_known = {f"workers {queue.name}", f"backlog {queue.name}"} & set(reported)
        if queue.is_dlq or not queue.is_known or queue.paused_at is not None or is_known:
            continue
        if then and now > then:
            more = output.counted(now - then, "more due job")
            yield warning(
                f"backlog {queue.name}",
                f"the backlog grows: {more} in {seconds:.0f} s, {now} in all",
                f"{_MORE}, or fewer jobs"
                if served is None or queue.name in served
                else _start(queue),
            )


def _is_idle(queue: Queue) -> bool:
    """Return whether a queue needs no worker at the moment."""
    is_unreadable = queue.broken is not None or bool(queue.gone)
    return queue.is_dlq or queue.paused_at is not None or is_unreadable


def backlog(queue: Queue, served: Collection[str] | None) -> Iterator[Finding]:
    """Check that the workers of a queue keep up; if none is alive, `workers` reports that."""
    if _is_idle(queue) or (served is not None and queue.name not in served):
        return
    if queue.overdue_seconds > OVERDUE_SECONDS:
        yield problem(f"backlog {queue.name}", _waiting(queue), _MORE)
    elif queue.lapsed_jobs:
        yield problem(f"stuck {queue.name}", _left(queue), f"another worker: {_start(queue)}")


def _waiting(queue: Queue) -> str:
    waiting = f"{_due(queue)}, the first since {output.age(queue.overdue_seconds)}"
    return f"{waiting}; {_left(queue)}" if queue.lapsed_jobs else waiting


def _due(queue: Queue) -> str:
    return f"{output.counted(queue.visible_jobs, 'job', 'are')} due"


def _left(queue: Queue) -> str:
    at_least = "at least " if queue.visible_jobs > COUNTED_DUE else ""
    jobs = output.counted(queue.lapsed_jobs, "job", "were")
    return f"{at_least}{jobs} left unfinished by workers that are gone"


def _start(queue: Queue) -> str:
    return f"meshhook worker module:handler --queue {queue.name}"
