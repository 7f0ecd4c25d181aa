"""Link shaping: latency and token buckets that pace small chunks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

# A sleep that came back late is caught up with, but only this much of it.
_BURST_SECONDS = 0.05
_SHORTEST_SLEEP = 0.0005
_FULL_CHUNK = 256 << 10
_CHUNKS_A_SECOND = 200


@dataclass(frozen=True, slots=True)
class Shape:
    """How a site's link behaves; rates are bytes per second of payload, None is unlimited.

    ``latency_seconds`` is one round trip: a request costs one, a new connection one more,
    two more with TLS.
    """

    latency_seconds: float = 0.0
    rate_per_connection: float | None = None
    rate_total: float | None = None

    @property
    def chunk_size(self) -> int:
        """Bytes to write at once, so that the flow stays smooth."""
        rates = [rate for rate in (self.rate_per_connection, self.rate_total) if rate is not None]
        if not rates:
            return _FULL_CHUNK
        return max(1024, min(_FULL_CHUNK, int(min(rates) / _CHUNKS_A_SECOND)))


class Bucket:
    """A token bucket that hands out departure times, first come first served."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def take(self, size: int) -> None:
        """Wait until ``size`` bytes may leave."""
        if self._rate is None:
            return
        now = time.monotonic()
        if self._free_at < now - _BURST_SECONDS:
            self._free_at = now
        self._free_at += size / self._rate
        wait = self._free_at - now
        if wait > _SHORTEST_SLEEP:
            await asyncio.sleep(wait)
