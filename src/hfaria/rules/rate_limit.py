"""How many bytes a second a pull may take, by the time of day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hfaria.errors import UsageError
from hfaria.rules.sizes import format_size, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOUR = 60
_DAY = 24 * _HOUR
_LEAST = 1000
_WINDOW = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
_HINT = "write it like 2M, or 2M@08:00-19:00,500k@19:00-23:00; 0 is no limit"


@dataclass(frozen=True, slots=True)
class RateWindow:
    """A limit and when it holds, in minutes of the local day; ``end`` may be the next day's.

    ``bytes_per_second`` of None is no limit.
    """

    start: int
    end: int
    bytes_per_second: int | None

    def covers(self, minute: int) -> bool:
        """Tell whether it holds at a minute of the day."""
        return self.start <= minute < self.end or self.start <= minute + _DAY < self.end


@dataclass(frozen=True, slots=True)
class RateSchedule:
    """Limits by windows that don't overlap, and the one for the rest of the day."""

    windows: tuple[RateWindow, ...] = ()
    otherwise: int | None = None

    @property
    def is_unlimited(self) -> bool:
        """Whether it never limits anything."""
        return self.otherwise is None and all(w.bytes_per_second is None for w in self.windows)

    def at(self, local: datetime) -> int | None:
        """Return the limit at a local time in bytes a second; None is no limit."""
        return self._at(local.hour * 60 + local.minute)

    def next_change(self, local: datetime) -> datetime | None:
        """Return when another limit begins to hold; None if never."""
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        now = self.at(local)
        minute = local.hour * 60 + local.minute
        edges = sorted({edge % _DAY for w in self.windows for edge in (w.start, w.end)})
        for edge in [*(e for e in edges if e > minute), *(e + _DAY for e in edges if e <= minute)]:
            if self._at(edge % _DAY) != now:
                return midnight + timedelta(minutes=edge)
        return None

    def _at(self, minute: int) -> int | None:
        for window in self.windows:
            if window.covers(minute):
                return window.bytes_per_second
        return self.otherwise

    def __str__(self) -> str:
        parts = [
            f"{_rate(w.bytes_per_second)}@{_clock(w.start)}-{_clock(w.end)}" for w in self.windows
        ]
        if self.otherwise is not None or not parts:
            parts.append(_rate(self.otherwise))
        return ",".join(parts)


UNLIMITED = RateSchedule()


def parse_rate_schedule(text: str, *, named_by: str) -> RateSchedule:
    """Read ``2M`` or ``2M@08:00-19:00,0@19:00-08:00``; raises `UsageError`.

    What is outside all windows has the limit without a window, or none.
    """
    windows: list[RateWindow] = []
    otherwise: list[int | None] = []
    for part in text.split(","):
        rate, at, hours = part.strip().partition("@")
        limit = _parse_rate(rate.strip(), named_by)
        if at:
            windows.append(_parse_window(hours.strip(), limit, named_by))
        else:
            otherwise.append(limit)
    if len(otherwise) > 1:
        raise UsageError(f"{named_by}: `{text}` has two limits for the whole day", hint=_HINT)
    for minute, window in _overlaps(windows):
        raise UsageError(
            f"{named_by}: `{text}` has two limits for {_clock(minute)}: `{_clock(window.start)}-"
            f"{_clock(window.end)}` overlaps another window"
        )
    return RateSchedule(tuple(windows), otherwise[0] if otherwise else None)


def shares(limit: int, *, direct_rate: float, is_engine_busy: bool) -> tuple[int, int]:
    """Divide a limit into the engine's share and that of our own client.

    The engine gets what the other leaves: that one may take a quarter more than it did lately, so
    that it can grow, a tenth of all at least, and half of all at most while the engine is busy.
    """
    tenth = limit // 10
    if not is_engine_busy:
        return max(limit - int(direct_rate), tenth), limit
    direct = min(max(int(direct_rate * 1.25), tenth), limit // 2)
    return (limit - direct if direct_rate else limit), direct


def format_rate(bytes_per_second: int | None) -> str:
    """Write a limit as messages say it."""
    return "no limit" if bytes_per_second is None else f"{format_size(bytes_per_second)}/s"


def _parse_rate(text: str, named_by: str) -> int | None:
    try:
        limit = parse_size(text.removesuffix("/s"), named_by=named_by)
    except UsageError as exc:
        raise UsageError(f"{named_by}: `{text}` is not a rate", hint=_HINT) from exc
    if 0 < limit < _LEAST:
        raise UsageError(f"{named_by}: {limit} bytes a second is too little", hint=_HINT)
    return limit or None


def _parse_window(text: str, limit: int | None, named_by: str) -> RateWindow:
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise UsageError(f"{named_by}: `{text}` is not a window like 08:00-19:00", hint=_HINT)
    hours, minutes, end_hours, end_minutes = (int(number) for number in found.groups())
    start, end = hours * 60 + minutes, end_hours * 60 + end_minutes
    if start >= _DAY or end > _DAY or max(minutes, end_minutes) >= _HOUR:
        raise UsageError(f"{named_by}: `{text}` is not a time of day", hint=_HINT)
    if start == end:
        raise UsageError(f"{named_by}: the window `{text}` is empty", hint=_HINT)
    return RateWindow(start, end if start < end else end + _DAY, limit)


def _overlaps(windows: list[RateWindow]) -> Iterator[tuple[int, RateWindow]]:
    for at, window in enumerate(windows):
        for other in windows[:at]:
            for start in (window.start, other.start):
                if window.covers(start) and other.covers(start):
                    yield start, window


def _rate(bytes_per_second: int | None) -> str:
    return "0" if bytes_per_second is None else format_size(bytes_per_second).replace(" ", "")


def _clock(minute: int) -> str:
    # The end of the day is 24:00, the end of a window over midnight is not.
    minute = minute if minute <= _DAY else minute - _DAY
    return f"{minute // 60:02}:{minute % 60:02}"
