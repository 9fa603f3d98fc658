"""The SQL with which the database calls a drain endpoint when jobs are waiting."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from meshhook._defaults import DEFAULT_QUEUE
from meshhook._inputs import check
from meshhook.exceptions import Problem

if TYPE_CHECKING:
    from datetime import timedelta

_SCHEDULE = re.compile(r"[1-5]?\d seconds|[\d*/,\- ]+")
_URL = re.compile(r"https?://[^\s'$\\]+")
_SECRET_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")

_KICK = string.Template("""\
-- Once, with the secret that the endpoint expects (MESHHOOK_DRAIN_SECRET there):
--   select vault.create_secret('<the secret>', '$secret_name');
-- The extensions pg_cron, pg_net and supabase_vault must be enabled (Integrations).

select cron.schedule(
  'meshhook kick $queue_name',
  '$schedule',
  $$kick$$
  select net.http_post(
    url := '$url',
    headers := jsonb_build_object(
      'Content-Type', 'application/json',
      'Authorization', 'Bearer ' || secret.decrypted_secret
    ),
    body := '{}'::jsonb,
    timeout_milliseconds := $timeout_ms
  )
  from vault.decrypted_secrets secret
  where secret.name = '$secret_name'
    and exists (select from pgmq."q_$queue_name" job where job.vt <= now())
  $$kick$$
);

-- To end it: select cron.unschedule('meshhook kick $queue_name');
""")


def kick_sql(
    url: str,
    queue_name: str = DEFAULT_QUEUE,
    *,
    schedule: str = "10 seconds",
    secret_name: str = "meshhook_drain_secret",  # noqa: S107 - a name, not the secret
    timeout_seconds: float | timedelta = 60,
) -> str:
    """Return SQL for pg_cron and pg_net that calls a drain endpoint while jobs are due.

    The endpoint's secret is read from Supabase Vault at each call; it is not in the SQL.

    Args:
        url: The endpoint, such as that of an `asgi_app`.
        queue_name: The queue that it drains.
        schedule: When to look: ``"<n> seconds"`` up to 59, or a cron expression.
        secret_name: The name of the secret in the Vault.
        timeout_seconds: How long the endpoint may take, in seconds or as a timedelta.

    Returns:
        The SQL, for a migration or to be run once.

    Raises:
        InvalidInputError: An argument is not valid in such SQL.
    """
    check.queue_name("queue_name", queue_name)
    seconds = check.positive_seconds("timeout_seconds", timeout_seconds)
    problems = []
    if not _is_like(_URL, url):
        problems.append(Problem("url", check.shown(url), "give an http(s) URL without ' $ \\"))
    if not _is_like(_SCHEDULE, schedule):
        fix = "give '<n> seconds' or a cron expression such as '* * * * *'"
        problems.append(Problem("schedule", check.shown(schedule), fix))
    if not _is_like(_SECRET_NAME, secret_name):
        fix = "use letters, digits, _ . and -"
        problems.append(Problem("secret_name", check.shown(secret_name), fix))
    check.refuse(problems)
    return _KICK.substitute(
        url=url,
        queue_name=queue_name,
        schedule=schedule,
        secret_name=secret_name,
        timeout_ms=round(seconds * 1000),
    )


def _is_like(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
