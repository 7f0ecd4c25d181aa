"""Which route a transfer takes next: the best one that is open to it now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.rules.failures import Failure, Reason
from hfaria.rules.route_health import UNPROVEN

if TYPE_CHECKING:
    from hfaria.rules.flight import Flight
    from hfaria.rules.route_health import RouteBook

_WORTH_WAITING_SECONDS = 3.0
_MOST_FAILURES, _MANY_FAILURES = 2, 4
_CERTAINLY = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """A route, and from when on it may be asked; ``why`` is what keeps it closed until then."""

    route: int
    opens_at: float
    why: Failure | None


def candidates(flight: Flight, book: RouteBook) -> set[int]:
    """Return the routes that may still bring this transfer's bytes, one day."""
    name = flight.transfer.blob_name
    return {at for at, route in enumerate(book.routes) if route.has(name)} - flight.excluded


def choose(flight: Flight, book: RouteBook, now: float) -> Choice | None:
    """Return the best route that is open now, else the one that opens first; None if none is left.

    Those who answered with something else come last, before them those whose bytes were wrong, who
    may have erred once, and when bytes are compared, those who brought them come after the others.
    A fall-back is not taken for a wait of a few seconds at an endpoint that works.
    """
    suspects = flight.served if flight.is_mending else set[int]()

    def rank(at: int) -> tuple[bool, bool, bool, int]:
        return _is_useless(flight, at), at in flight.liars, at in suspects, at

    order = sorted(candidates(flight, book), key=rank)
    closed: list[Choice] = []
    for index in order:
        choice = _look(flight, index, book, now)
        if choice.opens_at > now:
            closed.append(choice)
            continue
        better = [each for each in closed if _is_worth_waiting(each, index, flight, book, now)]
        return better[0] if better else choice
    return min(closed, key=lambda each: each.opens_at, default=None)


def _look(flight: Flight, index: int, book: RouteBook, now: float) -> Choice:
    opens_at, why = book.opens_at(index, now)
    avoided_until = flight.avoided.get(index, 0.0)
    if avoided_until > opens_at:
        opens_at, why = avoided_until, flight.last_failures.get(index)
    return Choice(index, opens_at, why or Failure(Reason.TRANSPORT))


def _is_worth_waiting(
    better: Choice, other: int, flight: Flight, book: RouteBook, now: float
) -> bool:
    """Tell whether to wait for a better route that is closed, though another one is open."""
    if better.why is UNPROVEN:
        return True
    seconds = better.opens_at - now
    if _is_useless(flight, better.route):
        return False
    failures = flight.failures_at.get(better.route, 0)
    if _is_useless(flight, other) or (other in flight.liars and better.route not in flight.liars):
        # Once may have been chance: then whoever fails, too, is not waited for.
        is_chance = not _is_useless(flight, other) and flight.wrong_at.get(other) == 1
        if is_chance and (failures > 1 or book.is_down(better.route)):
            return False
        return failures <= _MANY_FAILURES and seconds <= book.policy.longest_wait_seconds
    if book.routes[other].is_fallback and not book.is_down(better.route):
        return seconds <= _WORTH_WAITING_SECONDS and failures <= _MOST_FAILURES
    return False


def _is_useless(flight: Flight, at: int) -> bool:
    return flight.useless_at.get(at, 0) >= _CERTAINLY
