"""A small world that obeys the scheduler, fails as it is told, and holds it to its promises."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.rules import transfers as t
from hfaria.rules.endpoints import Endpoint
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.plan import Transfer
from hfaria.rules.scheduler import Scheduler, Window

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from hfaria.rules.retry import RetryPolicy

LARGE = 8 * 2**20
SMALL = 2**10
SLOWEST_ANSWER = 30.0
TRANSIENT = (
    Failure(Reason.UNREACHABLE),
    Failure(Reason.TRANSPORT),
    Failure(Reason.TIMEOUT),
    Failure(Reason.SERVER_ERROR, status=503),
    Failure(Reason.SERVER_ERROR, status=503, retry_after_seconds=7),
    Failure(Reason.RATE_LIMITED, status=429),
    Failure(Reason.RATE_LIMITED, status=429, retry_after_seconds=40),
    Failure(Reason.EXPIRED, status=403),
    Failure(Reason.RANGE_IGNORED, status=200),
    Failure(Reason.WRONG_LENGTH),
    Failure(Reason.WRONG_CONTENT),
)
FINAL = (
    Failure(Reason.DENIED, status=401),
    Failure(Reason.NOT_FOUND, status=404),
    Failure(Reason.REFUSED, status=400),
    Failure(Reason.UNTRUSTED),
    Failure(Reason.RATE_LIMITED, status=429, retry_after_seconds=86400),
)


def transfer(name: str, size: int = LARGE) -> Transfer:
    return Transfer(name, size, f"folder/{name}", is_lfs=True)


def route(
    name: str = "origin",
    *,
    is_private: bool = False,
    is_fallback: bool = False,
    connections: int | None = None,
    holdings: t.Holdings | None = None,
) -> t.Route:
    endpoint = Endpoint(f"https://{name}.example")
    return t.Route(endpoint, is_private, is_fallback, connections, holdings)


@dataclass(frozen=True)
class Weather:
    """Chances, from 0 to 1, of what can go wrong at each step."""

    locate_fails: float = 0.0
    fails_at_once: float = 0.0
    fails_midway: float = 0.0
    stalls: float = 0.0
    engine_dies: float = 0.0
    bytes_get_lost: float = 0.0
    mismatches: float = 0.0
    salvage_was_wrong: float = 0.0
    faults_each: int | None = None
    """So many faults hit one transfer at most; None for no limit."""
    failures: tuple[Failure, ...] = TRANSIENT
    disk_fills_up_after: int | None = None
    """The number of attempts after which the disk takes no more bytes."""
    finds_more_to_fetch: bool = False
    liars: frozenset[str] = frozenset()
    """Hosts whose bytes are always wrong."""
    outages: tuple[tuple[str, float, float], ...] = ()
    """Hosts that can't be reached, from when, until when, in seconds after the start."""
    share: float | None = None
    """Bytes a second that a rate limit leaves each transfer, on average: they come in bursts."""
    allowance: tuple[int, float] | None = None
    """So many requests are answered in each window of so many seconds."""


HOPELESS = Weather(locate_fails=0.3, fails_at_once=0.7, stalls=1.0)


@dataclass(eq=False)
class _Attempt:
    transfer: Transfer
    is_direct: bool
    hosts: set[str] = field(default_factory=set)
    is_mending: bool = False


