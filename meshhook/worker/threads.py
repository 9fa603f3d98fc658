"""Threads for plain handlers.

They are daemon threads: a handler that never returns must not keep the process from ending, as a
thread of `anyio.to_thread` would. They are reused, so a quick handler costs no new thread.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.lowlevel

if TYPE_CHECKING:
    from collections.abc import Callable


class _Thread(threading.Thread):
    def __init__(self) -> None:
        super().__init__(name="meshhook-handler", daemon=True)
        self.inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def run(self) -> None:
        while (work := self.inbox.get()) is not None:
            work()


def _context_for_thread() -> contextvars.Context:
    """Return a copy of the caller's context in which no event loop seems to run."""
    context = contextvars.copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        # Without this, a handler could not call asyncio.run() or the like in its thread.
        context.run(sniffio.current_async_library_cvar.set, None)
    return context


class HandlerThreads:
    """Runs functions in threads, without a limit of its own on how many."""

    def __init__(self) -> None:
        self._idle: list[_Thread] = []

    async def run(self, function: Callable[[], Any], when_ended: Callable[[], None]) -> Any:
        """Run a function in a thread and wait for it.

        Nothing stops a thread: if the wait is cancelled, the function goes on, and its result is
        thrown away.

        Args:
            function: The function; it sees the context variables of the caller.
            when_ended: Called in the event loop when the function has ended, even if nobody waits
                for it any longer.

        Returns:
            What the function returns.

        Raises:
            BaseException: Anything that the function raises.
        """
        ended = anyio.Event()
        token = anyio.lowlevel.current_token()
        context = _context_for_thread()
        results: list[Any] = []
        raised: list[BaseException] = []
        thread = self._idle.pop() if self._idle else self._new_thread()

        def note_end() -> None:
            when_ended()
            ended.set()

        def work() -> None:
            try:
                results.append(context.run(function))
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                raised.append(error)
            self._idle.append(thread)
            try:
                anyio.from_thread.run_sync(note_end, token=token)
            except anyio.RunFinishedError:
                return  # the event loop has ended, and nobody waits any longer

        thread.inbox.put(work)
        await ended.wait()
        if raised:
            raise raised.pop()  # if it were kept, its traceback and this frame would form a circle
        return results[0]

    def close(self) -> None:
        """End the idle threads."""
        while self._idle:
            self._idle.pop().inbox.put(None)

    @staticmethod
    def _new_thread() -> _Thread:
        thread = _Thread()
        thread.start()
        return thread
