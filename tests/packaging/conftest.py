"""The wheel and the sdist, built once, and a virtual environment to install into.

These tests need the package index that pip is set up for: for `hatchling`, which builds, and for
the dependencies of each extra. They fail without it, and say so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from tests.docs.snippets import ROOT

_TAIL = 3000


def run(
    *argv: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command outside of this checkout's environment, and return what it said."""
    inherited = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "SUPABASE_URL"}}
    return subprocess.run(
        list(map(str, argv)),
        cwd=cwd,
        env={**inherited, "NO_COLOR": "1", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def pip_install(python: Path, *wanted: str, cwd: Path) -> None:
    """Install into the environment of a Python, with the pip of this one."""
    done = run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--disable-pip-version-check", *wanted),
        cwd=cwd,
    )
    if done.returncode:
        pytest.fail(
            f"tests/packaging needs a package index that pip can reach; it could not install"
            f" {' '.join(wanted)}:\n{done.stderr[-_TAIL:]}",
            pytrace=False,
        )


@attrs.frozen
class Environment:
    """A virtual environment.

    Attributes:
        folder: Where it is, and where its commands run.
    """

    folder: Path

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        (folder,) = self.folder.glob("lib/python*/site-packages")
        return folder

    def install(self, *wanted: str) -> None:
        """Install something."""
        pip_install(self.python, *wanted, cwd=self.folder)

    def run(self, *argv: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command of it, which must succeed, and return what it wrote."""
        done = self.attempt(*argv, env=env)
        assert done.returncode == 0, f"{argv}:\n{done.stdout[-_TAIL:]}\n{done.stderr[-_TAIL:]}"
        return done.stdout

    def attempt(
        self, *argv: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of it, and return how it ended."""
        return run(self.folder / "bin" / argv[0], *argv[1:], cwd=self.folder, env=env)


def make_environment(folder: Path) -> Environment:
    """Make an empty virtual environment."""
    done = run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return Environment(folder)


@attrs.frozen(kw_only=True)
class Distributions:
    """What is uploaded on a release.

    Attributes:
        sdist: The sdist.
        wheel: The wheel that was built from it.
        wheel_of_the_tree: The wheel that was built from the checkout.
    """

    sdist: Path
    wheel: Path
    wheel_of_the_tree: Path

    def files(self) -> dict[str, bytes]:
        """Return what the wheel holds."""
        return contents(self.wheel)

    def sdist_names(self) -> list[str]:
        """Return the names of what the sdist holds, without its folder."""
        with tarfile.open(self.sdist) as archive:
            return [name.partition("/")[2] for name in archive.getnames()]


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The sdist and the wheels, built from the checkout as it stands."""
    folder = tmp_path_factory.mktemp("dist")
    tools = make_environment(folder / "tools")
    tools.install("hatchling>=1.27")

    def build(*options: str) -> None:
        # `build` is of this environment, hatchling of the other: one pip install does for all.
        done = run(
            *(sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check"),
            *options,
            ROOT,
            cwd=folder,
            env={"PYTHONPATH": str(tools.packages)},
        )
        assert done.returncode == 0, done.stdout[-_TAIL:] + done.stderr[-_TAIL:]

    build("--outdir", str(folder / "release"))
    build("--wheel", "--outdir", str(folder / "tree"))
    (sdist,) = (folder / "release").glob("*.tar.gz")
    (wheel,) = (folder / "release").glob("*.whl")
    (wheel_of_the_tree,) = (folder / "tree").glob("*.whl")
    return Distributions(sdist=sdist, wheel=wheel, wheel_of_the_tree=wheel_of_the_tree)
