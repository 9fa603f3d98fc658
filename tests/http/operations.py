"""Every method of the services, with what it should send and what it should return."""

from __future__ import annotations

from typing import Any

import attrs

from meshhook import (
    DLQMetrics,
    EnqueueBatch,
    EnqueueResult,
    PruneResult,
    QueueMetrics,
    ReplaySummary,
)
from tests.unit.builders import (
    CLAIM,
    CLAIMED,
    DEAD,
    DEAD_ROW,
    DLQ_DEPTH,
    ERROR_COUNTS,
    ERROR_COUNTS_ROW,
    PRUNED,
    QUEUE,
    QUEUE_DEPTH,
    QUEUE_ROW,
    RECORD,
    RECORD_ROW,
    REPLAYED,
    REPLAYED_ROW,
    WORKER,
    WORKER_ROW,
)
from tests.unit.examples import RUN, TIME_TEXT, job_data, job_of


@attrs.frozen
class Operation:
    """A method with its arguments, and what should come of it.

    Attributes:
        service: ``queue`` or ``dlq``.
        method: The method.
        args: What it is called with.
        function: The function of the database.
        params: What is sent, but for the request id.
        answer: What the database answers.
        result: What the method returns.
        kwargs: What it is called with by name.
        is_remembered: Whether a request id goes with it, under which the database knows a repeat.
    """

    service: str
    method: str
    args: tuple[Any, ...]
    function: str
    params: dict[str, Any]
    answer: Any
    result: Any
    kwargs: dict[str, Any] = attrs.field(factory=dict)
    is_remembered: bool = True

    def __str__(self) -> str:
        return f"{self.service}.{self.method}"


JOB = job_of("q")
RECEIPT = {"queue_name": "q", "msg_ids": [7], "read_cts": [3]}

