"""Keep the moments of a run for other processes, beside showing them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfaria.report.reporter import Reporter
    from hfaria.rules.progress import Progress

_SECONDS = 1.0


class SnapshotReporter:
    """Passes everything on, hands a moment now and then to ``keep``, and messages to ``hear``.

    ``keep`` gets the moment and since when, by the wall clock, it is waited for what is waited for.
    """

    def __init__(
        self,
        reporter: Reporter,
        *,
        keep: Callable[[Progress, float | None], None],
        hear: Callable[[str], None],
    ) -> None:
        self._reporter = reporter
        self._keep = keep
        self._hear = hear
        self._kept_at: float | None = None
        self._last: Progress | None = None
        self._waiting_for: str | None = None
        self._waits_since: float | None = None

    def note(self, text: str) -> None:
        """Pass it on."""
        self._hear(text)
        self._reporter.note(text)

    def warn(self, text: str) -> None:
        """Pass it on."""
        self._hear(text)
        self._reporter.warn(text)

    def show(self, progress: Progress) -> None:
        """Pass it on, and keep it if one is due, or if waiting begins or ends."""
        self._reporter.show(progress)
        self._last = progress
        changed = progress.waiting_for != self._waiting_for
        if changed:
            self._waiting_for = progress.waiting_for
            self._waits_since = None if progress.waiting_for is None else time.time()
        now = time.monotonic()
        if changed or self._kept_at is None or now - self._kept_at >= _SECONDS:
            self._kept_at = now
            self._keep(progress, self._waits_since)

    def close(self) -> None:
        """Keep the last moment, and pass it on."""
        if self._last is not None:
            self._keep(self._last, self._waits_since)
        self._reporter.close()
