"""Working where there is no long-lived process: drain the queue within a deadline.

`drain` and `drain_sync` do the work. `lambda_handler`, `asgi_app` and `wsgi_app` drain at the entry
points of function platforms, without a dependency on any. `kick_sql` returns the SQL with which
the database calls such an entry point when jobs are waiting.
"""

from __future__ import annotations

from meshhook.serverless.asgi import asgi_app
from meshhook.serverless.aws import lambda_handler
from meshhook.serverless.environment import drain_from_environment
from meshhook.serverless.kick import kick_sql
from meshhook.serverless.wsgi import wsgi_app
from meshhook.worker.draining import DrainReport, drain, drain_sync

__all__ = [
    "DrainReport",
    "asgi_app",
    "drain",
    "drain_from_environment",
    "drain_sync",
    "kick_sql",
    "lambda_handler",
    "wsgi_app",
]