OPERATIONS = [
    Operation(
        "queue",
        "enqueue",
        (job_data(metadata={"a": "ü"}), 60),
        "meshhook_enqueue",
        {"queue_name": "q", "messages": [job_data(metadata={"a": "ü"})], "delay_seconds": 60},
        {"msg_ids": [5], "duplicate": False},
        EnqueueResult(msg_id=5),
    ),
    Operation(
        "queue",
        "enqueue_many",
        ([job_data(), job_data()], [0, 60]),
        "meshhook_enqueue",
        {"queue_name": "q", "messages": [job_data(), job_data()], "delays": [0, 60]},
        {"msg_ids": [5, 6], "duplicate": False},
        EnqueueBatch(msg_ids=(5, 6)),
    ),
    Operation(
        "queue",
        "dequeue",
        (),
        "meshhook_dequeue",
        {"queue_name": "q", "quantity": 1, "vt_seconds": 30},
        CLAIM,
        CLAIMED,
    ),
    Operation(
        "queue",
        "dequeue_many",
        (50, 60),
        "meshhook_dequeue",
        {"queue_name": "q", "quantity": 50, "vt_seconds": 60},
        CLAIM,
        [CLAIMED],
    ),
    Operation(
        "queue",
        "acknowledge",
        (JOB,),
        "meshhook_acknowledge",
        {**RECEIPT, "seconds": [None]},
        ["ok"],
        result=True,
    ),
    Operation(
        "queue",
        "acknowledge_many",
        ([JOB, 8],),
        "meshhook_acknowledge",
        {"queue_name": "q", "msg_ids": [7, 8], "read_cts": [3, None], "seconds": [None, None]},
        ["ok", "missing"],
        [True, False],
    ),
    Operation(
        "queue",
        "archive_job",
        (JOB,),
        "meshhook_archive",
        {**RECEIPT, "seconds": [None]},
        ["lost"],
        result=False,
    ),
    Operation(
        "queue",
        "retry",
        (JOB, 60, "boom", "File x"),
        "meshhook_retry",
        {**RECEIPT, "delay_seconds": 60, "error_message": "boom", "error_stack": "File x"},
        ["ok"],
        result=True,
    ),
    Operation(
        "queue",
        "release",
        (JOB,),
        "meshhook_release",
        {**RECEIPT, "delay_seconds": 0},
        ["ok"],
        result=True,
    ),
    Operation(
        "queue",
        "extend",
        (JOB,),
        "meshhook_extend",
        {**RECEIPT, "vt_seconds": 30},
        {"vt": TIME_TEXT, "statuses": ["ok"]},
        result=True,
        is_remembered=False,
    ),
    Operation(
        "queue",
        "delete_job",
        (7,),
        "meshhook_delete",
        {"queue_name": "q", "msg_ids": [7]},
        ["ok"],
        result=True,
    ),
    Operation(
        "queue",
        "get_job",
        (7,),
        "meshhook_get_job",
        {"queue_name": "q", "msg_id": 7},
        RECORD_ROW,
        RECORD,
        is_remembered=False,
    ),
    Operation(
        "queue",
        "find_jobs",
        (RUN,),
        "meshhook_find_jobs",
        {"queue_name": "q", "run_id": RUN, "quantity": 100},
        [RECORD_ROW],
        [RECORD],
        is_remembered=False,
    ),
    Operation(
        "queue",
        "get_queue_metrics",
        (),
        "meshhook_queue_metrics",
        {"queue_name": "q"},
        QUEUE_DEPTH,
        QueueMetrics(**QUEUE_DEPTH),
        is_remembered=False,
    ),
    Operation(
        "queue", "purge_queue", (), "meshhook_purge", {"queue_name": "q"}, answer=17, result=17
    ),
    Operation(
        "queue",
        "create_queue",
        (),
        "meshhook_create_queue",
        {"queue_name": "q", "max_attempts": 5},
        {**QUEUE_ROW, "created": True},
        QUEUE,
        kwargs={"max_attempts": 5},
        is_remembered=False,
    ),
    Operation(
        "queue",
        "configure_queue",
        (),
        "meshhook_configure_queue",
        {"queue_name": "q", "retention_days": 7},
        QUEUE_ROW,
        QUEUE,
        kwargs={"retention_days": 7},
        is_remembered=False,
    ),
    Operation(
        "queue",
        "pause_queue",
        (),
        "meshhook_pause_queue",
        {"queue_name": "q"},
        answer=True,
        result=True,
        is_remembered=False,
    ),
    Operation(
        "queue",
        "resume_queue",
        (),
        "meshhook_resume_queue",
        {"queue_name": "q"},
        answer=True,
        result=True,
        is_remembered=False,
    ),
    Operation(
        "queue",
        "prune_history",
        (7,),
        "meshhook_prune",
        {"queue_name": "q", "older_than_days": 7, "max_rows": 10_000},
        PRUNED,
        PruneResult(**PRUNED),
        is_remembered=False,
    ),
    Operation(
        "queue",
        "list_workers",
        (),
        "meshhook_list_workers",
        {"queue_name": "q"},
        [WORKER_ROW],
        [WORKER],
        is_remembered=False,
    ),
    Operation(
        "queue",
        "list_jobs",
        ("completed",),
        "meshhook_list_jobs",
        {"queue_name": "q", "state": "completed", "quantity": 100},
        [RECORD_ROW],
        [RECORD],
        is_remembered=False,
    ),
    Operation(
        "queue",
        "cancel_job",
        (7,),
        "meshhook_cancel",
        {"queue_name": "q", "msg_ids": [7]},
        ["ok"],
        result=True,
    ),
    Operation(
        "queue",
        "drop_queue",
        (),
        "meshhook_drop_queue",
        {"queue_name": "q", "drop_dlq": False},
        answer=True,
        result=True,
    ),
    Operation(
        "dlq",
        "list_dead_letter_jobs",
        (50,),
        "meshhook_list_dead_letters",
        {"dlq_name": "q_dlq", "quantity": 50, "after_msg_id": 8},
        [DEAD_ROW],
        [DEAD],
        kwargs={"after_msg_id": 8},
        is_remembered=False,
    ),
    Operation(
        "dlq",
        "get_dead_letter_job",
        (9,),
        "meshhook_get_dead_letter",
        {"dlq_name": "q_dlq", "msg_id": 9},
        {**DEAD_ROW, "attempts": []},
        DEAD,
        is_remembered=False,
    ),
    Operation(
        "dlq",
        "replay_dead_letter_job",
        (9,),
        "meshhook_replay",
        {"dlq_name": "q_dlq", "msg_ids": [9]},
        [REPLAYED_ROW],
        REPLAYED,
    ),
    Operation(
        "dlq",
        "replay_multiple_jobs",
        ([9], "q"),
        "meshhook_replay",
        {"dlq_name": "q_dlq", "msg_ids": [9], "target_queue": "q"},
        [REPLAYED_ROW],
        ReplaySummary(replayed=(REPLAYED,), errors=()),
    ),
    Operation(
        "dlq",
        "delete_dead_letter_job",
        (9,),
        "meshhook_delete",
        {"queue_name": "q_dlq", "msg_ids": [9]},
        ["missing"],
        result=False,
    ),
    Operation(
        "dlq",
        "get_dlq_metrics",
        (),
        "meshhook_dlq_metrics",
        {"dlq_name": "q_dlq"},
        DLQ_DEPTH,
        DLQMetrics(**DLQ_DEPTH),
        is_remembered=False,
    ),
    Operation(
        "dlq",
        "count_by_error_type",
        (),
        "meshhook_count_dead_letters",
        {"dlq_name": "q_dlq", "quantity": 100},
        ERROR_COUNTS_ROW,
        ERROR_COUNTS,
        is_remembered=False,
    ),
    Operation(
        "dlq",
        "get_jobs_by_error_type",
        (),
        "meshhook_group_dead_letters",
        {"dlq_name": "q_dlq", "quantity": 1000},
        [{"error": "boom", "jobs": [DEAD_ROW]}],
        {"boom": [DEAD]},
        is_remembered=False,
    ),
    Operation(
        "dlq", "purge_dlq", (), "meshhook_purge", {"queue_name": "q_dlq"}, answer=17, result=17
    ),
    Operation(
        "dlq",
        "move_to_dead_letter",
        (JOB, "boom"),
        "meshhook_dead_letter",
        {**RECEIPT, "error_message": "boom", "dlq_name": "q_dlq"},
        ["ok"],
        result=True,
    ),
]
# These page by themselves or need no service, and have tests of their own.
OTHERS = {"iterate_dead_letter_jobs", "list_queues", "buffered"}
# What an answer means before it is decoded has nothing to do with the method: these stand for all.
A_FEW = [
    one for one in OPERATIONS if one.method in {"enqueue", "dequeue", "replay_dead_letter_job"}
]
REPEATED_AS_IT_IS = {
    "extend",
    "create_queue",
    "configure_queue",
    "pause_queue",
    "resume_queue",
    "prune_history",
}
# What may be sent again because what it names is a receipt or a final state.
REPEATABLE = [one for one in OPERATIONS if one.method in REPEATED_AS_IT_IS]
REMEMBERED = [one for one in OPERATIONS if one.is_remembered]
