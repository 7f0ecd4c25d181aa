"""One limit for all that the engine moves, whosever daemon it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from hfaria.engine.rpc import Engine


@dataclass(slots=True)
class EngineRate:
    """Tells the engine the limit when it has changed, and nothing as long as there never was one.

    A daemon of ours is limited as a whole. One of the user's moves what is not ours, too, so there
    each of our transfers gets its part, and another when their number changes.
    """

    bytes_per_second: int | None = None
    _told: tuple[int | None, frozenset[str]] | None = None

    def tell(self, engine: Engine, gids: Collection[str], *, is_attached: bool) -> None:
        """Let the engine hold the limit; raises `EngineLost`."""
        if self._told is None and self.bytes_per_second is None:
            return  # a limit in the daemon's own options stays
        wanted = self.bytes_per_second, frozenset(gids if is_attached else ())
        if wanted == self._told:
            return
        limit = self.bytes_per_second or 0
        if is_attached:
            part = max(1, limit // max(1, len(gids))) if limit else 0
            engine.limit_each(gids, part)
        else:
            engine.set_rate_limit(limit)
        self._told = wanted

    def share_of(self, transfers: int) -> float | None:
        """Return what is left for each of so many transfers; None is no limit."""
        return self.bytes_per_second / max(1, transfers) if self.bytes_per_second else None

    def forget(self) -> None:
        """Take note that another daemon knows nothing of it."""
        self._told = None
