"""What `import meshhook` loads: the cold start of a function pays for every module."""

from __future__ import annotations

import functools
import subprocess
import sys

NEEDED = {
    # What the package itself is made of; each has to earn its place in a cold start.
    "meshhook",
    "meshhook._backoff",
    "meshhook._calls",
    "meshhook._defaults",
    "meshhook._enqueue",
    "meshhook._entered",
    "meshhook._environment",
    "meshhook._http",
    "meshhook._inputs",
    "meshhook._parity",
    "meshhook._telemetry",
    "meshhook.connection",
    "meshhook.dlq_service",
    "meshhook.exceptions",
    "meshhook.models",
    "meshhook.queue_admin",
    "meshhook.queue_service",
    "meshhook.retry",
    "meshhook.sync_services",
}
DEPENDENCIES = {"anyio", "attr", "attrs", "sniffio", "meshhook"}


@functools.cache
def loaded(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after a statement."""
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    return set(printed.split())


def part(module: str) -> str:
    """Return the package of MeshHook that a module belongs to, or the module itself."""
    names = module.split(".")
    return ".".join(names[:2])


def test_the_import_adds_nothing_to_supabase_but_meshhook_and_its_dependencies() -> None:
    added = loaded("import meshhook") - loaded("import supabase")

    outside = {module.partition(".")[0] for module in added} - set(sys.stdlib_module_names)
    assert outside <= DEPENDENCIES
    assert not added & {"meshhook_local", "opentelemetry", "prometheus_client", "trio"}


def test_the_import_loads_nothing_of_meshhook_that_is_optional() -> None:
    loads = {part(module) for module in loaded("import meshhook") if module.startswith("meshhook")}

    assert loads == NEEDED


def test_a_buffer_is_loaded_when_it_is_asked_for() -> None:
    modules = loaded(
        "import meshhook\n"
        "from supabase import create_client\n"
        "client = create_client('http://localhost:1', 'sb_secret_x')\n"
        "meshhook.SyncQueueService(client, 'q').buffered()\n"
    )

    assert "meshhook.enqueue_buffer" in modules
