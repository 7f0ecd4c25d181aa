"""Hold a pull to a rate limit that changes by the time of day, whoever moves the bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from hfaria.rules.rate_limit import RateSchedule, format_rate, shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfaria.hub.pace import Pace
    from hfaria.report.reporter import Reporter

_SECOND = 1.0
_NOTABLE = 0.05  # a smaller change of a share is not worth a call to the engine


def _local_time() -> datetime:
    return datetime.now()  # noqa: DTZ005 - windows are in local time


class RateLimited(Protocol):
    """What moves bytes and can be held to a rate: one engine's mover, or several."""

    @property
    def is_busy(self) -> bool:
        """Whether it has anything to move."""

    def limit_rate(self, bytes_per_second: int | None) -> None:
        """Hold it to a rate from now on; None is no limit."""


@dataclass(slots=True)
class Bandwidth:
    """Divides what the schedule allows now between the engine and our own client.

    `apply` is for the pull's loop: it does something once a second, when the engine becomes busy or
    idle, and when the schedule was replaced.
    """

    schedule: RateSchedule
    mover: RateLimited
    pace: Pace
    reporter: Reporter
    clock: Callable[[], datetime] = _local_time
    _limit: int | None = None
    _engine_share: int | None = None
    _applied_at: float | None = None
    _taken: int = 0
    _was_busy: bool = field(default=False)

    def set(self, schedule: RateSchedule) -> None:
        """Go on with another schedule from the next `apply` on."""
        self.schedule = schedule
        self._applied_at = None

    def apply(self, now: float) -> None:
        """Hold engine and client to the limit of the moment; ``now`` is monotonic."""
        is_busy = self.mover.is_busy
        since = None if self._applied_at is None else now - self._applied_at
        if since is not None and since < _SECOND and is_busy is self._was_busy:
            return
        taken = self.pace.taken - self._taken
        direct_rate = taken / max(since, _SECOND) if since else 0.0
        self._applied_at, self._taken, self._was_busy = now, self.pace.taken, is_busy
        local = self.clock()
        limit = self.schedule.at(local)
        if limit != self._limit:
            self._say(limit, local)
        self._limit = limit
        if limit is None:
            self._share(None, None)
        else:
            self._share(*shares(limit, direct_rate=direct_rate, is_engine_busy=is_busy))

    def _share(self, engine: int | None, direct: int | None) -> None:
        self.pace.limit(direct)
        last = self._engine_share
        if engine is None or last is None or abs(engine - last) > last * _NOTABLE:
            self._engine_share = engine
            self.mover.limit_rate(engine)

    def _say(self, limit: int | None, local: datetime) -> None:
        change = self.schedule.next_change(local)
        until = "" if change is None else f" until {change:%H:%M}"
        what = "no rate limit" if limit is None else f"rate limit {format_rate(limit)}"
        self.reporter.note(f"{what}{until}")
