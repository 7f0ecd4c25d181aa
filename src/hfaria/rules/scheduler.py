"""The scheduler: judges what happened to each transfer and says what to do next.

Sans-IO: events and the time go in, commands come out. It holds no socket, file, thread or clock,
so a test can drive it through any history. All retrying of transfers is decided here.

A transfer's way: pending → locating → located → moving → checking → done; from any of them over
waiting back to locating, or out by `GiveUp`. Only a bounded number of transfers is past pending.
How the routes are doing is `RouteBook`'s; who shares a file with whom is `sources`'.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.rules import transfers as t
from hfaria.rules.choice import candidates, choose
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.flight import Flight, Phase
from hfaria.rules.route_health import RouteBook
from hfaria.rules.sources import Sharing
from hfaria.rules.verdict import final_failure
from hfaria.rules.waiting import Waiting, find_wait
from hfaria.rules.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfaria.rules.plan import Transfer
    from hfaria.rules.retry import RetryPolicy

__all__ = ["Scheduler", "Waiting", "Window"]

_MOST_ENGINE_DEATHS = 3
_MOST_REFUSED_SIGNATURES = 4
_MOST_REUSES = 2
_CALM_SECONDS = 60.0
# The connections broke, not the location: it need not be asked for again.
_CANT_CONTINUE = frozenset({Reason.RANGE_IGNORED, Reason.WRONG_LENGTH})
_KEEPS_LOCATION = frozenset({Reason.TRANSPORT, Reason.TIMEOUT, Reason.STALLED})


@dataclass(slots=True)
class Scheduler:
    """Drive a set of transfers to their ends.

    ``routes`` are in the order of preference. Call `handle` with what happens and with `Ticked` no
    later than `wake_at`; carry out what it returns.
    """

    transfers: Iterable[Transfer]
    routes: tuple[t.Route, ...]
    policy: RetryPolicy
    window: Window
    now: float
    retries: int = 0
    _book: RouteBook = field(init=False)
    _sharing: Sharing = field(init=False)
    _pending: dict[bool, deque[Transfer]] = field(init=False)
    _flights: dict[str, Flight] = field(init=False, default_factory=dict)
    _got_on_at: float = field(init=False)
    _engine_deaths: int = field(init=False, default=0)
    _is_stopped: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._book = RouteBook(self.routes, self.policy)
        self._sharing = Sharing(self._book, self.policy)
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

    def served_by(self, blob_name: str) -> tuple[t.Route, ...]:
        """Return the routes that brought the staged bytes of a transfer under way."""
        flight = self._flights.get(blob_name)
        return () if flight is None else tuple(self.routes[at] for at in sorted(flight.served))

    def wake_at(self) -> float | None:
        """Return when `Ticked` is due at the latest, or None if only events can change anything."""
        due: float | None = None
        for flight in self._flights.values():
            if flight.phase is Phase.WAITING:
                at = flight.ready_at
            elif flight.phase is Phase.MOVING and not flight.has_own_client:
                at = self._stalls_at(flight)
            else:
                continue
            due = at if due is None else min(due, at)
        return due

    def waiting(self, now: float) -> Waiting | None:
        """Say what is waited for when nothing moves."""
        return find_wait(self._flights.values(), self._book, now)

    # --- the one entry -----------------------------------------------------------------------

    def handle(self, events: Iterable[t.Event], now: float) -> list[t.Command]:
        """Take in what happened and return what to do now, in order.

        Events about transfers that have ended are ignored.
        """
        self.now = max(now, self.now)
        commands: list[t.Command] = []
        openings = self._book.openings
        for event in events:
            if self._is_stopped:
                break
            match event:
                case t.EngineDied():
                    self._on_engine_died(event, commands)
                case t.Ticked():
                    self._on_tick(commands)
                case t.Wanted():
                    self._pending[self.window.is_large(event.transfer)].append(event.transfer)
                case t.Allowed():
                    self._book.allowed(event, self.now)
                case t.Reachable():
                    self._on_reachable(event)
                case _:
                    self._on_transfer_event(event, commands)
        if not self._is_stopped:
            if self._book.openings != openings:
                for flight in self._flights.values():
                    flight.ready_at = min(flight.ready_at, self.now)
            self._fill(commands)
            for flight in self._flights.values():
                commands += self._sharing.seek(flight, self.now)
        return commands

    def _on_transfer_event(
        self,
        event: t.Located
        | t.NotLocated
        | t.Progressed
        | t.Arrived
        | t.Failed
        | t.Cancelled
        | t.Published
        | t.Mismatched
        | t.Mended,
        commands: list[t.Command],
    ) -> None:
        flight = self._flights.get(event.blob_name)
        if flight is None:
            if isinstance(event, t.Located | t.NotLocated):
                self._forget_answer(event)
            return
        is_with_mover = flight.phase in {Phase.MOVING, Phase.CANCELLING}
        match event:
            case t.Located() | t.NotLocated():
                self._on_answer(flight, event, commands)
            case t.Progressed():
                self._on_progress(flight, event, commands)
            case t.Arrived() if is_with_mover:
                self._got_on(flight, commands)
                self._check(flight, commands)
            case t.Failed() if is_with_mover:
                self._judge(flight, event.failure, commands)
            case t.Cancelled() if flight.phase is Phase.CANCELLING:
                self._on_cancelled(flight, commands)
            case t.Published():
                self._got_on_at = self.now
                self._leave_routes(flight)
                del self._flights[flight.transfer.blob_name]
            case t.Mismatched() if flight.phase is Phase.CHECKING:
                self._on_mismatch(flight, event, commands)
            case t.Mended() if flight.phase is Phase.MOVING and flight.is_mending:
                self._on_mended(flight, event, commands)
            case _:
                pass  # late: the flight is somewhere else by now

    # --- answers and bytes -------------------------------------------------------------------

    def _forget_answer(self, event: t.Located | t.NotLocated) -> None:
        index = self._book.index(event.route)
        if index is not None:
            self._book.leave(index, event.blob_name)

    def _on_answer(
        self, flight: Flight, event: t.Located | t.NotLocated, commands: list[t.Command]
    ) -> None:
        index = self._book.index(event.route)
        if index is None:
            return
        if flight.phase is Phase.LOCATING and flight.route == index:
            flight.asking.discard(index)
            if isinstance(event, t.NotLocated):
                self._judge(flight, event.failure, commands)
                return
            self._book.leave(index, event.blob_name)
            commands += self._book.worked(index, self.now)
            flight.location = event.location
            flight.reuses = 0
            flight.phase = Phase.LOCATED
        elif index in flight.asking:
            commands += self._sharing.on_answer(flight, index, event, self.now)

    def _on_progress(self, flight: Flight, event: t.Progressed, commands: list[t.Command]) -> None:
        if flight.phase is not Phase.MOVING:
            return
        if event.connections:
            flight.was_connected = True
            flight.hung_up_at = None
        elif event.connections == 0 and flight.was_connected and flight.hung_up_at is None:
            flight.hung_up_at = self.now
        self._sharing.on_hosts(flight, event.hosts, self.now)
        held = event.held_bytes
        if held == flight.held_bytes:
            return
        if flight.most_held_bytes is None:  # what an earlier run or attempt brought
            flight.most_held_bytes = held
        elif held > flight.most_held_bytes:
            # Only bytes never held before are progress: a server that breaks off at the same place
            # each time, or an engine that reads its control file late, would be tried for ever.
            flight.most_held_bytes = held
            flight.has_moved = True
            flight.served |= {flight.route, *flight.sources}
            self._got_on(flight, commands)
            self._engine_deaths = 0
        flight.held_bytes = held
        flight.moved_at = self.now

    def _got_on(self, flight: Flight, commands: list[t.Command]) -> None:
        flight.got_on()
        self._got_on_at = self.now
        commands += self._book.worked(flight.route, self.now)

    def _on_reachable(self, event: t.Reachable) -> None:
        index = self._book.index(event.route)
        if index is None:
            return
        self._book.reachable(index, self.now)
        for flight in self._flights.values():
            if flight.phase is Phase.WAITING:
                flight.avoided.pop(index, None)

    # --- wrong bytes -------------------------------------------------------------------------

    def _on_mismatch(self, flight: Flight, event: t.Mismatched, commands: list[t.Command]) -> None:
        self._got_on_at = self.now  # a long look at the bytes is no time without an answer
        flight.most_held_bytes = None  # bytes are set aside or compared: each one counts again
        if event.was_salvaged:  # our own optimism, not the server's fault
            self._retry(flight)
            return
        flight.mismatches += 1
        served = flight.served or {flight.route}
        hosts = ", ".join(self._book.host(at) for at in sorted(served))
        failure = Failure(Reason.MISMATCH, f"{event.detail}, from {hosts}")
        if flight.is_mending or len(served) == 1:
            flight.liars |= {flight.route} if flight.is_mending else served
        for index in served:
            flight.last_failures[index] = failure
            flight.avoided[index] = self.now + self.policy.wait_seconds(flight.mismatches)
        can_be_mended = flight.is_large and event.can_be_mended
        if not can_be_mended:
            flight.served = set()
        untried = self._candidates(flight) - flight.served - flight.liars
        if not untried and flight.mismatches > self.policy.refetches:
            commands.append(t.SetAside(flight.transfer))
            self._give_up(flight, failure, commands)
            return
        flight.is_mending = can_be_mended
        if not can_be_mended:
            commands.append(t.SetAside(flight.transfer))
        self._retry(flight, failure)

    def _on_mended(self, flight: Flight, event: t.Mended, commands: list[t.Command]) -> None:
        self._got_on(flight, commands)
        if event.replaced:
            self._check(flight, commands)
            return
        # The other source agrees byte for byte, and the digest is still wrong.
        self._leave_routes(flight)
        detail = "another source sends the same wrong bytes"
        flight.served.add(flight.route)
        mismatch = t.Mismatched(flight.transfer.blob_name, detail, was_salvaged=False)
        self._on_mismatch(flight, mismatch, commands)

    def _check(self, flight: Flight, commands: list[t.Command]) -> None:
        self._leave_routes(flight)
        flight.phase = Phase.CHECKING
        commands.append(t.Check(flight.transfer))

    # --- the engine, and time ----------------------------------------------------------------

    def _on_engine_died(self, event: t.EngineDied, commands: list[t.Command]) -> None:
        self._engine_deaths += 1
        if self._engine_deaths > _MOST_ENGINE_DEATHS:
            self._is_stopped = True
            commands.append(t.Stop(None, event.detail))
            return
        commands.append(t.RestartEngine())
        for flight in self._flights.values():
            with_engine = flight.phase in {Phase.MOVING, Phase.CANCELLING}
            if with_engine and not flight.has_own_client:
                self._leave_routes(flight)
                self._retry(flight)

    def _stalls_at(self, flight: Flight) -> float:
        if flight.hung_up_at is not None:
            return flight.hung_up_at + self.policy.hung_up_seconds
        first = self.policy.first_byte_seconds
        stall = flight.stall_seconds if flight.has_moved else max(first, flight.stall_seconds)
        return flight.moved_at + min(stall, self.policy.stall_seconds)

    def _on_tick(self, commands: list[t.Command]) -> None:
        for flight in self._flights.values():
            if flight.phase is not Phase.MOVING or flight.has_own_client:
                continue  # our own client has a timeout for each piece
            if self.now < self._stalls_at(flight):
                continue
            if flight.hung_up_at is not None:
                failure = Failure(Reason.TRANSPORT, "every connection is lost")
                flight.location = None  # ask: a refusal says at once that nobody is there
            else:
                silence = self.now - flight.moved_at
                failure = Failure(Reason.STALLED, f"{silence:.0f} s")
                if self.now - flight.stalled_at > _CALM_SECONDS:
                    flight.stall_seconds = self.policy.quick_stall_seconds
                doubled = 2 * flight.stall_seconds
                flight.stall_seconds = min(doubled, self.policy.stall_seconds)
                flight.stalled_at = self.now
            flight.phase = Phase.CANCELLING
            flight.after_cancel = failure
            commands.append(t.Cancel(flight.transfer))

    def _on_cancelled(self, flight: Flight, commands: list[t.Command]) -> None:
        if flight.after_cancel is not None:
            self._judge(flight, flight.after_cancel, commands)
            return
        target = flight.switch_to
        self._leave_routes(flight)
        self._retry(flight)
        if target is not None:
            flight.route, flight.location = target
            flight.phase = Phase.LOCATED

    # --- judging -----------------------------------------------------------------------------

    def _judge(self, flight: Flight, failure: Failure, commands: list[t.Command]) -> None:
        index, reason, moved = flight.route, failure.reason, flight.has_moved
        name = flight.transfer.blob_name
        if reason is Reason.DISK:
            self._is_stopped = True
            commands.append(t.Stop(failure, failure.detail))
            return
        flight.last_failures[index] = failure
        was_moving = flight.phase is not Phase.LOCATING and not flight.is_mending
        keeps_location = moved and reason in _KEEPS_LOCATION and flight.reuses < _MOST_REUSES
        location = flight.location if keeps_location else None
        if reason is Reason.EXPIRED:
            flight.refused_signatures += 1
        is_fresh_news = reason is Reason.EXPIRED and flight.refused_signatures == 1
        if reason is Reason.RATE_LIMITED:
            wait = failure.retry_after_seconds or self.policy.first_wait_seconds
            wait = max(wait, self.policy.wait_seconds(self._count_failure(flight, index)))
            # Others would meet the same limit at this endpoint.
            self._book.hold(index, self.now + wait, failure)
        elif reason.is_final_here or flight.refused_signatures >= _MOST_REFUSED_SIGNATURES:
            flight.excluded.add(index)
        elif not is_fresh_news:
            commands += self._book.failed(index, name, failure, self.now, has_moved=moved)
            self._avoid(flight, index, failure)
        self._leave_routes(flight)
        if not self._candidates(flight) or self._is_alone_in_failing(flight):
            self._give_up(flight, failure, commands)
            return
        if was_moving and reason in _CANT_CONTINUE and self._can_nobody_continue(flight):
            commands.append(t.Discard(flight.transfer))
        self._retry(flight, failure)
        if location is not None:
            flight.location = location
            flight.reuses += 1
        flight.failed_at = self.now

    def _count_failure(self, flight: Flight, index: int) -> int:
        flight.failures_at[index] = flight.failures_at.get(index, 0) + 1
        return flight.failures_at[index]

    def _avoid(self, flight: Flight, index: int, failure: Failure) -> None:
        """Prefer another route for a while; where there is none, this is the wait."""
        count = self._count_failure(flight, index)
        if self._got_on_at > flight.failed_at:
            flight.lone_failures += 1
        wait = 0.0 if flight.has_moved and count == 1 else self.policy.wait_seconds(count)
        if failure.retry_after_seconds is not None:
            wait = max(wait, failure.retry_after_seconds)
        flight.avoided[index] = self.now + wait

    def _can_nobody_continue(self, flight: Flight) -> bool:
        """Whether each route failed twice: no passing fault of a proxy, so begin anew."""
        return all(flight.failures_at.get(at, 0) > 1 for at in self._candidates(flight))

    def _is_alone_in_failing(self, flight: Flight) -> bool:
        return flight.lone_failures > self.policy.tries * len(self._candidates(flight))

    def _candidates(self, flight: Flight) -> set[int]:
        return candidates(flight, self._book)

    def _is_too_late(self, at: float) -> bool:
        return at - self._got_on_at > self.policy.patience_seconds

    def _leave_routes(self, flight: Flight) -> None:
        """Let go of the routes in use; questions that are still open are answered later."""
        name = flight.transfer.blob_name
        for index in {flight.route, *flight.sources} - flight.asking:
            self._book.leave(index, name)
        flight.leave_engine()

    def _retry(self, flight: Flight, failure: Failure | None = None) -> None:
        self.retries += failure is not None
        flight.phase = Phase.WAITING
        flight.location = None
        flight.leave_engine()
        flight.ready_at = self.now

    def _give_up(self, flight: Flight, failure: Failure, commands: list[t.Command]) -> None:
        self._leave_routes(flight)
        del self._flights[flight.transfer.blob_name]
        final = final_failure(flight.last_failures, failure, self._book.host)
        commands.append(t.GiveUp(flight.transfer, final))

    # --- keeping the window full ---------------------------------------------------------------

    def _fill(self, commands: list[t.Command]) -> None:
        while not self._fill_once(commands):
            pass  # what ended without being asked for made room

    def _fill_once(self, commands: list[t.Command]) -> bool:
        """Return whether nothing ended here."""
        moving = self._count(Phase.MOVING, Phase.CANCELLING)
        ahead = self._count(Phase.LOCATING, Phase.LOCATED)
        waiting = self._count(Phase.WAITING)
        unverified = self._count(Phase.CHECKING)
        for is_large, jobs in ((True, self.window.jobs), (False, self.window.small_queue)):
            pending = self._pending[is_large]
            # As many again are located in advance, so that no slot waits for an answer; a heap of
            # unverified ones means that the disk is the bottleneck. Those that wait for their next
            # attempt leave room for others, which may be luckier, as long as they are few.
            room = 2 * jobs - moving[is_large] - ahead[is_large]
            room = min(room, 4 * jobs - unverified[is_large], 4 * jobs - waiting[is_large])
            while pending and room > 0:
                transfer = pending.popleft()
                self._flights[transfer.blob_name] = Flight(
                    transfer,
                    is_large,
                    ready_at=self.now,
                    stall_seconds=self.policy.quick_stall_seconds,
                    failed_at=self.now,
                    moved_at=self.now,
                )
                room -= 1
        before = len(self._flights)
        for flight in list(self._flights.values()):
            if flight.phase is Phase.WAITING and flight.ready_at <= self.now:
                self._begin(flight, commands)
            if flight.phase is Phase.LOCATED:
                jobs = self.window.jobs if flight.is_large else self.window.small_queue
                if moving[flight.is_large] < jobs and self._move(flight, commands):
                    moving[flight.is_large] += 1
        return len(self._flights) == before

    def _count(self, *phases: Phase) -> Counter[bool]:
        """Count the flights in these phases, the large and the small ones."""
        flights = self._flights.values()
        return Counter(flight.is_large for flight in flights if flight.phase in phases)

    def _begin(self, flight: Flight, commands: list[t.Command]) -> None:
        choice = choose(flight, self._book, self.now)
        if choice is None:  # nobody has it, and nobody was asked
            self._give_up(flight, Failure(Reason.NOT_FOUND), commands)
            return
        flight.ready_at = max(choice.opens_at, self.now)
        if self._is_too_late(flight.ready_at):
            self._end_here(flight, choice.why, commands)
            return
        flight.waits_for = None if choice.why is None else (choice.route, choice.why)
        if flight.ready_at > self.now:
            return
        index, name = choice.route, flight.transfer.blob_name
        if flight.route != index:
            flight.location = None
        flight.route = index
        if flight.location is not None:
            flight.phase = Phase.LOCATED
            return
        if not flight.is_large:
            # One request of our own client brings a small file: token, redirect, Retry-After.
            self._book.take(index, name)
            flight.phase = Phase.LOCATED
            return
        flight.phase = Phase.LOCATING
        if index not in flight.asking:  # the answer to an earlier question will do
            self._book.take(index, name)
            silence = self.policy.silence_seconds(flight.failures_at.get(index, 0))
            commands.append(t.Locate(flight.transfer, self.routes[index], silence))

    def _end_here(self, flight: Flight, why: Failure | None, commands: list[t.Command]) -> None:
        """Give up what would have to wait longer than patience lasts."""
        failure = why or Failure(Reason.TIMEOUT)
        if self._is_too_late(self.now):
            # Nobody gets on: those that were never asked for would only fail one by one.
            for pending in self._pending.values():
                commands.extend(t.GiveUp(transfer, failure) for transfer in pending)
                pending.clear()
        self._give_up(flight, failure, commands)

    def _move(self, flight: Flight, commands: list[t.Command]) -> bool:
        """Begin the attempt; returns whether there was room at the route."""
        route = self.routes[flight.route]
        location = flight.location
        transfer = flight.transfer
        flight.has_own_client = (
            location is None or location.needs_token or flight.is_mending or not flight.is_large
        )
        if flight.is_large:
            room = self._book.room(flight.route)
            flight.connections = min(self.window.connections, room)
            if not flight.connections:
                return False
            self._book.take(flight.route, transfer.blob_name, connections=flight.connections)
        flight.phase = Phase.MOVING
        flight.leave_engine()
        flight.began_at = flight.moved_at = self.now
        silence = self.policy.silence_seconds(flight.failures_at.get(flight.route, 0))
        if flight.is_mending:
            commands.append(t.Mend(transfer, route, location))
        elif location is None or flight.has_own_client:
            commands.append(t.MoveDirect(transfer, route, location, silence))
        else:
            amount = self._sharing.most_sources(flight)
            commands.append(t.Move(transfer, route, location, flight.connections, amount))
            self._sharing.begin(flight, location, self.now)
        return True
