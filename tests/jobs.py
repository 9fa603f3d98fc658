"""Job data for tests."""

from __future__ import annotations

import uuid
from typing import Any


def job_data(**more: Any) -> dict[str, Any]:
    """Return the data of a valid job; named fields are added or replaced."""
    return {
        "run_id": str(uuid.uuid4()),
        "workflow_id": str(uuid.uuid4()),
        "project_id": str(uuid.uuid4()),
        **more,
    }
