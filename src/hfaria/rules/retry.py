"""How long to go on, and how long to wait in between."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_STALL_SECONDS = 60.0
"""A transfer without a byte for so long is taken back and asked for anew."""
TRIES_WITHOUT_END = 1_000_000
"""So many that patience ends them."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of every wait. All in seconds, except ``tries`` and ``refetches``.

    ``patience_seconds``: without a byte from anywhere for so long, the pull ends.
    ``tries``: failures in a row, without a byte in between, that end one transfer while others
    get on. ``refetches``: how often wrong bytes are fetched again, for each
    route that may have the right ones, before the file is given up.

    A transfer whose bytes stop is taken back after ``quick_stall_seconds``, twice as long each
    time, up to ``stall_seconds``: asking anew costs one request, and bytes are kept. One whose
    bytes don't begin gets ``first_byte_seconds``, one that lost all its connections
    ``hung_up_seconds``. Our own client waits ``first_silence_seconds`` for an answer, twice as long
    each time, up to ``longest_silence_seconds``.
    """

    patience_seconds: float = 1800.0
    stall_seconds: float = LONGEST_STALL_SECONDS
    quick_stall_seconds: float = 2.5
    first_byte_seconds: float = 20.0
    hung_up_seconds: float = 1.0
    first_silence_seconds: float = 5.0
    longest_silence_seconds: float = 30.0
    tries: int = 8
    refetches: int = 2
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0

    @staticmethod
    def for_patience(seconds: float) -> RetryPolicy:
        """Return the limits for a patience of so many seconds: no single wait is longer."""
        standard = RetryPolicy()
        return RetryPolicy(
            patience_seconds=seconds,
            stall_seconds=min(LONGEST_STALL_SECONDS, seconds),
            # Within it several endpoints should have their turn.
            quick_stall_seconds=min(standard.quick_stall_seconds, seconds / 4),
            first_byte_seconds=min(standard.first_byte_seconds, seconds / 3),
            first_silence_seconds=min(standard.first_silence_seconds, seconds / 4),
            longest_silence_seconds=min(standard.longest_silence_seconds, seconds / 2),
            # A last try should still come before the end.
            longest_wait_seconds=min(
                standard.longest_wait_seconds, max(standard.first_wait_seconds, seconds / 4)
            ),
        )

    def wait_seconds(self, failures_in_a_row: int) -> float:
        """Return how long to wait before the next attempt: doubling, up to the longest."""
        if failures_in_a_row <= 0:
            return 0.0
        doubled = self.first_wait_seconds * 2.0 ** min(failures_in_a_row - 1, 16)
        return min(doubled, self.longest_wait_seconds)

    def silence_seconds(self, failures_in_a_row: int) -> float:
        """Return how long our own client waits for the next byte: doubling, up to the longest."""
        doubled = self.first_silence_seconds * 2.0 ** min(failures_in_a_row, 16)
        return min(doubled, self.longest_silence_seconds)


@dataclass(slots=True)
class Attempts:
    """The attempts at one request that nothing else depends on, such as a page of the listing.

    Not a transfer: those are judged by the scheduler, under the same policy.
    """

    policy: RetryPolicy
    started_at: float
    failures: int = 0

    def wait_after_failure(self, now: float, retry_after_seconds: float | None) -> float | None:
        """Return the seconds to wait before trying again, or None to give up.

        The last try comes when patience ends, unless the server asks for more.
        """
        self.failures += 1
        named = retry_after_seconds or 0.0
        left = self.started_at + self.policy.patience_seconds - now
        if self.failures > self.policy.tries or left <= 0.0 or named > left:
            return None
        return min(max(self.policy.wait_seconds(self.failures), named), left)
