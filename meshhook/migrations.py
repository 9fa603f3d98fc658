"""Where MeshHook's SQL lives: inside the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_IN_WHEEL = _PACKAGE / "sql"
_IN_CHECKOUT = _PACKAGE.parent / "supabase" / "migrations"


def migration_files() -> list[Path]:
    """List MeshHook's migrations in the order in which they apply.

    Returns:
        The SQL files, oldest first. Empty if the folder has none yet.

    Raises:
        FileNotFoundError: If neither the wheel nor a checkout has a folder of migrations.
    """
    for folder in (_IN_WHEEL, _IN_CHECKOUT):
        if folder.is_dir():
            return sorted(folder.glob("*.sql"))
    raise FileNotFoundError(
        f"MeshHook's migrations are missing: neither {_IN_WHEEL} nor {_IN_CHECKOUT} exists; "
        "install meshhook again"
    )
