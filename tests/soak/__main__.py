"""Soak the queue: worker processes against thousands of jobs, while everything is broken.

    python -m tests.soak --minutes 10 --seed 7

Prints the seed first and the accounting table last. The exit code is 1 if anything is unaccounted
for: a job that is lost, stuck, never run, finished twice, both done and dead, or ended otherwise
than it had to; an execution or an attempt too many that nothing explains; statistics that are not
those of the rows; a worker that ended by itself. For the same strikes again give the same seed; how
they meet what the workers do at the time is never the same.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

import anyio
from rich.console import Console
from rich.table import Table

from tests.soak.accounting import Accounts
from tests.soak.chaos import WEIGHTS
from tests.soak.run import Plan, soak

JOBS_A_MINUTE = 1200

console = Console(soft_wrap=True, highlight=False)


def arguments() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of all chance")
    parser.add_argument("--minutes", type=float, default=2.0, help="of strikes")
    parser.add_argument("--jobs", type=int, help=f"{JOBS_A_MINUTE} a minute if not given")
    parser.add_argument("--workers", type=int, default=4, help="processes at work at once")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two strikes")
    parser.add_argument(
        "--slow", type=float, default=1.0, help="times as long as usual every answer takes"
    )
    parser.add_argument(
        "--settle-seconds",
        type=float,
        default=60.0,
        help="when all strikes are over, without a finished job, before the rest counts as stuck",
    )
    parser.add_argument(
        "--strikes", nargs="+", choices=WEIGHTS, default=list(WEIGHTS), help="only these"
    )
    parser.add_argument("--journal", type=Path, help="a file to keep the journal in")
    given = vars(parser.parse_args())
    minutes = given.pop("minutes")
    given["jobs"] = given["jobs"] or max(1, round(JOBS_A_MINUTE * minutes))
    return Plan(**given, seconds=60 * minutes)


def show(accounts: Accounts) -> None:
    """Print what is unaccounted for, and the table."""
    for problem in accounts.problems:
        console.print(problem)
    table = Table("", "", title="Accounting", title_justify="left", show_header=False)
    for name, value in accounts.rows:
        table.add_row(name, str(value))
    console.print(table)


def main() -> int:
    """Run a soak and return the exit code."""
    plan = arguments()
    if plan.journal:
        plan.journal.unlink(missing_ok=True)
    console.print(
        f"seed {plan.seed}: {plan.jobs} jobs, {plan.workers} workers, {plan.seconds:g} s,"
        f" answers {plan.slow:g} times as slow"
    )
    begin = time.monotonic()
    accounts = anyio.run(soak, plan)
    show(accounts)
    console.print(f"seed {plan.seed}, took {time.monotonic() - begin:.0f} s")
    return 1 if accounts.problems else 0


if __name__ == "__main__":
    sys.exit(main())
