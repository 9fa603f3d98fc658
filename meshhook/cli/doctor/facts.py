"""The answer of `meshhook_doctor`, decoded as far as possible: it may have any other shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from meshhook.cli.doctor.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@attrs.frozen
class Failure:
    """An error of the database.

    Attributes:
        code: Its SQLSTATE.
        message: Its text.
    """

    code: str
    message: str


@attrs.frozen
class Right:
    """A right that a role has or lacks.

    Attributes:
        kind: ``function``, ``table``, ``view`` or ``schema``.
        name: The function, table, view or schema, with its schema.
        role: The role; empty for service_role.
    """

    kind: str
    name: str
    role: str = ""


@attrs.frozen
class Trigger:
    """A trigger that is not MeshHook's on a table of PGMQ.

    Attributes:
        name: Its name.
        function: The function that it calls.
    """

    name: str
    function: str


@attrs.frozen(kw_only=True)
class Table:
    """A table, as the catalog describes it.

    Attributes:
        rows: About how many rows it has.
        live_tuples: About how many of its tuples are alive.
        dead_tuples: About how many are not.
        is_unlogged: Whether a crash empties it.
        is_partitioned: Whether it is partitioned.
        owner: Its owner.
        missing_rights: The rights that the owner of MeshHook lacks in it.
        indexed: The first columns of its indexes; None if the answer lacks them.
        broken_indexes: Indexes whose creation failed.
        triggers: Triggers of others.
    """

    rows: int
    live_tuples: int
    dead_tuples: int
    is_unlogged: bool
    is_partitioned: bool
    owner: str
    missing_rights: tuple[str, ...]
    indexed: tuple[str, ...] | None
    broken_indexes: tuple[str, ...]
    triggers: tuple[Trigger, ...]


@attrs.frozen(kw_only=True)
class Queue:
    """A queue of PGMQ.

    Attributes:
        name: Its name.
        is_known: Whether MeshHook has used it, and so has settings for it.
        is_dlq: Whether it is the dead letter queue of another.
        has_dlq: Whether its own dead letter queue exists.
        dlq_name: The name of that; empty if it has none.
        has_dead_letters: Whether it should have one.
        paused_at: When it was paused; None if it is not.
        has_retention: Whether its history is pruned.
        visible_jobs: How many jobs are due.
        invisible_jobs: How many are hidden.
        overdue_seconds: How long the first has been due.
        lapsed_jobs: How many were left by workers that are gone, of the first 1,000 overdue ones.
        oldest_archived_seconds: The age of the oldest archived message.
        broken: Why it cannot be read; None if it can.
        table: Its table; None if it is gone, or the answer lacks it.
        archive: Its archive; None if it is gone, or the answer lacks it.
        gone: Which of ``table`` and ``archive`` do not exist.
    """

    name: str
    is_known: bool
    is_dlq: bool
    has_dlq: bool
    dlq_name: str
    has_dead_letters: bool
    paused_at: datetime | None
    has_retention: bool
    visible_jobs: int
    invisible_jobs: int
    overdue_seconds: float
    lapsed_jobs: int
    oldest_archived_seconds: float
    broken: Failure | None
    table: Table | None
    archive: Table | None
    gone: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Facts:
    """What a database says about its health.

    Attributes:
        now: Its time; None if the answer lacks it.
        role: The role that MeshHook's functions run as.
        schema_version: The version of MeshHook's SQL; None if the answer lacks it.
        has_schema: Whether the schema meshhook exists.
        has_pgmq: Whether PGMQ is installed.
        pgmq_version: Its version; None if it was installed as plain SQL.
        statement_timeout_ms: After how many milliseconds calls are cut off; 0 for never.
        functions: The MD5 of each function's body.
        relations: MeshHook's tables, indexes and views; None if the answer lacks them.
        open_doors: The rights of anon and authenticated, which should have none.
        lost_rights: The rights that service_role needs and lacks.
        queues: The queues.
        history_rows: About how many finished jobs there are.
        oldest_history_seconds: The age of the oldest that nothing prunes.
        oldest_history_queue: Its queue; None for one that was dropped.
        prunes: How many jobs of pg_cron prune the history; None if that cannot be seen.
        failed: The parts that could not be read.
        strange: The parts that were missing or malformed, by their paths.
    """

    now: datetime | None
    role: str
    schema_version: int | None
    has_schema: bool
    has_pgmq: bool
    pgmq_version: str | None
    statement_timeout_ms: int
    functions: Mapping[str, str]
    relations: frozenset[str] | None
    open_doors: tuple[Right, ...]
    lost_rights: tuple[Right, ...]
    queues: tuple[Queue, ...]
    history_rows: int
    oldest_history_seconds: float
    oldest_history_queue: str | None
    prunes: int | None
    failed: Mapping[str, Failure]
    strange: Mapping[str, str]

    @property
    def is_strange(self) -> bool:
        """Whether the answer as a whole is not one of `meshhook_doctor`."""
        return "" in self.strange or "functions" in self.strange


def decode(answer: object) -> Facts:
    """Decode the answer of `meshhook_doctor`.

    Args:
        answer: The answer, which may be any JSON: the function may have been replaced.

    Returns:
        The facts; a part that could not be read has a harmless value, and its path is in
        ``strange``.
    """
    strange: dict[str, str] = {}
    top = Reader.of(answer, strange)
    failed = {name: _failure(part) for name, part in top.objects_by_name("failed").items()}
    relations = top.texts("relations")
    history = top.object_or_none("history")
    oldest = top.object_or_none("oldest_history")
    facts = Facts(
        now=top.time("now"),
        role=top.text("role") or "postgres",
        schema_version=top.count_or_none("schema_version"),
        has_schema=top.flag("has_schema", default=True),
        has_pgmq=top.flag("has_pgmq", default=True),
        pgmq_version=top.text_or_none("pgmq_version"),
        statement_timeout_ms=top.count("statement_timeout_ms"),
        functions=top.texts_by_name("functions"),
        relations=None if relations is None else frozenset(relations),
        open_doors=tuple(_right(one, one.text("role")) for one in top.objects("open_doors")),
        lost_rights=tuple(_right(one) for one in top.objects("lost_rights")),
        queues=tuple(_queue(one) for one in top.objects("queues")),
        history_rows=0 if history is None else history.count("rows"),
        oldest_history_seconds=0 if oldest is None else oldest.number_or_none("seconds") or 0,
        oldest_history_queue=None if oldest is None else oldest.text_or_none("queue_name"),
        prunes=top.count_or_none("prunes"),
        failed=failed,
        strange=strange,
    )
    for name in failed:  # its error explains why it is missing
        strange.pop(name, None)
    return facts


def _failure(part: Reader) -> Failure:
    return Failure(part.text("code"), part.text("message"))


def _right(part: Reader, role: str = "") -> Right:
    return Right(part.text("kind"), part.text("name"), role)


def _queue(part: Reader) -> Queue:
    settings = part.object_or_none("settings")
    broken = part.object_or_none("broken") if "broken" in part.members else None
    # The answer has no depth for a queue that cannot be read.
    depth = part if broken is None else Reader({}, {})
    return Queue(
        name=part.text("queue_name"),
        is_known=settings is not None,
        is_dlq=part.flag("is_dlq"),
        has_dlq=part.flag("has_dlq", default=True),
        dlq_name="" if settings is None else settings.text("dlq_name"),
        has_dead_letters=settings is not None and settings.flag("has_dead_letters", default=True),
        paused_at=None if settings is None else settings.time_or_none("paused_at"),
        has_retention=settings is not None
        and settings.number_or_none("retention_days") is not None,
        table=_table(part.object_or_none("table")),
        archive=_table(part.object_or_none("archive")),
        gone=tuple(name for name in ("table", "archive") if part.members.get(name, 0) is None),
        broken=None if broken is None else _failure(broken),
        visible_jobs=depth.count_or_none("visible_jobs") or 0,
        invisible_jobs=depth.count_or_none("invisible_jobs") or 0,
        overdue_seconds=depth.number_or_none("overdue_seconds") or 0,
        lapsed_jobs=depth.count("lapsed_jobs"),
        oldest_archived_seconds=depth.number_or_none("oldest_archived_seconds") or 0,
    )


def _table(part: Reader | None) -> Table | None:
    if part is None:
        return None
    return Table(
        rows=part.count("rows"),
        live_tuples=part.count("live_tuples"),
        dead_tuples=part.count("dead_tuples"),
        is_unlogged=part.flag("unlogged"),
        is_partitioned=part.flag("partitioned"),
        owner=part.text("owner"),
        missing_rights=part.texts("missing_rights") or (),
        indexed=part.texts("indexed"),
        broken_indexes=part.texts("broken_indexes") or (),
        triggers=tuple(
            Trigger(one.text("name"), one.text("function")) for one in part.objects("triggers")
        ),
    )
