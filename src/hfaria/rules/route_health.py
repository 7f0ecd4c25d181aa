"""How each route is doing: which may be asked now, which is waited for, and why.

A route that can't be reached, or that only fails, is *down*: nobody asks it before its cooling
time is over, or before somebody saw that it can be connected to. Then one transfer tries it, and
the others follow when that one gets an answer. A rate limit *holds* a route until the time that it
named; what its headers allow is spent, and not a request more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.rules import transfers as t
from hfaria.rules.failures import Failure, Reason

if TYPE_CHECKING:
    from hfaria.rules.retry import RetryPolicy

_STRIKES = 3
_UNPROVEN_USERS = 16
_SOON_SECONDS = 0.25
_BACK_SECONDS = 1.0
_QUIET_SECONDS = 60.0
_FULL = Failure(Reason.TIMEOUT, "as many connections as it may have are in use")
UNPROVEN = Failure(Reason.TIMEOUT, "waiting for its first answers")
"""Why a route that has not answered yet gets no more than a few requests at once."""


@dataclass(slots=True)
class RouteHealth:
    """What is known of one route."""

    strikes: int = 0
    """Failures since it last answered as it should."""
    is_down: bool = False
    trials: int = 0
    """How often in a row it was tried since it went down, without success."""
    trial: str | None = None
    down_until: float = 0.0
    why: Failure = field(default_factory=lambda: Failure(Reason.UNREACHABLE))
    has_worked: bool = False
    is_watched: bool = False
    back_until: float = 0.0
    """Until when it counts as just seen to be in reach again."""
    held_until: float = 0.0
    hold: Failure = field(default_factory=lambda: Failure(Reason.RATE_LIMITED))
    allowed: int | None = None
    """The lowest that an answer allowed since the endpoint began to count anew."""
    is_counted: bool = False
    """Whether answers tell what is allowed."""
    resets_at: float = 0.0
    unanswered: int = 0
    """Requests that are under way and may not be counted in ``allowed``."""
    users: dict[str, int] = field(default_factory=dict)
    said_at: float = -_QUIET_SECONDS
    has_said_down: bool = False


@dataclass(slots=True)
class RouteBook:
    """The health of all routes, named by their index in the order of preference."""

    routes: tuple[t.Route, ...]
    policy: RetryPolicy
    openings: int = 0
    """Grows whenever a route opens earlier than those who wait for it were told."""
    _has_begun: bool = field(init=False, default=False)
    _places: dict[t.Route, int] = field(init=False)
    _health: list[RouteHealth] = field(init=False)

    def __post_init__(self) -> None:
        self._places = {route: index for index, route in enumerate(self.routes)}
        self._health = [RouteHealth() for _ in self.routes]

    def begin(self, now: float) -> list[t.Command]:
        """Take in, once, which routes were out of reach before the first transfer."""
        if self._has_begun:
            return []
        self._has_begun = True
        commands: list[t.Command] = []
        for index, route in enumerate(self.routes):
            if route.down is None:
                continue
            health = self._health[index]
            health.has_said_down, health.said_at = True, now
            if route.down.retry_after_seconds is not None:
                self.hold(index, now + route.down.retry_after_seconds, route.down)
                continue
            health.is_down, health.trials, health.why = True, 1, route.down
            health.down_until = now + self.policy.wait_seconds(health.trials + 1)
            commands += self._watch(index, now)
        return commands

    def host(self, index: int) -> str:
        """Name a route as messages do."""
        return self.routes[index].endpoint.host

    def opens_at(self, index: int, now: float) -> tuple[float, Failure | None]:
        """Return from when on the route may be asked, and what keeps it closed until then."""
        health = self._health[index]
        if health.is_down and health.down_until > now:
            return health.down_until, health.why
        if health.is_down and health.trial is not None:
            return now + _SOON_SECONDS, health.why
        if health.held_until > now:
            return health.held_until, health.hold
        if health.allowed is not None and health.allowed <= self._unanswered(health):
            return health.resets_at, Failure(Reason.RATE_LIMITED)
        if not self.room(index):
            return now + _SOON_SECONDS, _FULL
        is_unknown = not health.has_worked or (health.is_counted and health.allowed is None)
        if is_unknown and len(health.users) >= _UNPROVEN_USERS:
            return now + _SOON_SECONDS, UNPROVEN
        return now, None

    def tick(self, now: float) -> None:
        """Let time go by: what endpoints allow counts anew when they said it would."""
        for health in self._health:
            if health.allowed is not None and health.resets_at <= now:
                # How many it will be this time, the first answers tell.
                health.allowed = None
                self.openings += 1

    def room(self, index: int) -> int:
        """Return how many more connections the route may have."""
        cap = self.routes[index].connections
        if cap is None:
            return 1 << 16
        return max(0, cap - sum(self._health[index].users.values()))

    def take(self, index: int, blob_name: str, *, connections: int = 1) -> None:
        """Note that a request or transfer uses the route."""
        health = self._health[index]
        health.users[blob_name] = connections
        if health.is_down:
            health.trial = blob_name
        health.unanswered += 1

    def leave(self, index: int, blob_name: str) -> None:
        """Note that it doesn't any more."""
        health = self._health[index]
        health.users.pop(blob_name, None)
        if health.trial == blob_name:
            health.trial = None

    def worked(self, index: int, now: float) -> list[t.Command]:
        """Note an answer as it should be; returns what is to be told of a route that is back."""
        health = self._health[index]
        health.strikes = health.trials = 0
        self.openings += health.is_down or not health.has_worked
        health.has_worked = True
        if not health.is_down:
            return []
        health.is_down = False
        health.trial = None
        if not health.has_said_down:
            return []
        health.has_said_down = False
        health.said_at = now
        return [t.Say(f"{self.host(index)} is back")]

    def failed(
        self, index: int, blob_name: str, failure: Failure, now: float, *, has_moved: bool
    ) -> list[t.Command]:
        """Note a failure that may pass; ``has_moved``: it brought bytes before."""
        health = self._health[index]
        if has_moved:
            return []
        was_trial = health.trial == blob_name
        health.strikes += 1
        is_clear = failure.reason is Reason.UNREACHABLE
        if health.is_down:
            if not was_trial:
                return []  # it was asked before the route went down
        elif not is_clear and health.strikes < _STRIKES:
            return []
        health.is_down = True
        health.trial = None
        health.trials += 1
        health.why = failure
        health.down_until = now + self.policy.wait_seconds(health.trials + 1)
        return self._watch(index, now)

    def _watch(self, index: int, now: float) -> list[t.Command]:
        health = self._health[index]
        commands: list[t.Command] = []
        if not health.is_watched:
            health.is_watched = True
            # One that accepts connections and nothing else must not be tried without a pause.
            after = self.policy.wait_seconds(health.trials - 1)
            commands.append(t.Watch(self.routes[index], after))
        is_news = not health.has_said_down and now - health.said_at >= _QUIET_SECONDS
        if len(self.routes) > 1 and is_news:
            health.has_said_down = True
            health.said_at = now
            commands.append(t.Say(f"{self.host(index)}: {health.why}; others go on"))
        return commands

    def hold(self, index: int, until: float, failure: Failure) -> None:
        """Keep everybody from a route that named a rate limit."""
        health = self._health[index]
        if until > health.held_until:
            health.held_until = until
            health.hold = failure

    def allowed(self, event: t.Allowed, now: float) -> None:
        """Take in what an answer's headers allow; answers may come out of order."""
        index = self.index(event.route)
        if index is None:
            return
        health = self._health[index]
        resets_at = now + event.reset_seconds
        health.is_counted = True
        health.unanswered = max(0, self._unanswered(health) - 1)
        if health.allowed is None or resets_at > health.resets_at + 1.0:
            self.openings += 1
            health.allowed = event.remaining
        health.allowed = min(health.allowed, event.remaining)
        health.resets_at = max(health.resets_at, resets_at)

    def _unanswered(self, health: RouteHealth) -> int:
        # A request that failed without an answer is under way no more.
        return min(health.unanswered, len(health.users))

    def reachable(self, index: int, now: float) -> None:
        """Let one transfer try a route that can be connected to again."""
        health = self._health[index]
        health.is_watched = False
        health.back_until = now + _BACK_SECONDS
        self.openings += 1
        health.down_until = min(health.down_until, now)

    def index(self, route: t.Route) -> int | None:
        """Return a route's place in the order."""
        return self._places.get(route)

    def trials(self, index: int) -> int:
        """Return how often in a row a route was tried in vain since it went down."""
        return self._health[index].trials

    def silent_trials(self, index: int) -> int:
        """Return how often in a row a route that is down was tried and kept silent."""
        health = self._health[index]
        return health.trials if health.is_down and health.why.reason.is_silence else 0

    def awaits_trial(self, now: float) -> bool:
        """Tell whether one transfer may try a route that was down."""
        return any(
            each.is_down and each.trial is None and each.down_until <= now for each in self._health
        )

    def is_back(self, index: int, now: float) -> bool:
        """Tell whether the route was just seen to be in reach again."""
        return now < self._health[index].back_until

    def is_down(self, index: int) -> bool:
        """Tell whether the route is believed not to work."""
        return self._health[index].is_down

    def is_out_of_reach(self, index: int) -> bool:
        """Tell whether nobody could connect to it, as far as is known, since it went down."""
        return self._health[index].is_watched
