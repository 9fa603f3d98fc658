"""Back-off between attempts: pure functions and the strategy that holds their settings."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from meshhook._backoff import backoff
from meshhook._inputs import check
from meshhook.exceptions import InvalidInputError, Problem
from meshhook.models import RetryConfig, RetryInfo

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RetryStrategy", "backoff_ms"]


def backoff_ms(attempt: int, base_delay_ms: int, max_delay_ms: int, jitter: float) -> int:
    """Return the delay after a failed attempt.

    The delay doubles from attempt to attempt, and the jitter adds up to as much again, as in the
    guide's table.

    Args:
        attempt: The attempt that failed, from 1 on.
        base_delay_ms: The delay after the first attempt without its jitter, in milliseconds.
        max_delay_ms: What the delay, jitter included, never exceeds, in milliseconds.
        jitter: The random part, from 0 (none) to 1 (as much again).

    Returns:
        The delay in whole milliseconds.
    """
    return round(backoff(attempt, base_delay_ms, max_delay_ms, jitter))


@attrs.frozen
class RetryStrategy:
    """Exponential back-off with jitter, and the last attempt.

    Args:
        base_delay_ms: The delay after the first failure, without jitter, in milliseconds.
        max_delay_ms: What a delay never exceeds, in milliseconds.
        max_attempts: The last allowed attempt.

    Raises:
        InvalidInputError: A value is out of range.
    """

    base_delay_ms: int = 1000
    max_delay_ms: int = 300_000
    max_attempts: int = 5
    _random: Callable[[], float] = attrs.field(default=random.random, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        check.retry_settings(self.base_delay_ms, self.max_delay_ms, self.max_attempts)

    @classmethod
    def from_config(
        cls, config: RetryStrategy | RetryConfig | dict[str, int] | None
    ) -> RetryStrategy:
        """Make a strategy from any form that a worker's ``retry_config`` may take.

        Args:
            config: A strategy, a configuration, a dict with its names, or None for the defaults.

        Returns:
            The strategy.

        Raises:
            InvalidInputError: A name is unknown or a value out of range.
        """
        if isinstance(config, RetryStrategy):
            return config
        if isinstance(config, RetryConfig):
            return cls(**attrs.asdict(config))
        given: object = {} if config is None else config
        if not isinstance(given, Mapping):
            fix = "give a RetryStrategy, a RetryConfig or a dict"
            raise InvalidInputError([Problem("retry_config", check.shown(given), fix)])
        check.known_names("retry_config", given, [name.name for name in attrs.fields(RetryConfig)])
        return cls(**attrs.asdict(RetryConfig(**given)))

    def get_next_delay(self, attempt: int) -> int:
        """Return a delay after *attempt*, with a jitter of its own each time.

        Args:
            attempt: The attempt that failed, from 1 on.

        Returns:
            The delay in milliseconds.

        Raises:
            InvalidInputError: *attempt* is not a whole number from 1 on.
        """
        check.attempt(attempt)
        return backoff_ms(attempt, self.base_delay_ms, self.max_delay_ms, self._random())

    def get_delay_seconds(self, attempt: int) -> float:
        """Return a delay after *attempt* in seconds; see `get_next_delay`.

        Args:
            attempt: The attempt that failed, from 1 on.

        Returns:
            The delay in seconds, to the millisecond.

        Raises:
            InvalidInputError: *attempt* is not a whole number from 1 on.
        """
        return self.get_next_delay(attempt) / 1000

    def can_retry(self, attempt: int) -> bool:
        """Tell whether another attempt may follow *attempt*.

        Args:
            attempt: The attempt that failed, from 1 on.

        Returns:
            True unless it was the last allowed one.

        Raises:
            InvalidInputError: *attempt* is not a whole number from 1 on.
        """
        check.attempt(attempt)
        return attempt < self.max_attempts

    def should_move_to_dead_letter(self, attempt: int) -> bool:
        """Tell whether a job whose *attempt* failed goes to the dead letter queue.

        Args:
            attempt: The attempt that failed, from 1 on.

        Returns:
            True if it was the last allowed one.

        Raises:
            InvalidInputError: *attempt* is not a whole number from 1 on.
        """
        return not self.can_retry(attempt)

    def get_retry_info(self, attempt: int) -> RetryInfo:
        """Return what follows when *attempt* fails.

        Args:
            attempt: The attempt that failed, from 1 on.

        Returns:
            Whether it is retried, after which delay, or goes to the dead letter queue.

        Raises:
            InvalidInputError: *attempt* is not a whole number from 1 on.
        """
        delay_ms = self.get_next_delay(attempt)
        can_retry = self.can_retry(attempt)
        return RetryInfo(
            attempt=attempt,
            max_attempts=self.max_attempts,
            can_retry=can_retry,
            delay_ms=delay_ms,
            delay_seconds=delay_ms / 1000,
            should_move_to_dead_letter=not can_retry,
        )

    def get_all_retry_delays(self) -> list[int]:
        """Return one delay for each attempt from the first to the last.

        Returns:
            Delays in milliseconds, each with a jitter of its own.
        """
        return [self.get_next_delay(attempt) for attempt in range(1, self.max_attempts + 1)]

    def get_config(self) -> RetryConfig:
        """Return the settings.

        Returns:
            The three settings as a value.
        """
        return RetryConfig(
            base_delay_ms=self.base_delay_ms,
            max_delay_ms=self.max_delay_ms,
            max_attempts=self.max_attempts,
        )
