"""Where an endpoint's commit stands beside the newest one that is known: same, behind or ahead."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.rules.sizes import count, format_seconds
from hfaria.rules.staleness import measure_lag

if TYPE_CHECKING:
    from hfaria.rules.staleness import HistoryEntry
    from hfaria.rules.words import Head


class Age(enum.Enum):
    """A commit beside the newest one."""

    SAME = "same"
    BEHIND = "behind"
    AHEAD = "ahead"
    OTHER = "other"
    """Another commit, and nothing tells which of the two is newer."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class History:
    """Commits up to one, newest first; ``is_whole``: to the first one of the repo."""

    entries: tuple[HistoryEntry, ...] = ()
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How two commits differ: by commits, if they could be counted, and by time."""

    age: Age = Age.UNKNOWN
    commits: int | None = None
    seconds: float | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is known to be before or after the newest."""
        return self.age in {Age.BEHIND, Age.AHEAD}

    def __str__(self) -> str:
        if not self.is_elsewhere:
            return "other commit" if self.age is Age.OTHER else str(self.age.value)
        span = None if not self.seconds else format_seconds(self.seconds)
        if self.commits is None:
            return f"{span} {self.age.value}" if span else str(self.age.value)
        text = f"{count(self.commits, 'commit')} {self.age.value}"
        return f"{text} ({span})" if span else text


_NO_HISTORY = History()


def standing_of(
    mine: Head | None,
    newest: Head | None,
    *,
    history: History = _NO_HISTORY,
    own_history: History = _NO_HISTORY,
) -> Standing:
    """Compare a head with the newest one.

    ``history`` goes back from the newest, ``own_history`` from ``mine``. Where neither has the
    other's commit, the dates decide.
    """
    if mine is None or newest is None:
        return Standing()
    if mine.commit_hash == newest.commit_hash:
        return Standing(Age.SAME, 0, 0.0)
    behind = measure_lag(mine, newest, history.entries, is_whole=history.is_whole)
    if behind.commits is not None:
        return Standing(Age.BEHIND, behind.commits, _forward(behind.seconds))
    ahead = measure_lag(newest, mine, own_history.entries, is_whole=own_history.is_whole)
    if ahead.commits is not None:
        return Standing(Age.AHEAD, ahead.commits, _forward(ahead.seconds))
    if not behind.seconds:
        return Standing(Age.OTHER)
    return Standing(Age.BEHIND if behind.seconds > 0 else Age.AHEAD, None, abs(behind.seconds))


def _forward(seconds: float | None) -> float | None:
    # Dates can contradict the order of the commits; then they tell nothing.
    return None if seconds is None or seconds < 0 else seconds
