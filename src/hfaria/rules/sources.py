"""Who shares a large file with whom: further sources beside the route that it moves by.

Endpoints that the user named share every large file, since each may have a line of its own. The
origin as a fall-back does not: it helps out, and hands back when a named endpoint works again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hfaria.rules import transfers as t
from hfaria.rules.flight import Phase, Source

if TYPE_CHECKING:
    from hfaria.rules.flight import Flight
    from hfaria.rules.retry import RetryPolicy
    from hfaria.rules.route_health import RouteBook

_WORTH_SHARING = 16 * 2**20
"""Missing bytes below which a further source costs more requests than it saves time."""
_UNSEEN_SECONDS = 5.0
_SETTLED_SECONDS = 5.0
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Sharing:
    """Finds, adds and drops the sources of transfers that are moving."""

    book: RouteBook
    policy: RetryPolicy

    def most_sources(self, flight: Flight) -> int:
        """Return how many hosts may come to serve a transfer that begins to move now."""
        return len(self._sharers(flight) | {flight.route})

    def begin(self, flight: Flight, location: t.Location, now: float) -> None:
        """Note the source with which an attempt begins."""
        flight.sources[flight.route] = Source(_host(location), now)

    def seek(self, flight: Flight, now: float) -> list[t.Command]:
        """Ask further routes where they have the bytes of a transfer that is moving."""
        is_with_engine = flight.phase is Phase.MOVING and not flight.has_own_client
        if not is_with_engine or flight.missing_bytes < _WORTH_SHARING:
            return []
        if self._is_helped_out(flight) and now - flight.began_at < _SETTLED_SECONDS:
            return []  # it has just come here, for a reason
        commands: list[t.Command] = []
        for index in sorted(self._sharers(flight) - set(flight.sources) - flight.asking):
            not_before = max(flight.ask_again_at.get(index, 0.0), flight.avoided.get(index, 0.0))
            is_open = self.book.opens_at(index, now)[0] <= now
            if not_before > now or not is_open or self.book.room(index) < flight.connections:
                continue
            flight.asking.add(index)
            flight.ask_again_at[index] = now + self.policy.longest_wait_seconds
            self.book.take(index, flight.transfer.blob_name)
            commands.append(t.Locate(flight.transfer, self.book.routes[index]))
        return commands

    def on_answer(
        self, flight: Flight, index: int, event: t.Located | t.NotLocated, now: float
    ) -> list[t.Command]:
        """Take in what a further route said, while the transfer moves or after it stopped."""
        name = flight.transfer.blob_name
        flight.asking.discard(index)
        commands: list[t.Command] = []
        if isinstance(event, t.Located):
            commands = self.book.worked(index, now)
        elif not event.failure.reason.is_final_here:
            commands = self.book.failed(index, name, event.failure, now, has_moved=False)
        else:
            flight.excluded.add(index)
            flight.last_failures.setdefault(index, event.failure)
        self.book.leave(index, name)
        if isinstance(event, t.NotLocated):
            return commands
        if flight.phase is not Phase.MOVING or flight.has_own_client:
            return commands
        host = _host(event.location)
        if event.location.needs_token:
            flight.ask_again_at[index] = _NEVER
        elif self._is_helped_out(flight):
            flight.switch_to = index, event.location
            flight.phase = Phase.CANCELLING
            commands.append(t.Cancel(flight.transfer))
        elif index != flight.route and any(each.host == host for each in flight.sources.values()):
            flight.ask_again_at[index] = _NEVER  # the same line by another name
        else:
            flight.sources[index] = Source(host, now)
            self.book.take(index, name, connections=flight.connections)
            commands.append(t.AddSource(flight.transfer, self.book.routes[index], event.location))
        return commands

    def on_hosts(self, flight: Flight, hosts: frozenset[str] | None, now: float) -> None:
        """Forget a source that brings no bytes any more, so that it is asked anew."""
        if hosts is None or not hosts:
            return
        for index, source in list(flight.sources.items()):
            if source.host in hosts:
                source.seen_at = now
            elif now - source.seen_at > _UNSEEN_SECONDS and len(flight.sources) > 1:
                del flight.sources[index]
                self.book.leave(index, flight.transfer.blob_name)

    def _is_helped_out(self, flight: Flight) -> bool:
        return self.book.routes[flight.route].is_fallback

    def _sharers(self, flight: Flight) -> set[int]:
        if flight.is_unmixed:
            return set()
        name = flight.transfer.blob_name
        named = {
            index
            for index, route in enumerate(self.book.routes)
            if not route.is_fallback and route.has(name)
        }
        return named - flight.excluded - flight.liars


def _host(location: t.Location) -> str:
    """Return the host name by which the engine counts connections."""
    return urlsplit(location.url).hostname or ""
