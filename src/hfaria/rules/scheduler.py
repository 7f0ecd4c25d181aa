"""The scheduler: judges what happened to each transfer and says what to do next.

Sans-IO: events and the time go in, commands come out. It holds no socket, file, thread or clock,
so a test can drive it through any history. All retrying of transfers is decided here.

A transfer's way: pending → locating → located → moving → checking → done; from any of them over
waiting back to locating, or out by `GiveUp`. Only a bounded number of transfers is past pending.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from typing_extensions import assert_never

from hfaria.rules import transfers as t
from hfaria.rules.failures import Failure, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfaria.rules.plan import Transfer
    from hfaria.rules.retry import RetryPolicy

_MOST_ENGINE_DEATHS = 3
_MOST_REFUSED_SIGNATURES = 4
_SMALL_JOBS_PER_JOB = 16
_SILENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Window:
    """How much is under way at once: a few large transfers, and many small ones beside them."""

    jobs: int = 4
    large_bytes: int = 4 * 2**20

    @property
    def small_jobs(self) -> int:
        """Transfers of one connection each at once: cheap, and slow only by latency."""
        return self.jobs * _SMALL_JOBS_PER_JOB

    @property
    def small_queue(self) -> int:
        """Small transfers handed out: as many again as can run, so that no thread runs dry."""
        return 2 * self.small_jobs

    def is_large(self, transfer: Transfer) -> bool:
        """Tell whether the engine's several connections are worth their set-up.

        Measured with 3,000 files of 2 kB at 80 ms: 64 at once through our own client take 8 s, the
        latency alone; through the engine 13 to 17 s, since it brings each file to the disk three
        times, on its only thread.
        """
        return transfer.size >= self.large_bytes


class _Phase(enum.Enum):
    LOCATING = enum.auto()
    LOCATED = enum.auto()
    MOVING = enum.auto()
    CANCELLING = enum.auto()
    CHECKING = enum.auto()
    WAITING = enum.auto()


@dataclass(slots=True)
class _Flight:
    transfer: Transfer
    is_large: bool
    phase: _Phase = _Phase.WAITING
    route: int = 0
    location: t.Location | None = None
    is_direct: bool = False
    failures: int = 0
    failing_since: float | None = None
    refused_signatures: int = 0
    mismatches: int = 0
    held_bytes: int = -1
    most_held_bytes: int | None = None
    moved_at: float = 0.0
    ready_at: float = 0.0
    last_failure: Failure | None = None
    after_cancel: Failure | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What nothing moves for: shown to the user.

    ``seconds`` are still to wait, or, if it ``is_over``, have been waited already.
    """

    seconds: float
    reason: str
    is_over: bool = False


