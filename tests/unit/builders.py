"""Every call that the SDK can make, with what it should send and answers of the right shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from meshhook import (
    DeadLetterJob,
    DeadLetterMessage,
    DLQMetrics,
    EnqueueBatch,
    EnqueueResult,
    ErrorCount,
    ErrorCounts,
    FailedReplay,
    JobMessage,
    JobRecord,
    PruneResult,
    QueueInfo,
    QueueMetrics,
    ReplayResult,
    ReplaySummary,
    WorkerInfo,
)
from meshhook._calls import (
    claim,
    dead_letters,
    enqueue,
    inspect,
    jobs,
    queues,
    settle,
    user_enqueue,
)
from meshhook._calls.settle import Outcome
from meshhook._calls.settle_and_claim import SettledAndClaimed, settle_and_claim
from meshhook._defaults import MAX_BYTES_PER_CALL
from meshhook._enqueue.batch import Batch
from tests.unit.examples import RUN, TIME, TIME_TEXT, job_data, job_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshhook._calls.base import Call


@attrs.frozen
class Built:
    """A builder with its arguments, and what should come of it.

    Attributes:
        name: Its name in the list of tests.
        make: Calls the builder.
        function: The function of the database.
        params: The parameters, but for the request id.
        answer: An answer of the database.
        result: What that answer decodes to.
        has_request_id: Whether a request id goes with it: it changes something, and what it names
            is not already a receipt or a final state.
    """

    name: str
    make: Callable[[], Call[Any]]
    function: str
    params: dict[str, Any]
    answer: Any
    result: Any
    has_request_id: bool = True


CLAIMED_ROW = {
    "msg_id": 7,
    "read_ct": 3,
    "enqueued_at": TIME_TEXT,
    "attempt": 2,
    "max_attempts": 5,
    "message": job_data(attempt=1, _meshhook={"reads": 1}),
}
CLAIM = {
    "vt": TIME_TEXT,
    "vt_seconds": 30,
    "base_delay_ms": 1000,
    "max_delay_ms": 300_000,
    "jobs": [CLAIMED_ROW],
    "bytes": 64,
    "paused": False,
    "retention_days": 1.5,
    "dead_lettered": [{"msg_id": 8, "error_message": "LeaseExpired"}],
}
CLAIMED = job_of(message=JobMessage(job_data(attempt=2, max_attempts=5)))

DEAD_ROW = {
    "msg_id": 9,
    "read_ct": 0,
    "enqueued_at": TIME_TEXT,
    "vt": TIME_TEXT,
    "message": job_data(error_message="boom", _meshhook={"queue": "q"}),
}
ERROR_COUNT_ROW: dict[str, Any] = {
    "error": "boom",
    "jobs": 4,
    "first_moved_at": TIME_TEXT,
    "last_moved_at": TIME_TEXT,
    "msg_id": 9,
    "error_message": "boom\nat once",
}
ERROR_COUNTS_ROW = {"total_jobs": 7, "total_errors": 2, "errors": [ERROR_COUNT_ROW]}
ERROR_COUNTS = ErrorCounts(
    total_jobs=7,
    total_errors=2,
    errors=(ErrorCount(**{**ERROR_COUNT_ROW, "first_moved_at": TIME, "last_moved_at": TIME}),),
)
DEAD = DeadLetterJob(
    dlq_name="q_dlq",
    msg_id=9,
    enqueued_at=TIME,
    message=DeadLetterMessage(job_data(error_message="boom")),
)

RECORD_ROW: dict[str, Any] = {
    "queue_name": "q",
    "msg_id": 7,
    "run_id": RUN,
    "state": "completed",
    "attempt": 1,
    "enqueued_at": TIME_TEXT,
    "attempts": [],
}
RECORD = JobRecord(**{**RECORD_ROW, "enqueued_at": TIME, "attempts": ()})

QUEUE_ROW: dict[str, Any] = {
    "queue_name": "q",
    "dlq_name": "q_dlq",
    "vt_seconds": 30,
    "max_attempts": 5,
    "base_delay_ms": 1000,
    "max_delay_ms": 300_000,
    "keeps_history": True,
    "created_at": TIME_TEXT,
}
QUEUE = QueueInfo(**{**QUEUE_ROW, "created_at": TIME})

WORKER_ROW: dict[str, Any] = {
    "worker_id": "w",
    "queue_names": ["q"],
    "host": "h",
    "interval_seconds": 10,
    "started_at": TIME_TEXT,
    "seen_at": TIME_TEXT,
    "is_alive": True,
}
WORKER = WorkerInfo(**{**WORKER_ROW, "queue_names": ("q",), "started_at": TIME, "seen_at": TIME})
PRUNED: dict[str, Any] = {"jobs": 1, "attempts": 2, "archived": 3, "requests": 4, "more": True}

REPLAYED_ROW = {"msg_id": 9, "status": "replayed", "new_msg_id": 12, "target_queue": "q"}
REPLAYED = ReplayResult(msg_id=9, new_msg_id=12, target_queue="q")

QUEUE_DEPTH: dict[str, Any] = {
    "queue_name": "q",
    "queue_length": 3,
    "visible_jobs": 2,
    "invisible_jobs": 1,
    "oldest_msg_age_seconds": 60,
    "newest_msg_age_seconds": None,
}
DLQ_DEPTH: dict[str, Any] = {
    "dlq_name": "q_dlq",
    "total_jobs": 3,
    "oldest_job_age_seconds": 60,
    "newest_job_age_seconds": None,
}


def enqueue_many(*jobs_and_how: Any, **how: Any) -> Call[EnqueueBatch]:
    """Build the first call of a batch, as the services do."""
    batch = Batch(*jobs_and_how, **how)
    for _ in batch.check():
        pass
    return batch.next_call(None)


ENQUEUES = [
    Built(
        "enqueue one",
        lambda: enqueue.one("q", job_data()),
        "meshhook_enqueue",
        {"queue_name": "q", "messages": [job_data()], "delay_seconds": 0},
        {"msg_ids": [5], "duplicate": False},
        EnqueueResult(msg_id=5),
    ),
    Built(
        "enqueue many",
        lambda: enqueue_many("q", [job_data(attempt=1), job_data()], 1.5),
        "meshhook_enqueue",
        {"queue_name": "q", "messages": [job_data(attempt=1), job_data()], "delay_seconds": 1.5},
        {"msg_ids": [5, 6], "duplicate": False},
        EnqueueBatch(msg_ids=(5, 6)),
    ),
    Built(
        "enqueue many, each with its delay",
        lambda: enqueue_many("q", iter([job_data(), job_data()]), (0, 60)),
        "meshhook_enqueue",
        {"queue_name": "q", "messages": [job_data(), job_data()], "delays": [0, 60]},
        {"msg_ids": [5, 6], "duplicate": False},
        EnqueueBatch(msg_ids=(5, 6)),
    ),
    Built(
        "enqueue for a user",
        lambda: user_enqueue.one("q", job_data(), 60),
        "meshhook_user_enqueue",
        {"queue_name": "q", "message": job_data(), "delay_seconds": 60},
        {"duplicate": False},
        True,
    ),
]
CLAIMED_BATCH = claim.Claim((CLAIMED,), ((8, "LeaseExpired"),), 30, 1000, 300_000, 64, False, 1.5)
CLAIMS = [
    Built(
        "claim one",
        lambda: claim.one("q", 30),
        "meshhook_dequeue",
        {"queue_name": "q", "quantity": 1, "vt_seconds": 30},
        CLAIM,
        CLAIMED,
    ),
    Built(
        "claim many",
        lambda: claim.many("q", 50, 0.5),
        "meshhook_dequeue",
        {"queue_name": "q", "quantity": 50, "vt_seconds": 0.5},
        CLAIM,
        [CLAIMED],
    ),
    Built(
        "claim batch",
        lambda: claim.batch("q", 50, max_attempts=3),
        "meshhook_dequeue",
        {"queue_name": "q", "quantity": 50, "max_attempts": 3},
        CLAIM,
        CLAIMED_BATCH,
    ),
]
EXCHANGES = [
    Built(
        "claim without outcomes",
        lambda: settle_and_claim("q", [], 50, max_attempts=3),
        "meshhook_dequeue",
        {"queue_name": "q", "quantity": 50, "max_attempts": 3, "max_bytes": MAX_BYTES_PER_CALL},
        CLAIM,
        SettledAndClaimed([], CLAIMED_BATCH),
    ),
    Built(
        "settle and claim, and be seen",
        lambda: settle_and_claim(
            "q",
            [Outcome(outcome="complete", msg_id=7, read_ct=3)],
            50,
            30,
            worker={"worker_id": "w"},
        ),
        "meshhook_settle_and_dequeue",
        {
            "queue_name": "q",
            "outcomes": [{"outcome": "complete", "msg_id": 7, "read_ct": 3}],
            "quantity": 50,
            "vt_seconds": 30,
            "max_bytes": MAX_BYTES_PER_CALL,
            "worker": {"worker_id": "w"},
        },
        {"statuses": ["ok"], "claim": CLAIM},
        SettledAndClaimed(["ok"], CLAIMED_BATCH),
    ),
]
SETTLES = [
    Built(
        "acknowledge",
        lambda: settle.acknowledge("q", [job_of(), 8]),
        "meshhook_acknowledge",
        {"queue_name": "q", "msg_ids": [7, 8], "read_cts": [3, None], "seconds": [None, None]},
        ["ok", "missing"],
        [True, False],
    ),
    Built(
        "archive",
        lambda: settle.archive("q", job_of()),
        "meshhook_archive",
        {"queue_name": "q", "msg_ids": [7], "read_cts": [3], "seconds": [None]},
        ["ok"],
        True,
    ),
    Built(
        "retry",
        lambda: settle.retry("q", job_of(), 60, "boom", "File x"),
        "meshhook_retry",
        {
            "queue_name": "q",
            "msg_ids": [7],
            "read_cts": [3],
            "delay_seconds": 60,
            "error_message": "boom",
            "error_stack": "File x",
        },
        ["ok"],
        True,
    ),
    Built(
        "release",
        lambda: settle.release("q", job_of(), 1.5),
        "meshhook_release",
        {"queue_name": "q", "msg_ids": [7], "read_cts": [3], "delay_seconds": 1.5},
        ["lost"],
        False,
    ),
    Built(
        "extend",
        lambda: settle.extend("q", [job_of()], 30),
        "meshhook_extend",
        {"queue_name": "q", "msg_ids": [7], "read_cts": [3], "vt_seconds": 30},
        {"vt": TIME_TEXT, "statuses": ["ok"]},
        [True],
        has_request_id=False,
    ),
    Built(
        "dead letter",
        lambda: settle.dead_letter("q", job_of(), "boom", dlq_name="other_dlq"),
        "meshhook_dead_letter",
        {
            "queue_name": "q",
            "msg_ids": [7],
            "read_cts": [3],
            "error_message": "boom",
            "dlq_name": "other_dlq",
        },
        ["ok"],
        True,
    ),
    Built(
        "settle",
        lambda: settle.settle(
            "q",
            [
                settle.Outcome(outcome="complete", msg_id=7, read_ct=3, seconds=0.5),
                settle.Outcome(
                    outcome="retry",
                    msg_id=8,
                    read_ct=1,
                    delay_seconds=0,
                    error_type="OSError",
                    error_message="boom",
                    error_stack="File x",
                    worker="w",
                ),
            ],
        ),
        "meshhook_settle",
        {
            "queue_name": "q",
            "outcomes": [
                {"outcome": "complete", "msg_id": 7, "read_ct": 3, "seconds": 0.5},
                {
                    "outcome": "retry",
                    "msg_id": 8,
                    "read_ct": 1,
                    "delay_seconds": 0,
                    "error_type": "OSError",
                    "error_message": "boom",
                    "error_stack": "File x",
                    "worker": "w",
                },
            ],
        },
        ["ok", "lost"],
        ["ok", "lost"],
    ),
    Built(
        "extend, and be seen",
        lambda: settle.extend("q", [job_of()], 30, {"worker_id": "w"}),
        "meshhook_extend",
        {
            "queue_name": "q",
            "msg_ids": [7],
            "read_cts": [3],
            "vt_seconds": 30,
            "worker": {"worker_id": "w"},
        },
        {"vt": TIME_TEXT, "statuses": ["lost"]},
        [False],
        has_request_id=False,
    ),
    Built(
        "cancel",
        lambda: settle.cancel("q", 7),
        "meshhook_cancel",
        {"queue_name": "q", "msg_ids": [7]},
        ["missing"],
        False,
    ),
    Built(
        "delete",
        lambda: settle.delete("q", 7),
        "meshhook_delete",
        {"queue_name": "q", "msg_ids": [7]},
        ["ok"],
        True,
    ),
]
LOOKUPS = [
    Built(
        "get job",
        lambda: jobs.job("q", 7),
        "meshhook_get_job",
        {"queue_name": "q", "msg_id": 7},
        RECORD_ROW,
        RECORD,
        has_request_id=False,
    ),
    Built(
        "find jobs",
        lambda: jobs.jobs_of_run("q", RUN, 10),
        "meshhook_find_jobs",
        {"queue_name": "q", "run_id": RUN, "quantity": 10},
        [RECORD_ROW],
        [RECORD],
        has_request_id=False,
    ),
    Built(
        "list jobs",
        lambda: jobs.jobs_in_state("q", "completed", 10, 8),
        "meshhook_list_jobs",
        {"queue_name": "q", "state": "completed", "quantity": 10, "before_msg_id": 8},
        [RECORD_ROW],
        [RECORD],
        has_request_id=False,
    ),
    Built(
        "list all jobs of a queue",
        lambda: jobs.jobs_in_state("q", None),
        "meshhook_list_jobs",
        {"queue_name": "q", "quantity": 100},
        [],
        [],
        has_request_id=False,
    ),
    Built(
        "queue metrics",
        lambda: jobs.queue_metrics("q"),
        "meshhook_queue_metrics",
        {"queue_name": "q"},
        QUEUE_DEPTH,
        QueueMetrics(**QUEUE_DEPTH),
        has_request_id=False,
    ),
]
QUEUES = [
    Built(
        "create queue",
        lambda: queues.create("q", {}),
        "meshhook_create_queue",
        {"queue_name": "q"},
        {**QUEUE_ROW, "created": True},
        QUEUE,
        has_request_id=False,
    ),
    Built(
        "create queue with settings",
        lambda: queues.create(
            "q",
            {
                "dlq_name": "q_dlq",
                "vt_seconds": 60,
                "max_attempts": 3,
                "base_delay_ms": 0,
                "max_delay_ms": 10,
                "keeps_history": False,
            },
        ),
        "meshhook_create_queue",
        {
            "queue_name": "q",
            "dlq_name": "q_dlq",
            "vt_seconds": 60,
            "max_attempts": 3,
            "base_delay_ms": 0,
            "max_delay_ms": 10,
            "keeps_history": False,
        },
        QUEUE_ROW,
        QUEUE,
        has_request_id=False,
    ),
    Built(
        "configure queue",
        lambda: queues.configure("q", {"has_dead_letters": False, "retention_days": 1.5}),
        "meshhook_configure_queue",
        {"queue_name": "q", "has_dead_letters": False, "retention_days": 1.5},
        {**QUEUE_ROW, "has_dead_letters": False, "retention_days": 1.5, "paused_at": TIME_TEXT},
        attrs.evolve(QUEUE, has_dead_letters=False, retention_days=1.5, paused_at=TIME),
        has_request_id=False,
    ),
    Built(
        "pause queue",
        lambda: queues.pause("q"),
        "meshhook_pause_queue",
        {"queue_name": "q"},
        True,
        True,
        has_request_id=False,
    ),
    Built(
        "resume queue",
        lambda: queues.resume("q"),
        "meshhook_resume_queue",
        {"queue_name": "q"},
        False,
        False,
        has_request_id=False,
    ),
    Built(
        "list workers",
        lambda: inspect.workers("q"),
        "meshhook_list_workers",
        {"queue_name": "q"},
        [WORKER_ROW],
        [WORKER],
        has_request_id=False,
    ),
    Built(
        "list workers of all queues",
        inspect.workers,
        "meshhook_list_workers",
        {},
        [WORKER_ROW],
        [WORKER],
        has_request_id=False,
    ),
    Built(
        "prune",
        lambda: queues.prune("q"),
        "meshhook_prune",
        {"queue_name": "q", "max_rows": 10_000},
        PRUNED,
        PruneResult(**PRUNED),
        has_request_id=False,
    ),
    Built(
        "prune what is older",
        lambda: queues.prune("q", 0.5, 7),
        "meshhook_prune",
        {"queue_name": "q", "older_than_days": 0.5, "max_rows": 7},
        PRUNED,
        PruneResult(**PRUNED),
        has_request_id=False,
    ),
    Built(
        "drop queue",
        lambda: queues.drop("q", drop_dlq=True),
        "meshhook_drop_queue",
        {"queue_name": "q", "drop_dlq": True},
        True,
        True,
    ),
    Built(
        "list queues",
        queues.list_all,
        "meshhook_list_queues",
        {},
        [{"queue_name": "raw", "created_at": TIME_TEXT, "is_dlq": False}],
        [QueueInfo(queue_name="raw", created_at=TIME)],
        has_request_id=False,
    ),
    Built("purge", lambda: queues.purge("q"), "meshhook_purge", {"queue_name": "q"}, 17, 17),
]
DEAD_LETTERS = [
    Built(
        "list dead letters",
        lambda: dead_letters.list_page("q_dlq", 100, 8),
        "meshhook_list_dead_letters",
        {"dlq_name": "q_dlq", "quantity": 100, "after_msg_id": 8},
        [DEAD_ROW],
        [DEAD],
        has_request_id=False,
    ),
    Built(
        "get dead letter",
        lambda: dead_letters.get("q_dlq", 9),
        "meshhook_get_dead_letter",
        {"dlq_name": "q_dlq", "msg_id": 9},
        {**DEAD_ROW, "attempts": []},
        DEAD,
        has_request_id=False,
    ),
    Built(
        "group dead letters",
        lambda: dead_letters.by_error("q_dlq", 1000),
        "meshhook_group_dead_letters",
        {"dlq_name": "q_dlq", "quantity": 1000},
        [{"error": "boom", "jobs": [DEAD_ROW]}],
        {"boom": [DEAD]},
        has_request_id=False,
    ),
    Built(
        "count dead letters",
        lambda: dead_letters.count_by_error("q_dlq", 100),
        "meshhook_count_dead_letters",
        {"dlq_name": "q_dlq", "quantity": 100},
        ERROR_COUNTS_ROW,
        ERROR_COUNTS,
        has_request_id=False,
    ),
    Built(
        "dlq metrics",
        lambda: dead_letters.metrics("q_dlq"),
        "meshhook_dlq_metrics",
        {"dlq_name": "q_dlq"},
        DLQ_DEPTH,
        DLQMetrics(**DLQ_DEPTH),
        has_request_id=False,
    ),
    Built(
        "replay one",
        lambda: dead_letters.replay_one("q_dlq", 9, None),
        "meshhook_replay",
        {"dlq_name": "q_dlq", "msg_ids": [9]},
        [REPLAYED_ROW],
        REPLAYED,
    ),
    Built(
        "replay many",
        lambda: dead_letters.replay("q_dlq", iter([9, 10, 11]), "other"),
        "meshhook_replay",
        {"dlq_name": "q_dlq", "msg_ids": [9, 10, 11], "target_queue": "other"},
        [
            REPLAYED_ROW,
            {"msg_id": 10, "status": "missing"},
            {"msg_id": 11, "status": "failed", "error": 'The queue "x" does not exist.'},
        ],
        ReplaySummary(
            replayed=(REPLAYED,),
            errors=(
                FailedReplay(msg_id=10, error='The queue "q_dlq" holds no message with msg_id 10.'),
                FailedReplay(msg_id=11, error='The queue "x" does not exist.'),
            ),
        ),
    ),
]
PROJECT = [
    Built(
        "doctor",
        inspect.doctor,
        "meshhook_doctor",
        {},
        {"any": []},
        {"any": []},
        has_request_id=False,
    ),
    Built(
        "version", inspect.version, "meshhook_version", {}, {"a": 1}, {"a": 1}, has_request_id=False
    ),
    Built(
        "allow users",
        lambda: user_enqueue.allow("q", quota=5),
        "meshhook_allow_user_enqueue",
        {"queue_name": "q", "quota": 5},
        {"queue_name": "q"},
        {"queue_name": "q"},
        has_request_id=False,
    ),
    Built(
        "disallow users",
        lambda: user_enqueue.disallow("q"),
        "meshhook_disallow_user_enqueue",
        {"queue_name": "q"},
        True,
        True,
        has_request_id=False,
    ),
]
BUILDERS = [*ENQUEUES, *CLAIMS, *EXCHANGES, *SETTLES, *LOOKUPS, *QUEUES, *DEAD_LETTERS, *PROJECT]
