"""A token bucket: our own client's share of a rate limit, changed while threads take from it."""

from __future__ import annotations

import threading
import time

_BURST_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 0.5


class Pace:
    """Makes threads wait so that together they take no more than a rate. Without one, nobody waits.

    A piece is taken whole and leaves a debt, so pieces may be larger than the bucket.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rate: float | None = None
        self._held = 0.0
        self._filled_at = time.monotonic()
        self._taken = 0

    @property
    def taken(self) -> int:
        """Bytes taken so far, whatever the limit."""
        return self._taken

    def limit(self, bytes_per_second: float | None) -> None:
        """Change the rate, for those who wait now as well."""
        with self._changed:
            self._fill()
            self._held = 0.0 if self._rate is None else min(self._held, 0.0)
            self._rate = bytes_per_second
            self._changed.notify_all()

    def take(self, size: int) -> None:
        """Wait until bytes may be taken, and take them."""
        with self._changed:
            while self._rate is not None:
                self._fill()
                if self._held >= 0:
                    break
                self._changed.wait(min(-self._held / self._rate, _LONGEST_WAIT_SECONDS))
            self._taken += size
            if self._rate is not None:
                self._held -= size

    def _fill(self) -> None:
        now = time.monotonic()
        if self._rate is not None:
            earned = (now - self._filled_at) * self._rate
            self._held = min(self._held + earned, self._rate * _BURST_SECONDS)
        self._filled_at = now
