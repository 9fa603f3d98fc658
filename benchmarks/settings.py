"""The settings of a run of the benchmarks."""

from __future__ import annotations

from typing import TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a run.

    Attributes:
        runs: How often each thing is measured.
        quick: Whether to use small sizes, which only show that everything works.
    """

    runs: int = 5
    quick: bool = False

    def size(self, full: T, quick: T) -> T:
        """Return the size of something in this run.

        Args:
            full: Its size in a measurement.
            quick: Its size in a quick run.

        Returns:
            One of the two.
        """
        return quick if self.quick else full