@dataclass
class World:
    transfers: tuple[Transfer, ...]
    routes: tuple[t.Route, ...]
    policy: RetryPolicy
    window: Window
    weather: Weather
    random: random.Random
    now: float = 1000.0
    history: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    given_up: dict[str, Failure] = field(default_factory=dict)
    stop: t.Stop | None = None
    deaths: int = 0
    restarts: int = 0
    asked: set[tuple[str, t.Route]] = field(default_factory=set)
    longest_wait_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(
            self.transfers, self.routes, self.policy, self.window, now=self.now
        )
        self.started_at = self.got_on_at = self.now
        self.ended_at = float("inf")
        self._wanted = {each.blob_name for each in self.transfers}
        self._order = itertools.count()
        self._heap: list[tuple[float, int, t.Event, _Attempt | None]] = []
        self._locating: set[tuple[str, t.Route]] = set()
        self._located: dict[str, set[tuple[t.Route, t.Location]]] = {}
        self._wrong: set[str] = set()
        self._watched: set[t.Route] = set()
        self.requests = self.limited = 0
        self._window_began = self.now
        self._window_count = 0
        self._moving: dict[str, _Attempt] = {}
        self._checking: set[str] = set()
        self._arrived: set[str] = set()
        self._held: dict[str, int] = {}
        self._faults: dict[str, int] = {}
        self._attempts = 0
        self._is_engine_alive = True

    # --- the loop ----------------------------------------------------------------------------

    def run(self, *, most_steps: int = 20_000) -> World:
        """Go on until the scheduler is done; fails if it hangs or breaks a promise."""
        if self.weather.finds_more_to_fetch:
            extra = transfer("wanted-later", self.random.choice([LARGE, SMALL]))
            self._wanted.add(extra.blob_name)
            self._later(self.random.uniform(0, 20), t.Wanted(extra))
        events: list[t.Event] = [t.Ticked()]
        for _ in range(most_steps):
            commands = self.scheduler.handle(events, self.now)
            for command in commands:
                self.history.append(f"{self.now:9.2f} {command}")
                self._obey(command)
            if self.stop is not None:
                assert self.scheduler.is_done
                assert self.scheduler.handle([t.Ticked()], self.now + 1) == []
                return self
            self._check_promises()
            if self.scheduler.is_done:
                self.ended_at = min(self.ended_at, self.now)
            if self.scheduler.is_done and not self._heap:
                self.now = self.ended_at
                self._check_the_end()
                return self
            events = self._next_events()
        raise AssertionError("it does not end:\n" + "\n".join(self.history[-30:]))

    def _next_events(self) -> list[t.Event]:
        due = [self._heap[0][0]] if self._heap else []
        wake_at = self.scheduler.wake_at()
        due += [] if wake_at is None else [wake_at]
        assert due, "nothing would ever happen again"
        later = max(min(due), self.now + 0.001)
        if not (self._moving or self._checking or self._locating):
            self.longest_wait_seconds = max(self.longest_wait_seconds, later - self.now)
        self.now = later
        events: list[t.Event] = []
        while self._heap and self._heap[0][0] <= self.now:
            _, _, event, attempt = heapq.heappop(self._heap)
            if attempt is None or self._moving.get(attempt.transfer.blob_name) is attempt:
                self._happen(event, events)
        events.append(t.Ticked())
        return events

    def _later(self, seconds: float, event: t.Event, attempt: _Attempt | None = None) -> None:
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), event, attempt))

    def _happen(self, event: t.Event, events: list[t.Event]) -> None:
        match event:
            case t.Located() | t.NotLocated():
                self._locating.discard((event.blob_name, event.route))
            case t.Progressed():
                if event.held_bytes > self._held.get(event.blob_name, 0):
                    self.got_on_at = self.now
                self._held[event.blob_name] = event.held_bytes
            case t.Arrived():
                self.got_on_at = self.now
                del self._moving[event.blob_name]
                self._arrived.add(event.blob_name)
            case t.Failed() | t.Cancelled():
                del self._moving[event.blob_name]
            case t.Published():
                assert event.blob_name not in self._wrong
                self._arrived.discard(event.blob_name)
                self._checking.remove(event.blob_name)
                self.published.append(event.blob_name)
                self.got_on_at = self.now
            case t.Mismatched():
                self._checking.remove(event.blob_name)
                self.got_on_at = self.now
                if event.was_salvaged:  # some of it is dropped, so there is no whole file
                    self._arrived.discard(event.blob_name)
                    self._held[event.blob_name] = self._held.get(event.blob_name, 0) // 2
            case t.Mended():
                del self._moving[event.blob_name]
                self._arrived.add(event.blob_name)
                self.got_on_at = self.now
            case t.Reachable():
                self._watched.remove(event.route)
            case t.EngineDied():
                if not self._dies():
                    return
            case t.Wanted() | t.Ticked() | t.Allowed():
                pass
        events.append(event)

    def _dies(self) -> bool:
        """Let the engine die, unless nobody would notice."""
        if not self._is_engine_alive or not self._with_engine():
            return False
        self._is_engine_alive = False
        self.deaths += 1
        if self._chance(self.weather.bytes_get_lost):
            for attempt in self._with_engine():
                self._held.pop(attempt.transfer.blob_name, None)
        return True

    # --- obeying -----------------------------------------------------------------------------

    def _obey(self, command: t.Command) -> None:
        match command:
            case t.RestartEngine():
                assert not self._is_engine_alive
                self._is_engine_alive = True
                self.restarts += 1
                for attempt in self._with_engine():
                    del self._moving[attempt.transfer.blob_name]
            case t.Stop():
                self.stop = command
            case t.GiveUp():
                self._assert_idle(command.transfer)
                self.given_up[command.transfer.blob_name] = command.failure
            case t.Locate():
                self._locate(command)
            case t.Move() | t.MoveDirect():
                self._assert_idle(command.transfer)
                self._move(command)
            case t.Mend():
                self._assert_idle(command.transfer)
                self._mend(command)
            case t.AddSource():
                attempt = self._moving[command.transfer.blob_name]
                assert not attempt.is_direct
                assert not command.route.is_fallback, "a fall-back shares nothing"
                self._take_location(command.transfer, command.route, command.location)
                attempt.hosts.add(command.route.endpoint.host)
            case t.SetAside():
                self._assert_idle(command.transfer)
                self._held.pop(command.transfer.blob_name, None)
                self._wrong.discard(command.transfer.blob_name)
                self._arrived.discard(command.transfer.blob_name)
            case t.Watch():
                self._watch(command)
            case t.Say():
                assert "\n" not in command.message
            case t.Cancel():
                attempt = self._moving[command.transfer.blob_name]
                assert not attempt.is_direct
                self._drop_events_of(attempt)
                self._later(0, t.Cancelled(command.transfer.blob_name), attempt)
            case t.Discard():
                self._assert_idle(command.transfer)
                self._held.pop(command.transfer.blob_name, None)
                self._wrong.discard(command.transfer.blob_name)
            case t.Check():
                self._check(command.transfer)

    def _assert_idle(self, each: Transfer) -> None:
        name = each.blob_name
        assert name in self._wanted
        assert name not in self.given_up, f"{name} was given up"
        assert name not in self.published, f"{name} is published"
        assert name not in self._moving, f"{name} is moving"
        assert name not in self._checking, f"{name} is being checked"

    def _locate(self, command: t.Locate) -> None:
        name, asked = command.transfer.blob_name, command.route
        assert asked in self.routes
        assert asked.has(name)
        assert self.window.is_large(command.transfer)
        assert (name, asked) not in self._locating, "asked twice at once"
        assert name not in self.given_up
        assert name not in self.published
        self.asked.add((name, asked))
        self._locating.add((name, asked))
        failure = self._refusal(asked)
        if failure is not None:
            self._later(0.02, t.NotLocated(name, asked, failure))
            return
        seconds = self.random.choice([0.05, 0.05, 1.0, SLOWEST_ANSWER])
        if self._hits(name, self.weather.locate_fails):
            failure = self.random.choice(self.weather.failures)
            self._later(seconds, t.NotLocated(name, asked, failure))
            return
        location = t.Location(
            f"https://bytes.{asked.endpoint.host}/{name}?{next(self._order)}",
            needs_token=asked.is_private and self.random.random() < 0.5,
            is_signed=True,
        )
        self._located.setdefault(name, set()).add((asked, location))
        self._later(seconds, t.Located(name, asked, location))

    def _refusal(self, asked: t.Route) -> Failure | None:
        """Count a request at an endpoint that may be away, or have counted enough of them."""
        if self._is_out(asked.endpoint.host):
            return Failure(Reason.UNREACHABLE)
        self.requests += 1
        if self.weather.allowance is None:
            return None
        most, seconds = self.weather.allowance
        if self.now - self._window_began >= seconds:
            self._window_began, self._window_count = self.now, 0
        self._window_count += 1
        left = self._window_began + seconds - self.now
        if self._window_count > most:
            self.limited += 1
            return Failure(Reason.RATE_LIMITED, status=429, retry_after_seconds=left)
        self._later(0.01, t.Allowed(asked, most - self._window_count, left))
        return None

    def _is_out(self, host: str) -> bool:
        since_start = self.now - self.started_at
        return any(
            name == host and begin <= since_start < end for name, begin, end in self.weather.outages
        )

    def _watch(self, command: t.Watch) -> None:
        assert command.route not in self._watched, "watched twice"
        self._watched.add(command.route)
        host = command.route.endpoint.host
        since_start = self.now - self.started_at
        ends = [
            end
            for name, begin, end in self.weather.outages
            if name == host and begin <= since_start < end
        ]
        wait = max([command.after_seconds, *(end - since_start for end in ends)])
        self._later(wait + 0.25, t.Reachable(command.route))

    def _take_location(self, each: Transfer, by: t.Route, location: t.Location) -> None:
        # Each location is used at the route that gave it; engine connections that broke may use
        # the same one again.
        assert (by, location) in self._located.get(each.blob_name, set())
        assert not location.needs_token or by.is_private

    def _move(self, command: t.Move | t.MoveDirect) -> None:
        each = command.transfer
        name = each.blob_name
        assert command.route in self.routes
        self.asked.add((name, command.route))
        is_direct = isinstance(command, t.MoveDirect)
        if command.location is None:
            assert not self.window.is_large(each)
        else:
            self._take_location(each, command.route, command.location)
            assert command.location.needs_token == is_direct
        assert self._is_engine_alive or is_direct
        host = command.route.endpoint.host
        attempt = self._moving[name] = _Attempt(each, is_direct, {host})
        self._attempts += 1
        full_at = self.weather.disk_fills_up_after
        if full_at is not None and self._attempts > full_at:
            self._later(0.1, t.Failed(name, Failure(Reason.DISK, "no space")), attempt)
            return
        if command.location is None:
            failure = self._refusal(command.route)
            if failure is not None:
                self._later(0.02, t.Failed(name, failure), attempt)
                return
        self._plan_attempt(attempt)

    def _mend(self, command: t.Mend) -> None:
        each = command.transfer
        name = each.blob_name
        assert name in self._arrived, "there is nothing to compare with"
        self._arrived.discard(name)
        host = command.route.endpoint.host
        self.asked.add((name, command.route))
        attempt = self._moving[name] = _Attempt(each, is_direct=True, hosts={host}, is_mending=True)
        seconds = self.random.choice([0.5, 5.0])
        if self._hits(name, self.weather.fails_midway):
            failure = self.random.choice(self.weather.failures)
            self._arrived.add(name)
            self._later(seconds, t.Failed(name, failure), attempt)
            return
        was_wrong = name in self._wrong
        if host in self.weather.liars:
            agrees = was_wrong and self.random.random() < 0.5
            self._wrong.add(name)
            replaced = () if agrees else ((0, 16),)
        else:
            self._wrong.discard(name)
            replaced = ((0, 16),)
        self._later(seconds, t.Mended(name, replaced), attempt)

    def _plan_attempt(self, attempt: _Attempt) -> None:
        name, size = attempt.transfer.blob_name, attempt.transfer.size
        failure = self.random.choice(self.weather.failures)
        if self._hits(name, self.weather.fails_at_once):
            self._later(self.random.choice([0.1, 5.0]), t.Failed(name, failure), attempt)
            return
        held = self._held.get(name, 0)
        self._later(0.1, t.Progressed(name, held, share=self.weather.share), attempt)
        if attempt.hosts & self.weather.liars:
            self._wrong.add(name)
        will_fail = self._hits(name, self.weather.fails_midway)
        will_stall = not attempt.is_direct and self._hits(name, self.weather.stalls)
        will_die = not attempt.is_direct and self._hits(name, self.weather.engine_dies)
        seconds = 0.1
        if self.weather.share is not None:
            self._plan_bursts(attempt, held, self.weather.share)
            return
        if self.weather.stalls < 1:
            steps = self.random.randint(1, 3)
            goal = held + (size - held) // 2 if will_fail or will_stall or will_die else size
            for step in range(1, steps + 1):
                seconds += self.random.choice([0.2, 2.0])
                reached = held + (goal - held) * step // steps
                self._later(seconds, t.Progressed(name, reached), attempt)
        if will_die:
            self._later(seconds, t.EngineDied("killed"))
        elif will_stall:
            pass
        elif will_fail or self.weather.stalls >= 1:
            self._later(seconds + 0.1, t.Failed(name, failure), attempt)
        else:
            self._later(seconds + 0.1, t.Arrived(name), attempt)

    def _plan_bursts(self, attempt: _Attempt, held: int, share: float) -> None:
        """Let others have the limit's bytes for up to 1 MiB, then this one what it was left."""
        name, size, seconds = attempt.transfer.blob_name, attempt.transfer.size, 0.1
        while held < size:
            gap = self.random.choice([0.1, 2**19 / share, 2**20 / share])
            seconds += gap
            held = min(size, held + max(1, int(gap * share)))
            self._later(seconds, t.Progressed(name, held, 8, share=share), attempt)
        self._later(seconds + 0.1, t.Arrived(name), attempt)

    def _check(self, each: Transfer) -> None:
        name = each.blob_name
        self._assert_idle(each)
        assert name in self._arrived
        self._checking.add(name)
        seconds = self.random.choice([0.01, 2.0])
        if self._hits(name, self.weather.salvage_was_wrong):
            self._later(seconds, t.Mismatched(name, "", was_salvaged=True))
        elif name in self._wrong or self._hits(name, self.weather.mismatches):
            self._later(seconds, t.Mismatched(name, "other bytes", was_salvaged=False))
        else:
            self._later(seconds, t.Published(name))

    def _hits(self, name: str, chance: float) -> bool:
        limit = self.weather.faults_each
        if not self._chance(chance) or (limit is not None and self._faults.get(name, 0) >= limit):
            return False
        self._faults[name] = self._faults.get(name, 0) + 1
        return True

    def _chance(self, chance: float) -> bool:
        return self.random.random() < chance

    def _with_engine(self) -> list[_Attempt]:
        return [attempt for attempt in self._moving.values() if not attempt.is_direct]

    def _drop_events_of(self, attempt: _Attempt) -> None:
        self._heap = [entry for entry in self._heap if entry[3] is not attempt]
        heapq.heapify(self._heap)

    # --- promises ----------------------------------------------------------------------------

    def _check_promises(self) -> None:
        # One more large one may have begun beside the last bytes of another.
        for is_large, most in ((True, self.window.jobs + 1), (False, self.window.small_queue)):
            moving = [
                a for a in self._moving.values() if self.window.is_large(a.transfer) is is_large
            ]
            assert len(moving) <= most
            past_pending = [f for f in self.scheduler._flights.values() if f.is_large is is_large]
            assert len(past_pending) <= 10 * most
        if self.scheduler.is_done:
            return
        wake_at = self.scheduler.wake_at()
        assert self._heap or wake_at is not None, "nothing would ever happen again"
        if not (self._moving or self._checking or self._locating):
            waiting = self.scheduler.waiting(self.now)
            assert waiting is not None, "it waits without a word"
            assert waiting.reason
            assert 0 <= waiting.seconds <= self.policy.patience_seconds

    def _check_the_end(self) -> None:
        ended: Iterable[str] = [*self.published, *self.given_up]
        assert sorted(ended) == sorted(self._wanted)
