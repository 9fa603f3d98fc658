"""One module for each question. Each has a function ``measure(space, settings)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.scenarios import (
    churn,
    claim,
    drain,
    enqueue,
    history,
    imports,
    latency,
    memory,
    round_trips,
    shared_pool,
    views,
    workers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.results import Result
    from benchmarks.settings import Settings
    from benchmarks.target import Space

SCENARIOS: Mapping[str, Callable[[Space, Settings], Result]] = {
    module.__name__.rpartition(".")[2]: module.measure
    for module in (
        drain,
        enqueue,
        claim,
        churn,
        views,
        round_trips,
        memory,
        latency,
        workers,
        shared_pool,
        history,
        imports,
    )
}
