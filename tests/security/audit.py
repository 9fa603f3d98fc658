"""Looks for known vulnerabilities in what MeshHook needs at run time.

``python -m tests.security.audit`` runs pip-audit, in an environment of its own that is removed
afterwards, over the very versions that are installed here. The exit code is 0 if every package was
looked up and none is vulnerable, 1 if one is, and 3 if one could not be looked up: silence about a
package is not an answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.security.licences import dependencies

PIP_AUDIT = "pip-audit==2.10.1"
CLEAN, VULNERABLE, UNKNOWN = 0, 1, 3


def main() -> int:
    """Audit and tell; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="audit-") as name:
        folder = Path(name)
        pins = folder / "requirements.txt"
        pins.write_text("".join(f"{one.name}=={version(one.name)}\n" for one in dependencies()))
        report = folder / "report.json"
        venv.create(folder / "venv", with_pip=True)
        tools = folder / "venv" / "bin"
        subprocess.run([tools / "pip", "install", "--quiet", PIP_AUDIT], check=True)
        # Its own exit code is 0 for packages that it could not look up.
        subprocess.run(
            [
                *(tools / "pip-audit", "--requirement", pins, "--no-deps", "--disable-pip"),
                *("--progress-spinner", "off", "--format", "json", "--output", report),
            ],
            check=False,
        )
        if not report.exists():
            sys.stdout.write("pip-audit wrote no report\n")
            return UNKNOWN
        return told(json.loads(report.read_text())["dependencies"])


def told(audited: list[dict[str, Any]]) -> int:
    """Tell what pip-audit found out about each package, and return the exit code."""
    skipped = [one["name"] for one in audited if "skip_reason" in one]
    vulnerable = {
        one["name"]: [found["id"] for found in one["vulns"]] for one in audited if one.get("vulns")
    }
    for name, found in vulnerable.items():
        sys.stdout.write(f"{name}: {', '.join(found)}\n")
    for name in skipped:
        sys.stdout.write(f"{name}: could not be looked up\n")
    sys.stdout.write(
        f"{len(audited)} packages, {len(vulnerable)} vulnerable, {len(skipped)} unknown\n"
    )
    if vulnerable:
        return VULNERABLE
    return UNKNOWN if skipped or not audited else CLEAN


if __name__ == "__main__":
    sys.exit(main())
