"""One limit for all that the engine moves, whosever daemon it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from hfaria.engine.rpc import Engine

_SCARCE = 2**19  # bytes a second for each transfer


@dataclass(slots=True)
class EngineRate:
    """Tells the engine the limit when it has changed, and nothing as long as there never was one.

    A daemon of ours is limited as a whole. One of the user's moves what is not ours, too, so there
    each of our transfers gets its part, and another when their number changes. So does each in
    ours where little is left for it: under its one limit aria2 lets some starve for minutes.
    """

    bytes_per_second: int | None = None
    _told: tuple[int | None, frozenset[str]] | None = None

    def tell(self, engine: Engine, gids: Collection[str], *, is_attached: bool) -> None:
        """Let the engine hold the limit; raises `EngineLost`."""
        if self._told is None and self.bytes_per_second is None:
            return  # a limit in the daemon's own options stays
        share = self.share_of(len(gids))
        has_parts = is_attached or (share is not None and share < _SCARCE)
        wanted = self.bytes_per_second, frozenset(gids if has_parts else ())
        if wanted == self._told:
            return
        limit = self.bytes_per_second or 0
        had_parts = self._told is not None and bool(self._told[1])
        if not is_attached:
            engine.set_rate_limit(limit)
        if has_parts or had_parts:
            part = 0 if share is None else int(share) if is_attached else _most(limit, len(gids))
            engine.limit_each(gids, part if has_parts else 0)
        self._told = wanted

    def share_of(self, transfers: int) -> float | None:
        """Return what is left for each of so many transfers; None is no limit."""
        if not self.bytes_per_second:
            return None
        return max(1.0, self.bytes_per_second / max(1, transfers))

    def forget(self) -> None:
        """Take note that another daemon knows nothing of it."""
        self._told = None


def _most(limit: int, transfers: int) -> int:
    """Return what one transfer may take, so that half a share is left for each of the others."""
    if transfers <= 1:
        return limit
    return max(1, int(limit * (transfers - 0.5) / (transfers * (transfers - 1))))
