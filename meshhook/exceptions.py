"""Every error that MeshHook raises.

    MeshHookError
    ├── InvalidInputError (ValueError)        refused before anything was sent
    ├── ConfigurationError                    the environment or the client is not usable
    ├── JobNotFoundError (LookupError)        no such job or dead letter
    ├── LeaseLostError                        another worker has the job now
    ├── JobTimeoutError                       a handler took longer than its time
    └── RequestError                          a call to Supabase failed
        ├── OutageError                       temporary: retry later; MeshHook repeats its calls
        │   ├── UnreachableError              no connection, or it broke
        │   ├── RequestTimeoutError           no answer in time
        │   ├── StatementTimeoutError         Postgres cut the call off
        │   ├── ServerUnavailableError        5xx, pool exhausted, database restarting
        │   └── RateLimitedError              429
        ├── AuthenticationError
        │   ├── InvalidKeyError               the key does not belong to this project
        │   └── ExpiredKeyError               the key has expired
        ├── PermissionDeniedError             the key is valid, but its role may not do this
        ├── MissingFunctionsError             MeshHook's migrations are not (all) applied
        ├── QueueNotFoundError                no such queue
        ├── RejectedError                     the database refused an argument
        ├── DatabaseError                     the database raised another error
        ├── PartialEnqueueError               some of many jobs were not enqueued
        └── UnexpectedAnswerError             an answer that MeshHook cannot make sense of

Errors of the libraries below (httpx, postgrest) reach the caller only as the ``__cause__`` of one
of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any

__all__ = [
    "AuthenticationError",
    "ConfigurationError",
    "DatabaseError",
    "ExpiredKeyError",
    "InvalidInputError",
    "InvalidKeyError",
    "JobNotFoundError",
    "JobTimeoutError",
    "LeaseLostError",
    "MeshHookError",
    "MissingFunctionsError",
    "OutageError",
    "PartialEnqueueError",
    "PermissionDeniedError",
    "Problem",
    "QueueNotFoundError",
    "RateLimitedError",
    "RejectedError",
    "RequestError",
    "RequestTimeoutError",
    "ServerUnavailableError",
    "StatementTimeoutError",
    "UnexpectedAnswerError",
    "UnreachableError",
]


MAX_SHOWN = 20
"""How many problems the text of an `InvalidInputError` shows."""


class MeshHookError(Exception):
    """The root of every error that MeshHook raises."""

    def __reduce__(self) -> tuple[object, ...]:
        # By default, pickle calls the class with the text of the error. These classes take other
        # arguments, so an error could not come back from a process pool.
        return unpickled, (type(self), self.args, vars(self))


def unpickled(
    kind: type[BaseException], args: tuple[object, ...], state: dict[str, object]
) -> BaseException:
    """Return an exception as it was pickled, without calling its ``__init__``."""
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


@attrs.frozen
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        field: Its place, such as ``metadata.items[3]``.
        value: The value there, as a short text.
        fix: What to give instead.
    """

    field: str
    value: str
    fix: str

    def __str__(self) -> str:
        return f"{self.field} is {self.value}: {self.fix}"


class InvalidInputError(MeshHookError, ValueError):
    """An input is not usable; nothing was sent and nothing has changed.

    Args:
        problems: Everything that is wrong, not only the first. The text shows the first twenty.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        shown = [str(problem) for problem in self.problems[:MAX_SHOWN]]
        if (more := len(self.problems) - MAX_SHOWN) > 0:
            shown.append(f"and {more} more problem{'s' if more > 1 else ''}")
        super().__init__("; ".join(shown))


class ConfigurationError(MeshHookError):
    """The settings or the client cannot be used for MeshHook."""


class JobNotFoundError(MeshHookError, LookupError):
    """There is no dead letter with that id.

    Args:
        queue_name: The queue that was searched.
        msg_id: The id that is not there.
    """

    def __init__(self, queue_name: str, msg_id: int) -> None:
        self.queue_name = queue_name
        self.msg_id = msg_id
        super().__init__(f'The queue "{queue_name}" holds no message with msg_id {msg_id}.')


class LeaseLostError(MeshHookError):
    """Another worker has claimed the job since, so this one may no longer settle it.

    Args:
        queue_name: The job's queue.
        msg_id: The job's id.
    """

    def __init__(self, queue_name: str, msg_id: int) -> None:
        self.queue_name = queue_name
        self.msg_id = msg_id
        super().__init__(f'The lease of job {msg_id} in the queue "{queue_name}" is lost.')


class JobTimeoutError(MeshHookError):
    """A handler took longer than its time limit.

    Args:
        timeout_seconds: The limit, in seconds.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        super().__init__(f"The handler did not finish within {timeout_seconds:g} seconds.")


