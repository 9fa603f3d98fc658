"""Watch a queue and its dead letters, and send alerts.

python alerts.py             # check every minute, until stopped
python alerts.py --once      # check once; exit code 1 if something is wrong

An alert is a line on standard error, and a POST to ALERT_URL if that is set.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

import anyio
import attrs
import httpx

import meshhook

CHECK_EVERY_SECONDS = 60
MAX_QUEUE_LENGTH = 10_000
MAX_DEAD_LETTERS = 100
MAX_AGE_SECONDS = 15 * 60


async def measure(client: Any) -> dict[str, Any]:
    """Return the numbers of a dashboard."""
    queue_metrics = await meshhook.QueueService(client).get_queue_metrics()
    dlq_metrics = await meshhook.DLQService(client).get_dlq_metrics()
    return {
        "queue": attrs.asdict(queue_metrics),
        "dlq": attrs.asdict(dlq_metrics),
        "timestamp": datetime.now(UTC).isoformat(),
    }


def alerts(dashboard: dict[str, Any]) -> list[str]:
    """Return what is wrong."""
    queue, dlq = dashboard["queue"], dashboard["dlq"]
    age = queue["oldest_msg_age_seconds"] or 0
    checks = (
        (
            queue["queue_length"] > MAX_QUEUE_LENGTH,
            f"ALERT: Queue length exceeds threshold: {queue['queue_length']} jobs",
        ),
        (
            dlq["total_jobs"] > MAX_DEAD_LETTERS,
            f"ALERT: DLQ has too many jobs: {dlq['total_jobs']}",
        ),
        (
            queue["visible_jobs"] > 0 and age > MAX_AGE_SECONDS,
            f"ALERT: The oldest job is {age} seconds old; does a worker run?",
        ),
    )
    return [text for is_wrong, text in checks if is_wrong]


async def notify(texts: list[str]) -> None:
    """Send the alerts to the person on call."""
    for text in texts:
        sys.stderr.write(f"{text}\n")
    url = os.environ.get("ALERT_URL")
    if url and texts:
        async with httpx.AsyncClient(timeout=10) as http:
            (await http.post(url, json={"text": "\n".join(texts)})).raise_for_status()


async def check(client: Any) -> list[str]:
    """Measure once, print the numbers, and send alerts if something is wrong."""
    try:
        dashboard = await measure(client)
    except meshhook.OutageError as error:
        texts = [f"ALERT: Supabase cannot be reached: {error}"]
    else:
        print(json.dumps(dashboard))
        texts = alerts(dashboard)
    await notify(texts)
    return texts


async def main() -> int:
    """Check once or until stopped, and return the exit code."""
    async with meshhook.connect() as client:
        while True:
            texts = await check(client)
            if "--once" in sys.argv[1:]:
                return 1 if texts else 0
            await anyio.sleep(CHECK_EVERY_SECONDS)


if __name__ == "__main__":
    try:
        sys.exit(anyio.run(main))
    except KeyboardInterrupt:
        sys.exit(130)  # the exit code that shells use after Ctrl-C
