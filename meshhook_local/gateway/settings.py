"""The gateway's settings, passed by its parent process."""

from __future__ import annotations

import json

import attrs

from meshhook_local.keys import StackKeys


@attrs.frozen(kw_only=True)
class GatewaySettings(StackKeys):
    """The settings of a gateway; they travel over its standard input, never its command line.

    Attributes:
        database: The connection string for the role `authenticator`.
        listen_fd: The listening socket, inherited.
        schema: The exposed schema.
        extra_search_path: Schemas that functions find unqualified names in, after the exposed one.
        max_rows: The largest number of rows that a set or a view gives; None for no limit.
        pool_size: The largest number of connections to the database.
        pool_timeout_seconds: How long a request waits for a free connection, in seconds.
    """

    database: str
    listen_fd: int = -1
    schema: str = "public"
    extra_search_path: tuple[str, ...] = attrs.field(
        default=("public", "extensions"), converter=tuple
    )
    max_rows: int | None = 1000
    pool_size: int = 10
    pool_timeout_seconds: float = 10.0

    def to_json(self) -> str:
        """Write the settings as one line of JSON."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> GatewaySettings:
        """Read what `to_json` wrote."""
        return cls(**json.loads(line))