class RequestError(MeshHookError):
    """A call to Supabase failed.

    Args:
        message: What happened, and what to do.
        function: The database function that was called.
        status: The HTTP status, if there was an answer.
        code: PostgREST's or Postgres' error code, if the answer had one.
        details: The details of the answer, besides its message.
        hint: The advice of the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        function: str,
        status: int | None = None,
        code: str | None = None,
        details: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.function = function
        self.status = status
        self.code = code
        self.details = details
        self.hint = hint
        super().__init__(message)


class OutageError(RequestError):
    """Supabase cannot be used at the moment: retry later.

    Attributes:
        retry_after_seconds: How long the answer asks to wait, in seconds, if it does.
    """

    retry_after_seconds: float | None = None


class UnreachableError(OutageError):
    """There is no connection, or it broke before the answer was complete."""


class RequestTimeoutError(OutageError):
    """The answer did not come in time."""


class StatementTimeoutError(OutageError):
    """Postgres cut the call off, because it took longer than the role's statement_timeout."""


class ServerUnavailableError(OutageError):
    """Something between here and the database is down, restarting or full."""


class RateLimitedError(OutageError):
    """Supabase asks for fewer requests."""


class AuthenticationError(RequestError):
    """The key was not accepted."""


class InvalidKeyError(AuthenticationError):
    """The key does not belong to this project."""


class ExpiredKeyError(AuthenticationError):
    """The key or token was valid, and has expired."""


class PermissionDeniedError(RequestError):
    """The key is valid, but its role may not do this: it is not the secret key, or lost a right."""


class MissingFunctionsError(RequestError):
    """The database does not have the function: MeshHook's migrations are not (all) applied."""


class QueueNotFoundError(RequestError):
    """There is no such queue."""


class RejectedError(RequestError):
    """The database refused an argument; nothing has changed.

    Attributes:
        field: The argument, if the database named it.
        value: What was given for it, if the database named it.
    """

    field: str | None = None
    value: str | None = None


class DatabaseError(RequestError):
    """The database raised an error that is not MeshHook's, such as one of your triggers.

    URL, key and functions are right. Nothing has changed, because each call is one transaction. A
    worker waits as in an outage, because a trigger can be fixed in the meantime.
    """


class PartialEnqueueError(RequestError):
    """A call failed that enqueued some of many jobs, so not all are known to be in the queue.

    The error of that call is the ``__cause__``. To go on, enqueue `jobs` again under
    `idempotency_key`, within the time that the text gives. No job is enqueued twice, whether or not
    the failed call was carried out::

        await queue_service.enqueue_many(
            error.jobs,
            error.delay_seconds,
            run_at=error.run_at,
            idempotency_key=error.idempotency_key,
            idempotency_keys=error.idempotency_keys,
        )

    Args:
        queue_name: The queue.
        cause: The error of the call.
        enqueued: The ids of the jobs that were enqueued before it, in order.
        jobs: The data of all other jobs, in order, as it was given.
        delay_seconds: Their delay in seconds, or the delay of each.
        run_at: The time from which they may run, or the time of each; None if only delays count.
        uncertain: How many of `jobs`, from the first on, were in the failed call, and may have been
            enqueued. The rest was not sent.
        idempotency_key: The name under which those were sent.
        idempotency_keys: The name of each of `jobs`, if they have names.
        remembered_seconds: How long the database remembers the names, in seconds.

    Attributes:
        index: The position of the first job in `jobs` among all that were given.
    """

    def __init__(  # noqa: PLR0913 - given by name
        self,
        queue_name: str,
        cause: BaseException,
        *,
        enqueued: Sequence[int],
        jobs: Sequence[Mapping[str, Any]],
        delay_seconds: float | Sequence[float],
        run_at: datetime | Sequence[datetime | None] | None = None,
        uncertain: int,
        idempotency_key: str,
        idempotency_keys: Sequence[str | None] | None = None,
        remembered_seconds: float,
    ) -> None:
        self.queue_name = queue_name
        self.enqueued = tuple(enqueued)
        self.index = len(self.enqueued)
        self.jobs = tuple(jobs)
        self.delay_seconds: float | Sequence[float] = (
            delay_seconds if isinstance(delay_seconds, int | float) else tuple(delay_seconds)
        )
        self.run_at: datetime | Sequence[datetime | None] | None = (
            tuple(run_at) if isinstance(run_at, list | tuple) else run_at
        )
        self.uncertain = uncertain
        self.idempotency_key = idempotency_key
        self.idempotency_keys = None if idempotency_keys is None else tuple(idempotency_keys)
        with_keys = "" if idempotency_keys is None else " with error.idempotency_keys"
        super().__init__(
            f'Not all jobs are known to be in the queue "{queue_name}": {self.index} went in, the '
            f"{uncertain} after them may have, and {len(self.jobs) - uncertain} were not sent. "
            f"Enqueue error.jobs under error.idempotency_key{with_keys} within "
            f"{remembered_seconds:.15g} seconds, and none goes in twice. "
            f"The call failed with: {cause}",
            function=getattr(cause, "function", "meshhook_enqueue"),
            status=getattr(cause, "status", None),
            code=getattr(cause, "code", None),
            details=getattr(cause, "details", None),
            hint=getattr(cause, "hint", None),
        )


class UnexpectedAnswerError(RequestError):
    """The answer is not from a Supabase project, was cut off, or has an unexpected shape."""
