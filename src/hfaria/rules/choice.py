"""Which route a transfer takes next: the one that should bring the right bytes soonest.

What speaks against a route is counted in seconds, as its wait is: so long another one, against
which less speaks, is waited for. There is one sum for each route, and the smallest wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.rules.failures import Failure, Reason
from hfaria.rules.route_health import UNPROVEN

if TYPE_CHECKING:
    from hfaria.rules.flight import Flight
    from hfaria.rules.route_health import RouteBook

_LITTLE_SECONDS = 3.0
"""Worth waiting before a fall-back is asked, or one that nobody could connect to."""
_CERTAINLY = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """A route, and from when on it may be asked; ``why`` is what keeps it closed until then."""

    route: int
    opens_at: float
    why: Failure


def candidates(flight: Flight, book: RouteBook) -> set[int]:
    """Return the routes that may still bring this transfer's bytes, one day."""
    name = flight.transfer.blob_name
    return {at for at, route in enumerate(book.routes) if route.has(name)} - flight.excluded


def choose(flight: Flight, book: RouteBook, now: float) -> Choice | None:
    """Return the route to take, now or when it opens; None if none is left."""
    looks = [_look(flight, at, book, now) for at in candidates(flight, book)]
    return min(looks, key=lambda each: (_cost(each, flight, book, now), each.route), default=None)


def _look(flight: Flight, at: int, book: RouteBook, now: float) -> Choice:
    opens_at, why = book.opens_at(at, now)
    avoided_until = flight.avoided.get(at, 0.0)
    if avoided_until > opens_at:
        opens_at, why = avoided_until, flight.last_failures.get(at)
    return Choice(at, opens_at, why or Failure(Reason.TRANSPORT))


def _cost(choice: Choice, flight: Flight, book: RouteBook, now: float) -> float:
    """Return the seconds to wait, and those that speak against the route."""
    at, longest = choice.route, book.policy.longest_wait_seconds
    wait = 0.0 if choice.why is UNPROVEN else max(0.0, choice.opens_at - now)
    is_dark = book.is_down(at) and (wait > 0.0 or book.is_out_of_reach(at))
    darkness = max(1, book.trials(at)) if is_dark else 0
    # To compare bytes with those of whoever brought them shows least.
    lies = flight.wrong_at.get(at, 0) + (flight.is_mending and at in flight.served)
    is_useless = flight.useless_at.get(at, 0) >= _CERTAINLY  # once may be chance
    wait += _vain_seconds(flight, at, book)
    # Also with little patience it is less than a lie, and than the wait for who fails each time.
    little = min(_LITTLE_SECONDS, longest / 4)
    return (
        wait + little * (book.routes[at].is_fallback + darkness) + longest * (lies / 2 + is_useless)
    )


def _vain_seconds(flight: Flight, at: int, book: RouteBook) -> float:
    """Return how long a route was waited for in vain, if that was no chance.

    Once may have been chance, where patience has room for another try beside everybody else's.
    """
    failure = flight.last_failures.get(at)
    is_silence = failure is not None and failure.reason.is_silence
    times = max(flight.failures_at.get(at, 0) if is_silence else 0, book.silent_trials(at))
    policy = book.policy
    may_be_chance = policy.silence_seconds(times) <= policy.patience_seconds / 4
    if times < _CERTAINLY and may_be_chance:
        return 0.0
    return sum(map(policy.silence_seconds, range(times)))
