"""What is said when nothing moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.rules.failures import Reason
from hfaria.rules.flight import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hfaria.rules.flight import Flight
    from hfaria.rules.pending import Pending
    from hfaria.rules.route_health import RouteBook

_SILENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What nothing moves for: shown to the user.

    ``seconds`` are still to wait, or, if it ``is_over``, have been waited already.
    """

    seconds: float
    reason: str
    is_over: bool = False


def find_wait(flights: Iterable[Flight], book: RouteBook, now: float) -> Waiting | None:
    """Say what all of the flights wait for, or None if one of them gets on."""
    waits: list[Flight] = []
    silent: list[Flight] = []
    for flight in flights:
        if flight.phase is Phase.MOVING and now - _silent_since(flight) > _SILENCE_SECONDS:
            silent.append(flight)
        elif flight.phase in {Phase.MOVING, Phase.CHECKING}:
            return None
        elif flight.phase is Phase.WAITING and flight.waits_for is not None:
            waits.append(flight)
    if silent:
        first = max(silent, key=_silent_since)
        reason = f"no bytes by way of {book.host(first.route)}"
        if first.queued_since is not None:
            reason = "queued behind others in your aria2 daemon"
        return Waiting(now - _silent_since(first), reason, is_over=True)
    first_to_go = min(waits, key=lambda flight: flight.ready_at, default=None)
    if first_to_go is None or first_to_go.waits_for is None:
        return None
    index, failure = first_to_go.waits_for
    host = book.host(index)
    if failure.reason is Reason.RATE_LIMITED:
        reason = f"{failure.reason.value} of {host}"
    elif host in failure.detail:
        reason = str(failure)
    else:
        reason = f"{failure} ({host})"
    return Waiting(max(0.0, first_to_go.ready_at - now), reason)


def _silent_since(flight: Flight) -> float:
    return (flight.queued_since or flight.moved_at) + flight.slack_seconds


def leaves_line_idle(
    flights: Collection[Flight], pending: Pending, book: RouteBook, now: float
) -> bool:
    """Tell whether no byte moves or is about to, and none will for longer than a hiccup."""
    if not pending and all(
        flight.phase is Phase.CHECKING
        or (flight.phase is Phase.WAITING and flight.ready_at - now > _SILENCE_SECONDS)
        for flight in flights
    ):
        return True
    wait = find_wait(flights, book, now)
    return wait is not None and (wait.is_over or wait.seconds > _SILENCE_SECONDS)
