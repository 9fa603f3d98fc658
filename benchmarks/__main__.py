"""Measure, and write the results."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import environment, report
from benchmarks.processes import ROOT
from benchmarks.scenarios import SCENARIOS
from benchmarks.settings import Settings
from benchmarks.target import Target, space

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.results import Result


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chosen scenarios.

    Args:
        arguments: The command line; by default the process's own.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    settings = Settings(runs=given.runs or (1 if given.quick else 5), quick=given.quick)
    with _target(parser, given) as target:
        where = environment.describe(target)
        print("\n".join(f"{name}: {value}" for name, value in where.items()))
        results: list[Result] = []
        for result in _measure(target, settings, given.only or list(SCENARIOS)):
            print(report.as_text(result), flush=True)
            results.append(result)
            # All of them take half an hour: keep what is measured, even if a later one fails.
            _write(given.output, where, settings, results)
    print(f"\nwritten to {given.output}")


def _measure(target: Target, settings: Settings, names: Sequence[str]) -> Iterator[Result]:
    with space(target) as opened:
        for name in names:
            yield SCENARIOS[name](opened, settings)


def _write(
    folder: Path, where: dict[str, str], settings: Settings, results: Sequence[Result]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(report.as_json(where, settings, results))
    (folder / "README.md").write_text(report.as_markdown(where, settings, results))
    from benchmarks import plots  # noqa: PLC0415 - takes a second, which would be measured

    plots.draw(results[-1], folder)


@contextmanager
def _target(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Iterator[Target]:
    """Use the target of the command line, or start the embedded stack."""
    named = (given.url, given.key, given.database_url)
    if all(named):
        yield Target(given.url.rstrip("/"), given.key, given.database_url)
        return
    if any(named):
        parser.error("--url, --key and --database-url go together")
    from meshhook.local import LocalStack  # noqa: PLC0415 - not needed for a named target

    # Postgres and the gateway run in separate processes: none of them shares an interpreter with
    # the measured code.
    with LocalStack() as stack:
        yield Target(stack.url, stack.secret_key, stack.database_url, is_embedded=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--only", action="append", choices=SCENARIOS, help="one scenario; may be repeated")
    add("--runs", type=int, help="how often each contender is measured (5)")
    add("--quick", action="store_true", help="small sizes: only shows that it works")
    add("--output", type=Path, default=ROOT / "docs" / "benchmarks", help="where the results go")
    add("--url", help="a Supabase project or PostgREST, instead of the embedded stack")
    add("--key", help="its secret key")
    add("--database-url", help="its database, as the role that applied MeshHook's migrations")
    return parser


if __name__ == "__main__":
    main()
