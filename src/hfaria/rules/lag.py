"""How far a mirror's copy of a repo is behind the newest that is known."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.rules.sizes import count, format_seconds

if TYPE_CHECKING:
    from datetime import datetime

_HOUR = 3600


class Age(enum.Enum):
    """A version beside the newest one that is known."""

    SAME = "same"
    BEHIND = "behind"
    AHEAD = "ahead"
    OTHER = "other"
    """Another commit, and nothing tells which of the two is newer."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Version:
    """What an endpoint says a revision is. ``made_at`` is when the commit was made, by it."""

    commit_hash: str
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lag:
    """How two versions differ: by commits, if they could be counted, and by time."""

    age: Age = Age.UNKNOWN
    commits: int | None = None
    hours: float | None = None

    def __str__(self) -> str:
        if self.age not in {Age.BEHIND, Age.AHEAD}:
            return {Age.SAME: "same", Age.OTHER: "other commit"}.get(self.age, "unknown")
        span = None if self.hours is None else format_seconds(self.hours * _HOUR)
        if self.commits is None:
            return f"{span} {self.age.value}" if span else self.age.value
        text = f"{count(self.commits, 'commit')} {self.age.value}"
        return f"{text} ({span})" if span else text


def lag_between(
    mine: Version | None,
    newest: Version | None,
    *,
    history: tuple[str, ...] = (),
    own_history: tuple[str, ...] = (),
) -> Lag:
    """Compare a version with the newest one.

    ``history`` holds commits from the newest backwards, as far as they are known; ``own_history``
    the same from ``mine``. Where neither has the other's commit, the dates decide.
    """
    if mine is None or newest is None:
        return Lag()
    if mine.commit_hash == newest.commit_hash:
        return Lag(Age.SAME, 0, 0.0)
    hours = None
    if mine.made_at is not None and newest.made_at is not None:
        hours = (newest.made_at - mine.made_at).total_seconds() / _HOUR
    if mine.commit_hash in history:
        return Lag(Age.BEHIND, history.index(mine.commit_hash), _span(hours, 1))
    if newest.commit_hash in own_history:
        return Lag(Age.AHEAD, own_history.index(newest.commit_hash), _span(hours, -1))
    if not hours:
        return Lag(Age.OTHER)
    return Lag(Age.BEHIND if hours > 0 else Age.AHEAD, None, abs(hours))


def _span(hours: float | None, sign: int) -> float | None:
    # Dates can contradict the order of the commits; then they tell nothing.
    return None if hours is None or hours * sign < 0 else abs(hours)
