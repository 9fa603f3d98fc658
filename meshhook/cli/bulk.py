"""Replaying or deleting many dead letters in batches, with a report if it ends early."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from meshhook.cli import output
from meshhook.cli.exits import CommandError, code_of, exit_code, sigterm_as_ctrl_c
from meshhook.cli.output import progress_bar
from meshhook.exceptions import MeshHookError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from meshhook.models import ReplaySummary
    from meshhook.sync_services import SyncDLQService

BATCH = 100
"""How many dead letters one call replays if no rate is given."""


def replay(
    service: SyncDLQService,
    msg_ids: Sequence[int],
    target: str | None,
    rate: float | None,
    *,
    are_named: bool,
) -> list[ReplaySummary]:
    """Replay dead letters.

    Args:
        service: Their dead letter queue.
        msg_ids: Their ids.
        target: The queue to move them to; by default the one that each came from.
        rate: How many a second at most, None for no limit.
        are_named: Whether the user gave the ids.

    Returns:
        The summary of each batch.

    Raises:
        CommandError: An error or a signal ended it early.
    """
    # A batch holds no more than the rate allows in a second, so that jobs do not come in bursts.
    size = BATCH if rate is None else max(1, min(BATCH, int(rate)))
    done: list[ReplaySummary] = []

    def act(batch: Sequence[int]) -> int:
        done.append(service.replay_multiple_jobs(batch, target))
        return done[-1].success

    Bulk(
        doing="replaying",
        done="replayed",
        msg_ids=msg_ids,
        size=size,
        rate=rate,
        are_named=are_named,
    ).run(act)
    return done


def delete(service: SyncDLQService, msg_ids: Sequence[int], *, are_named: bool) -> list[int]:
    """Delete dead letters one after the other, and return the ids that do not exist.

    Args:
        service: Their dead letter queue.
        msg_ids: Their ids.
        are_named: Whether the user gave the ids.

    Raises:
        CommandError: An error or a signal ended it early.
    """
    missing: list[int] = []

    def act(batch: Sequence[int]) -> int:
        exists = service.delete_dead_letter_job(batch[0])
        if not exists:
            missing.append(batch[0])
        return int(exists)

    Bulk(doing="deleting", done="deleted", msg_ids=msg_ids, size=1, are_named=are_named).run(act)
    return missing


@attrs.define(kw_only=True)
class Bulk:
    """The same operation on many dead letters.

    Attributes:
        doing: The operation, for the progress bar, such as replaying.
        done: Its past participle, such as replayed.
        msg_ids: The dead letters.
        size: How many there are in a batch.
        rate: How many a second at most, None for no limit.
        are_named: Whether the user gave the ids; the same command then misses those that are done.
        count: How many are done.
        uncertain: How many more may be done: those of a call whose answer was lost.
    """

    doing: str
    done: str
    msg_ids: Sequence[int]
    size: int
    rate: float | None = None
    are_named: bool
    count: int = 0
    uncertain: int = 0

    def run(self, act: Callable[[Sequence[int]], int]) -> None:
        """Carry out the operation, one batch after the other.

        Args:
            act: Carries it out for a batch, and returns for how many it succeeded.

        Raises:
            CommandError: An error or a signal ended it; the message says how many are done.
        """
        with sigterm_as_ctrl_c():
            try:
                self._run_batches(act)
            except MeshHookError as error:
                raise CommandError(self._stopped(str(error)), exit_code(error)) from error
            except KeyboardInterrupt as error:
                raise CommandError(self._stopped("interrupted"), code_of(error)) from None

    def _run_batches(self, act: Callable[[Sequence[int]], int]) -> None:
        seen = 0
        with progress_bar(self.doing, len(self.msg_ids)) as show:
            for batch in self._batches():
                self.uncertain = len(batch)
                self.count += act(batch)
                self.uncertain = 0
                seen += len(batch)
                show(seen, f"{seen} of {len(self.msg_ids)}")

    def _batches(self) -> Iterator[Sequence[int]]:
        begin = time.monotonic()
        for first in range(0, len(self.msg_ids), self.size):
            if self.rate is not None:
                time.sleep(max(0.0, begin + first / self.rate - time.monotonic()))
            yield self.msg_ids[first : first + self.size]

    def _stopped(self, why: str) -> str:
        total = output.counted(len(self.msg_ids), "dead letter")
        more = f" (and perhaps {self.uncertain} more)" if self.uncertain else ""
        missing = ", and reports those that are done as missing" if self.are_named else ""
        return (
            f"{why.rstrip('.')}. {self.count} of {total} had been {self.done} before{more};"
            f" the same command goes on with the rest{missing}"
        )
