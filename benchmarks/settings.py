"""What a run of the benchmarks is told."""

from __future__ import annotations

from typing import TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Settings:
    """What a run is told.

    Attributes:
        runs: How often each thing is measured.
        quick: Whether it is only to be seen that everything works: small sizes, and numbers that
            say little.
    """

    runs: int = 5
    quick: bool = False

    def size(self, full: T, quick: T) -> T:
        """Return the size of something in this run.

        Args:
            full: Its size in a measurement.
            quick: Its size where only the way is tried.

        Returns:
            One of the two.
        """
        return quick if self.quick else full
