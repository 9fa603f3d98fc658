"""The stack that tests use: the embedded one, or any other that answers as it does."""

from __future__ import annotations

from typing import Protocol

import attrs


class Stack(Protocol):
    """The facts about a stack that are needed; `meshhook.local.LocalStack` has them."""

    @property
    def url(self) -> str:
        """The URL of the project."""

    @property
    def secret_key(self) -> str:
        """The key that stands for the role ``service_role``."""

    @property
    def admin_database_url(self) -> str:
        """The URL of the database, for a role that owns what MeshHook's migrations created."""


@attrs.frozen(kw_only=True)
class RunningStack:
    """A stack that is already running, such as that of ``supabase start``.

    Tests create, empty and drop queues in it, so nobody else may work with it.

    Attributes:
        url: The URL of the project.
        secret_key: The secret (service role) key.
        admin_database_url: The URL of the database, for the role ``postgres``.
    """

    url: str
    secret_key: str = attrs.field(repr=False)
    admin_database_url: str = attrs.field(repr=False)
