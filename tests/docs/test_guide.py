"""The operations guide has each section, call and number of the original, in its order."""

from __future__ import annotations

import re

import pytest

from tests.docs.snippets import DOCS

GUIDE = (DOCS / "operations" / "index.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^#{2,4} (.+)$", GUIDE, re.MULTILINE)

ORIGINAL = [
    "Overview",
    "Installation",
    "Prerequisites",
    "Install Dependencies",
    "Run Migration",
    "Basic Usage",
    "Initialize Services",
    "Enqueue a Job",
    "Enqueue with Delay",
    "Queue Service",
    "QueueService API",
    "`enqueue(job_data, delay_seconds)`",
    "`dequeue(vt_seconds)`",
    "`acknowledge(job_or_msg_id)`",
    "`get_queue_metrics()`",
    "Worker Operations",
    "Create and Start a Worker",
    "Worker Statistics",
    "Multiple Workers",
    "Retry Logic",
    "Retry Strategy",
    "Retry Delays",
    "Custom Retry Configuration",
    "Dead Letter Queue (DLQ)",
    "DLQService API",
    "List DLQ Jobs",
    "Get Specific DLQ Job",
    "Replay DLQ Job",
    "Delete DLQ Job",
    "Get DLQ Metrics",
    "Group by Error Type",
    "Monitoring",
    "Queue Monitoring View",
    "Job Statistics View",
    "Programmatic Monitoring",
    "Troubleshooting",
    "Queue is Growing",
    "High DLQ Count",
    "Jobs Stuck in Processing",
    "High Retry Rate",
    "Best Practices",
    "Job Handler Design",
    "Error Handling",
    "Graceful Shutdown",
    "Monitoring and Alerts",
    "Performance Optimization",
    "References",
]


def test_the_sections_are_those_of_the_original_in_its_order() -> None:
    assert SECTIONS == ORIGINAL


@pytest.mark.parametrize(
    "call",
    [
        "queue_service.enqueue(",
        "queue_service.dequeue(30)",
        "queue_service.acknowledge(",
        "queue_service.get_queue_metrics()",
        "meshhook.create_job_handler(",
        "worker.start()",
        "worker.stop()",
        "worker.get_stats()",
        "stats.moved_to_dlq",
        "retry_strategy.get_retry_info(3)",
        "dlq_service.list_dead_letter_jobs(100)",
        "dlq_service.get_dead_letter_job(",
        "dlq_service.replay_dead_letter_job(",
        "dlq_service.replay_multiple_jobs(",
        "dlq_service.delete_dead_letter_job(",
        "dlq_service.get_dlq_metrics()",
        "dlq_service.get_jobs_by_error_type()",
        "SELECT * FROM queue_monitoring;",
        "SELECT * FROM job_statistics;",
    ],
)
def test_a_call_of_the_original_is_shown(call: str) -> None:
    assert call in GUIDE


@pytest.mark.parametrize(
    "number",
    [
        "poll_interval_ms=1000",
        "visibility_timeout_seconds=30",
        '"base_delay_ms": 1000',
        '"max_delay_ms": 300_000',
        '"max_attempts": 5',
        '"base_delay_ms": 2000',
        '"max_delay_ms": 60_000',
        '"max_attempts": 3',
        "| 5       | 16s        | 16-32s                     |",
        "queue_length > 10_000",
        "total_jobs > 100",
        "anyio.sleep(60)",
    ],
)
def test_a_number_of_the_original_is_shown(number: str) -> None:
    assert number in GUIDE
