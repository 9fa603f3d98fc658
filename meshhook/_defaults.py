"""Defaults and limits that several modules share, each with one name.

Nothing is imported here, so that every layer can use it.
"""

from __future__ import annotations

DEFAULT_QUEUE = "workflow_jobs"
"""The queue of the original system, which the migrations create."""

DEFAULT_DLQ = "workflow_jobs_dlq"
"""Its dead letter queue."""

URL_VARIABLE = "SUPABASE_URL"
"""The environment variable with the project's URL."""

KEY_VARIABLES = ("SUPABASE_KEY", "SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
"""The environment variables that may have the secret key; the first that is set counts."""

REQUEST_SECONDS = 600.0
"""How long the database remembers the request id of a call, unless a key is given."""

IDEMPOTENCY_SECONDS = 86_400.0
"""How long an idempotency key is remembered unless the caller says otherwise: a day."""

MAX_JOBS_PER_CALL = 10_000
"""How many jobs the database takes in one call."""

MAX_JOBS_PER_CLAIM = 1000
"""How many jobs the database hands out at once."""

MAX_JOBS_PER_PAGE = 1000
"""How many jobs or errors the database lists at once."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""How large one message may be, in bytes of JSON: the most that a claim can be asked for."""

MAX_BYTES_PER_CALL = 4 * 1024 * 1024
"""About how large the messages of one enqueue or claim are together, in bytes of JSON.

Far below what gateways let pass, and far from the eight seconds that Supabase gives a statement.
"""

BUFFER_JOBS = 1000
"""How many jobs a buffer gathers before it is sent."""

BUFFER_SECONDS = 0.1
"""How long a job waits in a buffer before it is sent."""

BUFFER_GRACE_SECONDS = 10.0
"""How long the last jobs of a buffer may take when its block is cancelled."""
