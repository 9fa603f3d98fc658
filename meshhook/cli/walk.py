"""Doing the same to many dead letters, piece by piece, so that an end in the middle is told."""

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


@attrs.define(kw_only=True)
class Walk:
    """A walk through dead letters.

    Attributes:
        doing: What is done, for the bar: replaying.
        done: The same when it is done: replayed.
        msg_ids: The dead letters.
        size: How many are taken at once.
        rate: How many a second at most, None for no limit.
        are_named: Whether the user has given the ids; then those that are done are missing in
            another run.
        count: How many are done.
        uncertain: How many more may be done: those of a call whose answer has not come.
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
        """Go through all of them, in order.

        Args:
            act: Does it to some, and returns to how many it was done.

        Raises:
            CommandError: With how many are done and how to go on; after an error, or a signal.
        """
        with sigterm_as_ctrl_c():
            try:
                self._go_through(act)
            except MeshHookError as error:
                raise CommandError(self._stopped(str(error)), exit_code(error)) from error
            except KeyboardInterrupt as error:
                raise CommandError(self._stopped("interrupted"), code_of(error)) from None

    def _go_through(self, act: Callable[[Sequence[int]], int]) -> None:
        seen = 0
        with progress_bar(self.doing, len(self.msg_ids)) as show:
            for piece in self._pieces():
                self.uncertain = len(piece)
                self.count += act(piece)
                self.uncertain = 0
                seen += len(piece)
                show(seen, f"{seen} of {len(self.msg_ids)}")

    def _pieces(self) -> Iterator[Sequence[int]]:
        begin = time.monotonic()
        for first in range(0, len(self.msg_ids), self.size):
            if self.rate is not None:
                time.sleep(max(0.0, begin + first / self.rate - time.monotonic()))
            yield self.msg_ids[first : first + self.size]

    def _stopped(self, why: str) -> str:
        total = output.counted(len(self.msg_ids), "dead letter")
        more = f" (and perhaps {self.uncertain} more)" if self.uncertain else ""
        missing = ", and tells that those which are done are missing" if self.are_named else ""
        return (
            f"{why.rstrip('.')}. {self.count} of {total} had been {self.done} before{more};"
            f" the same command goes on with the rest{missing}"
        )
