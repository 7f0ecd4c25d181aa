"""When a transfer that brings nothing is taken back from the engine, and asked for anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.rules.failures import Failure, Reason
from hfaria.rules.flight import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfaria.rules.flight import Flight
    from hfaria.rules.retry import RetryPolicy

_CALM_SECONDS = 60.0


def due_at(flight: Flight, policy: RetryPolicy) -> float:
    """Return when a transfer that is with the engine is taken back unless bytes come."""
    if flight.hung_up_at is not None:
        return flight.hung_up_at + policy.hung_up_seconds
    first = policy.first_byte_seconds
    stall = flight.stall_seconds if flight.has_moved else max(first, flight.stall_seconds)
    return flight.moved_at + min(stall + flight.slack_seconds, policy.stall_seconds)


def bark(
    flight: Flight, policy: RetryPolicy, now: float, *, is_too_late: bool = False
) -> Failure | None:
    """Return why the transfer is taken back now, if it is.

    A silence is waited for twice as long the next time: what the network is like shows by and by.
    One that the daemon lets wait is taken back only when it ``is_too_late`` for everything.
    """
    if flight.queued_since is not None and is_too_late:
        return Failure(Reason.TIMEOUT, "the daemon lets it wait for others")
    if now < due_at(flight, policy):
        return None
    if flight.hung_up_at is not None:
        flight.location = None  # ask: a refusal says at once that nobody is there
        return Failure(Reason.TRANSPORT, "every connection is lost")
    if now - flight.stalled_at > _CALM_SECONDS:
        flight.stall_seconds = policy.quick_stall_seconds
    flight.stall_seconds = min(2 * flight.stall_seconds, policy.stall_seconds)
    flight.stalled_at = now
    return Failure(Reason.STALLED, f"{now - flight.moved_at:.0f} s")


def wake_at(flights: Iterable[Flight], policy: RetryPolicy) -> float | None:
    """Return when the first of the flights is due, or None if only events can change anything."""
    due: float | None = None
    for flight in flights:
        if flight.phase is Phase.WAITING:
            at = flight.ready_at
        elif flight.phase is Phase.MOVING and not flight.has_own_client:
            at = due_at(flight, policy)
        else:
            continue
        due = at if due is None else min(due, at)
    return due