@dataclass(slots=True)
class Scheduler:
    """Drive a set of transfers to their ends.

    ``routes`` are tried in order for each transfer. Call `handle` with what happens and with
    `Ticked` no later than `wake_at`; carry out what it returns.
    """

    transfers: Iterable[Transfer]
    routes: tuple[t.Route, ...]
    policy: RetryPolicy
    window: Window
    now: float
    retries: int = 0
    _pending: dict[bool, deque[Transfer]] = field(init=False)
    _flights: dict[str, _Flight] = field(init=False, default_factory=dict)
    _holds: dict[int, tuple[float, Failure]] = field(init=False, default_factory=dict)
    _got_on_at: float = field(init=False)
    _engine_deaths: int = field(init=False, default=0)
    _is_stopped: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._pending = {True: deque(), False: deque()}
        for transfer in self.transfers:
            self._pending[self.window.is_large(transfer)].append(transfer)
        self.transfers = ()
        self._got_on_at = self.now

    # --- what others may ask -----------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether every transfer has ended, one way or the other."""
        return self._is_stopped or not (
            self._flights or self._pending[True] or self._pending[False]
        )

    def wake_at(self) -> float | None:
        """Return when `Ticked` is due at the latest, or None if only events can change anything."""
        due: float | None = None
        for flight in self._flights.values():
            if flight.phase is _Phase.WAITING:
                at = flight.ready_at
            elif flight.phase is _Phase.MOVING and not flight.is_direct:
                at = flight.moved_at + self.policy.stall_seconds
            else:
                continue
            due = at if due is None else min(due, at)
        return due

    def waiting(self, now: float) -> Waiting | None:
        """Say what is waited for when nothing moves."""
        waits: list[_Flight] = []
        silent: list[_Flight] = []
        for flight in self._flights.values():
            if flight.phase is _Phase.MOVING and now - flight.moved_at > _SILENCE_SECONDS:
                silent.append(flight)
            elif flight.phase in {_Phase.MOVING, _Phase.CHECKING}:
                return None
            elif flight.phase is _Phase.WAITING and flight.last_failure is not None:
                waits.append(flight)
        if silent:
            first = max(silent, key=lambda flight: flight.moved_at)
            host = self.routes[first.route].endpoint.host
            return Waiting(now - first.moved_at, f"no bytes by way of {host}", is_over=True)
        if not waits:
            return None
        first = min(waits, key=lambda flight: flight.ready_at)
        host = self.routes[first.route].endpoint.host
        return Waiting(max(0.0, first.ready_at - now), f"{first.last_failure} ({host})")

    # --- the one entry -----------------------------------------------------------------------

    def handle(self, events: Iterable[t.Event], now: float) -> list[t.Command]:
        """Take in what happened and return what to do now, in order.

        Events about transfers that have ended are ignored.
        """
        self.now = max(now, self.now)
        commands: list[t.Command] = []
        for event in events:
            if self._is_stopped:
                break
            if isinstance(event, t.EngineDied):
                self._on_engine_died(event, commands)
            elif isinstance(event, t.Ticked):
                self._on_tick(commands)
            elif isinstance(event, t.Allowed | t.Reachable | t.Mended):
                raise NotImplementedError(event)
            elif isinstance(event, t.Wanted):
                self._pending[self.window.is_large(event.transfer)].append(event.transfer)
            else:
                flight = self._flights.get(event.blob_name)
                if flight is not None:
                    self._on_transfer_event(flight, event, commands)
        if not self._is_stopped:
            self._fill(commands)
        return commands

    def _on_transfer_event(
        self,
        flight: _Flight,
        event: t.Located
        | t.NotLocated
        | t.Progressed
        | t.Arrived
        | t.Failed
        | t.Cancelled
        | t.Published
        | t.Mismatched,
        commands: list[t.Command],
    ) -> None:
        match event:
            case t.Located():
                if flight.phase is _Phase.LOCATING:
                    flight.location = event.location
                    flight.phase = _Phase.LOCATED
            case t.NotLocated():
                if flight.phase is _Phase.LOCATING:
                    self._judge(flight, event.failure, commands)
            case t.Progressed():
                self._on_progress(flight, event.held_bytes)
            case t.Arrived():
                if flight.phase in {_Phase.MOVING, _Phase.CANCELLING}:
                    self._got_on(flight)
                    flight.phase = _Phase.CHECKING
                    commands.append(t.Check(flight.transfer))
            case t.Failed():
                if flight.phase in {_Phase.MOVING, _Phase.CANCELLING}:
                    self._judge(flight, event.failure, commands)
            case t.Cancelled():
                if flight.phase is _Phase.CANCELLING and flight.after_cancel is not None:
                    self._judge(flight, flight.after_cancel, commands)
            case t.Published():
                self._got_on_at = self.now
                del self._flights[flight.transfer.blob_name]
            case t.Mismatched():
                if flight.phase is _Phase.CHECKING:
                    self._on_mismatch(flight, event, commands)
            case _:  # pragma: no cover - mypy proves it
                assert_never(event)

    def _on_progress(self, flight: _Flight, held_bytes: int) -> None:
        if flight.phase is not _Phase.MOVING or held_bytes == flight.held_bytes:
            return
        if flight.most_held_bytes is None:  # what an earlier run or attempt brought
            flight.most_held_bytes = held_bytes
        elif held_bytes > flight.most_held_bytes:
            # Only bytes never held before are progress: a server that breaks off at the same place
            # each time, or an engine that reads its control file late, would be tried for ever.
            flight.most_held_bytes = held_bytes
            self._got_on(flight)
            self._engine_deaths = 0
        flight.held_bytes = held_bytes
        flight.moved_at = self.now

    def _got_on(self, flight: _Flight) -> None:
        flight.failures = 0
        flight.refused_signatures = 0
        flight.failing_since = None
        self._got_on_at = self.now

    def _on_mismatch(self, flight: _Flight, event: t.Mismatched, commands: list[t.Command]) -> None:
        self._got_on_at = self.now  # a long look at the bytes is no time without an answer
        flight.most_held_bytes = None  # bytes are set aside: each one counts again
        if event.was_salvaged:  # our own optimism, not the server's fault
            self._retry(flight, 0.0, None)
            return
        flight.mismatches += 1
        failure = Failure(Reason.MISMATCH, event.detail)
        if self._to_next_route(flight, failure):  # somebody else's bytes, rather than the same
            return
        if flight.mismatches > self.policy.refetches:
            self._give_up(flight, failure, commands)
            return
        self._retry(flight, self.policy.wait_seconds(flight.mismatches), failure)

    def _on_engine_died(self, event: t.EngineDied, commands: list[t.Command]) -> None:
        self._engine_deaths += 1
        if self._engine_deaths > _MOST_ENGINE_DEATHS:
            self._is_stopped = True
            commands.append(t.Stop(None, event.detail))
            return
        commands.append(t.RestartEngine())
        for flight in self._flights.values():
            if flight.phase in {_Phase.MOVING, _Phase.CANCELLING} and not flight.is_direct:
                self._retry(flight, 0.0, None)

    def _on_tick(self, commands: list[t.Command]) -> None:
        for flight in self._flights.values():
            if flight.phase is not _Phase.MOVING or flight.is_direct:
                continue  # our own client has a timeout for each piece
            if self.now - flight.moved_at >= self.policy.stall_seconds:
                seconds = f"{self.policy.stall_seconds:.0f} s"
                flight.phase = _Phase.CANCELLING
                flight.after_cancel = Failure(Reason.STALLED, seconds)
                commands.append(t.Cancel(flight.transfer))

    # --- judging -----------------------------------------------------------------------------

    def _judge(self, flight: _Flight, failure: Failure, commands: list[t.Command]) -> None:
        flight.failures += 1
        if flight.failing_since is None:
            flight.failing_since = self.now
        reason = failure.reason
        if reason is Reason.DISK:
            self._is_stopped = True
            commands.append(t.Stop(failure, failure.detail))
            return
        if reason is Reason.EXPIRED:
            flight.refused_signatures += 1
            if flight.refused_signatures == 1:
                self._retry(flight, 0.0, failure)
                return
        is_final = reason.is_final_here or flight.refused_signatures >= _MOST_REFUSED_SIGNATURES
        if is_final or flight.failures > self.policy.tries:
            if self._to_next_route(flight, failure):
                return
            if is_final or self._others_got_on(flight):
                self._give_up(flight, failure, commands)
                return
        wait = self._wait_after(flight, failure)
        if self._is_too_late(self.now + wait):
            self._end_here(flight, failure, commands)
            return
        if reason in {Reason.RANGE_IGNORED, Reason.WRONG_LENGTH} and flight.failures > 1:
            # Said twice, it is no passing fault of a proxy: go on without what is staged.
            commands.append(t.Discard(flight.transfer))
        self._retry(flight, wait, failure)

    def _wait_after(self, flight: _Flight, failure: Failure) -> float:
        wait = self.policy.wait_seconds(flight.failures)
        if failure.retry_after_seconds is not None:
            wait = max(wait, failure.retry_after_seconds)
        if failure.reason is Reason.RATE_LIMITED:
            # Others would meet the same limit at this endpoint.
            held_until, _ = self._holds.get(flight.route, (0.0, failure))
            self._holds[flight.route] = (max(held_until, self.now + wait), failure)
        return wait

    def _is_too_late(self, at: float) -> bool:
        return at - self._got_on_at > self.policy.patience_seconds

    def _end_here(self, flight: _Flight, failure: Failure, commands: list[t.Command]) -> None:
        """Leave a route that asks for more patience than there is."""
        if self._is_too_late(self.now):
            # Nobody gets on: those that were never asked for would only fail one by one.
            for pending in self._pending.values():
                commands.extend(t.GiveUp(transfer, failure) for transfer in pending)
                pending.clear()
        elif self._to_next_route(flight, failure):
            return
        self._give_up(flight, failure, commands)

    def _to_next_route(self, flight: _Flight, failure: Failure) -> bool:
        if flight.route + 1 >= len(self.routes):
            return False
        flight.route += 1
        flight.failures = flight.refused_signatures = 0
        self._retry(flight, 0.0, failure)
        return True

    def _others_got_on(self, flight: _Flight) -> bool:
        return flight.failing_since is not None and self._got_on_at > flight.failing_since

    def _retry(self, flight: _Flight, wait: float, failure: Failure | None) -> None:
        self.retries += failure is not None
        flight.phase = _Phase.WAITING
        flight.location = None
        flight.last_failure = failure
        flight.after_cancel = None
        flight.held_bytes = -1
        flight.ready_at = self.now + wait

    def _give_up(self, flight: _Flight, failure: Failure, commands: list[t.Command]) -> None:
        del self._flights[flight.transfer.blob_name]
        commands.append(t.GiveUp(flight.transfer, failure))

    # --- keeping the window full ---------------------------------------------------------------

    def _fill(self, commands: list[t.Command]) -> None:
        while not self._fill_once(commands):
            pass  # what ended without being asked for made room

    def _fill_once(self, commands: list[t.Command]) -> bool:
        """Return whether nothing ended here."""
        moving = self._count(_Phase.MOVING, _Phase.CANCELLING)
        ahead = self._count(_Phase.LOCATING, _Phase.LOCATED)
        waiting = self._count(_Phase.WAITING)
        unverified = self._count(_Phase.CHECKING)
        for is_large, jobs in ((True, self.window.jobs), (False, self.window.small_queue)):
            pending = self._pending[is_large]
            # As many again are located in advance, so that no slot waits for an answer; a heap of
            # unverified ones means that the disk is the bottleneck. Those that wait for their next
            # attempt leave room for others, which may be luckier, as long as they are few.
            room = 2 * jobs - moving[is_large] - ahead[is_large]
            room = min(room, 4 * jobs - unverified[is_large], 4 * jobs - waiting[is_large])
            while pending and room > 0:
                transfer = pending.popleft()
                self._flights[transfer.blob_name] = _Flight(
                    transfer, is_large, ready_at=self.now, moved_at=self.now
                )
                room -= 1
        before = len(self._flights)
        for flight in list(self._flights.values()):
            is_due = flight.phase is _Phase.WAITING and flight.ready_at <= self.now
            # One without a location will ask the endpoint, which may have said "later" since.
            if is_due or (flight.phase is _Phase.LOCATED and flight.location is None):
                self._locate(flight, commands)
            if flight.phase is _Phase.LOCATED:
                jobs = self.window.jobs if flight.is_large else self.window.small_queue
                if moving[flight.is_large] < jobs:
                    moving[flight.is_large] += 1
                    self._move(flight, commands)
        return len(self._flights) == before

    def _count(self, *phases: _Phase) -> Counter[bool]:
        """Count the flights in these phases, the large and the small ones."""
        flights = self._flights.values()
        return Counter(flight.is_large for flight in flights if flight.phase in phases)

    def _locate(self, flight: _Flight, commands: list[t.Command]) -> None:
        while (hold := self._holds.get(flight.route)) is not None and hold[0] > self.now:
            flight.phase = _Phase.WAITING
            flight.ready_at, flight.last_failure = hold
            if not self._is_too_late(flight.ready_at):
                return
            self._end_here(flight, hold[1], commands)
            if flight.transfer.blob_name not in self._flights:
                return
        # One request of our own client brings a small file, token, redirect, Retry-After and all.
        flight.is_direct = not flight.is_large
        if flight.is_direct:
            flight.phase = _Phase.LOCATED
            return
        flight.phase = _Phase.LOCATING
        commands.append(t.Locate(flight.transfer, self.routes[flight.route]))

    def _move(self, flight: _Flight, commands: list[t.Command]) -> None:
        flight.phase = _Phase.MOVING
        flight.moved_at = self.now
        flight.held_bytes = -1
        route = self.routes[flight.route]
        location = flight.location
        if location is None or location.needs_token:
            flight.is_direct = True
            commands.append(t.MoveDirect(flight.transfer, route, location))
        else:
            commands.append(t.Move(flight.transfer, route, location))
