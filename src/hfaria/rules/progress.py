"""A moment of a pull, as a value; what shows it can be a bar, a line, or nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ActiveTransfer:
    """A large transfer that is under way; bytes, and bytes per second."""

    label: str
    size: int
    held: int
    rate: float
    is_verifying: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a pull. ``held`` counts everything that need not be fetched any more."""

    files_done: int
    files: int
    held: int
    size: int
    rate: float
    active: tuple[ActiveTransfer, ...] = ()
    waiting: str | None = None
    waiting_for: str | None = None
    """The reason in ``waiting`` alone, without the seconds, which change all the time."""
    repos_done: int = 0
    repos: int = 1

    @property
    def seconds_left(self) -> float | None:
        """Time to the end at the present rate, if there is one."""
        if self.rate <= 0:
            return None
        return max(0, self.size - self.held) / self.rate

    @property
    def percent(self) -> int:
        """Whole percent, rounded down, so that 100 means all of it."""
        return 100 if self.size == 0 else self.held * 100 // self.size


def join(parts: Mapping[str, Progress], *, repos_done: int) -> Progress:
    """Return the moments of several repos, by their names, as one.

    Something is waited for if no repo's bytes move; then it is what the first one waits for.
    """
    waiting = [(name, each) for name, each in parts.items() if each.waiting is not None]
    moves = any(each.active or each.rate > 0 for each in parts.values() if each.waiting is None)
    name, first = waiting[0] if waiting and not moves else ("", None)
    return Progress(
        files_done=sum(each.files_done for each in parts.values()),
        files=sum(each.files for each in parts.values()),
        held=sum(each.held for each in parts.values()),
        size=sum(each.size for each in parts.values()),
        rate=sum(each.rate for each in parts.values()),
        active=tuple(
            replace(transfer, label=f"{name}: {transfer.label}")
            for name, each in parts.items()
            for transfer in each.active
        ),
        waiting=None if first is None else f"{name}: {first.waiting}",
        waiting_for=None if first is None else f"{name}: {first.waiting_for}",
        repos_done=repos_done,
        repos=len(parts),
    )


@dataclass(slots=True)
class RateMeter:
    """Average of the last seconds, so that a rate neither jumps nor lags."""

    span_seconds: float = 5.0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, now: float, total: int) -> float:
        """Take in a running total of bytes and return the present rate in bytes per second."""
        self._samples.append((now, total))
        while len(self._samples) > 2 and now - self._samples[0][0] > self.span_seconds:  # noqa: PLR2004
            self._samples.popleft()
        first_at, first_total = self._samples[0]
        if now - first_at < 0.2:  # noqa: PLR2004 - too short to divide by
            return 0.0
        return max(0.0, (total - first_total) / (now - first_at))
