"""The job that every contender gets: the same fields, the same size."""

from __future__ import annotations

import json
import uuid
from typing import Any


def job(number: int, padding: int = 0) -> dict[str, Any]:
    """Return the data of a job, about 300 bytes as JSON.

    Args:
        number: Its number; no two have the same ``run_id``.
        padding: How many more bytes it has.

    Returns:
        The data.
    """
    return {
        "run_id": str(uuid.UUID(int=number)),
        "workflow_id": "8f14e45f-ceea-467f-8bd5-6f1e2d3c4b5a",
        "project_id": "c9f0f895-fb98-4b91-99a8-1c2d3e4f5a6b",
        "metadata": {
            "source": "webhook",
            "event": "order.created",
            "priority": "high",
            "customer": "cus_00000000000000",
            **({"padding": "x" * padding} if padding else {}),
        },
    }


def dumped(data: dict[str, Any]) -> bytes:
    """Return job data as JSON, for contenders that take bytes."""
    return json.dumps(data, separators=(",", ":")).encode()


def encoded(number: int) -> bytes:
    """Return the data of a job as JSON."""
    return dumped(job(number))
