"""The scheduler: judges what happened to each transfer and says what to do next.

Sans-IO: events and the time go in, commands come out. It holds no socket, file, thread or clock,
so a test can drive it through any history. All retrying of transfers is decided here.

A transfer's way: pending → locating → located → moving → checking → done; from any of them over
waiting back to locating, or out by `GiveUp`. Only a bounded number of transfers is past pending.
How the routes are doing is `RouteBook`'s; who shares a file with whom is `sources`'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.rules import transfers as t
from hfaria.rules.choice import choose
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.flight import Flight, Phase
from hfaria.rules.judge import Judge, Verdict
from hfaria.rules.pending import Pending, count_places
from hfaria.rules.route_health import RouteBook
from hfaria.rules.sources import Sharing
from hfaria.rules.verdict import final_failure
from hfaria.rules.waiting import Waiting, find_wait, leaves_line_idle
from hfaria.rules.watchdog import bark, wake_at
from hfaria.rules.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfaria.rules.plan import Transfer
    from hfaria.rules.retry import RetryPolicy

__all__ = ["Scheduler", "Waiting", "Window"]

_MOST_ENGINE_DEATHS = 3


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
    _judge: Judge = field(init=False)
    _pending: Pending = field(init=False)
    _flights: dict[str, Flight] = field(init=False, default_factory=dict)
    _got_on_at: float = field(init=False)
    _engine_deaths: int = field(init=False, default=0)
    _is_stopped: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._book = RouteBook(self.routes, self.policy)
        self._sharing = Sharing(self._book, self.policy)
        self._judge = Judge(self._book, self.policy)
        self._pending = Pending(self.window, self.policy)
        self._pending.add(self.transfers)
        self.transfers = ()
        self._got_on_at = self.now

    # --- what others may ask -----------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether every transfer has ended, one way or the other."""
        return self._is_stopped or not (self._flights or self._pending)

    def served_by(self, blob_name: str) -> tuple[t.Route, ...]:
        """Return the routes that brought the staged bytes of a transfer under way."""
        flight = self._flights.get(blob_name)
        return () if flight is None else tuple(self.routes[at] for at in sorted(flight.served))

    def wake_at(self) -> float | None:
        """Return when `Ticked` is due at the latest, or None if only events can change anything."""
        return wake_at(self._flights.values(), self.policy)

    def waiting(self, now: float) -> Waiting | None:
        """Say what is waited for when nothing moves."""
        return find_wait(self._flights.values(), self._book, now)

    @property
    def has_pending(self) -> bool:
        """Whether some transfer was not begun yet."""
        return bool(self._pending)

    def leaves_line_idle(self, now: float) -> bool:
        """Tell whether nothing moves or is about to."""
        return leaves_line_idle(self._flights.values(), self._pending, self._book, now)

    # --- the one entry -----------------------------------------------------------------------

    def handle(self, events: Iterable[t.Event], now: float) -> list[t.Command]:
        """Take in what happened and return what to do now, in order.

        Events about transfers that have ended are ignored.
        """
        self.now = max(now, self.now)
        commands: list[t.Command] = self._book.begin(self.now)
        openings = self._book.openings
        self._book.tick(self.now)
        for event in events:
            if self._is_stopped:
                break
            match event:
                case t.EngineDied():
                    self._on_engine_died(event, commands)
                case t.Ticked():
                    self._on_tick(commands)
                case t.Wanted():
                    self._pending.add([event.transfer])
                case t.Allowed():
                    self._book.allowed(event, self.now)
                case t.Reachable():
                    self._on_reachable(event)
                case _:
                    self._on_transfer_event(event, commands)
        if not self._is_stopped:
            for flight in self._flights.values() if self._book.openings != openings else ():
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
                if flight.has_own_client:  # which looked at the length
                    commands += self._book.worked(flight.route, self.now)
                self._check(flight, commands)
            case t.Failed() if is_with_mover:
                self._on_failure(flight, event.failure, commands)
            case t.Cancelled() if flight.phase is Phase.CANCELLING:
                self._on_cancelled(flight, commands)
            case t.Published():
                self._got_on(flight, commands)
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
                self._on_failure(flight, event.failure, commands)
                return
            self._book.leave(index, event.blob_name)
            commands += self._book.worked(index, self.now)
            flight.location = event.location
            flight.located_at = self.now
            flight.reuses = 0
            flight.phase = Phase.LOCATED
        elif index in flight.asking:
            commands += self._sharing.on_answer(flight, index, event, self.now)

    def _on_progress(self, flight: Flight, event: t.Progressed, commands: list[t.Command]) -> None:
        if flight.phase is not Phase.MOVING:
            return
        self._sharing.on_hosts(flight, event.hosts, self.now)
        if flight.note_progress(event, self.now):
            self._got_on(flight, commands)
            self._engine_deaths = 0

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
            failure = flight.last_failures.get(index)
            if failure is not None and failure.reason is Reason.UNREACHABLE:
                flight.avoided.pop(index, None)

    # --- wrong bytes -------------------------------------------------------------------------

    def _on_mismatch(self, flight: Flight, event: t.Mismatched, commands: list[t.Command]) -> None:
        # A long look at the bytes is no time without an answer; and what is wrong is no answer.
        self._got_on_at = min(self.now, self._got_on_at + self.now - flight.checked_at)
        flight.most_held_bytes = None  # bytes are set aside or compared: each one counts again
        if event.was_salvaged:  # our own optimism, not the server's fault
            flight.is_mending = False
            self._retry(flight)
            return
        verdict, failure = self._judge.of_mismatch(flight, event, now=self.now)
        if verdict is not Verdict.MEND:
            commands.append(t.SetAside(flight.transfer))
        if verdict is Verdict.GIVE_UP:
            self._give_up(flight, failure, commands)
            return
        flight.is_mending = verdict is Verdict.MEND
        self._retry(flight, failure)

    def _on_mended(self, flight: Flight, event: t.Mended, commands: list[t.Command]) -> None:
        self._got_on(flight, commands)
        if event.replaced:
            self._check(flight, commands)
            return
        # The other source agrees byte for byte, and the digest is still wrong.
        self._leave_routes(flight)
        flight.checked_at = self.now
        detail = "another source sends the same wrong bytes"
        mismatch = t.Mismatched(flight.transfer.blob_name, detail, was_salvaged=False)
        self._on_mismatch(flight, mismatch, commands)

    def _check(self, flight: Flight, commands: list[t.Command]) -> None:
        flight.served.add(flight.route)
        self._leave_routes(flight)
        flight.phase = Phase.CHECKING
        flight.has_begun = False
        flight.checked_at = self.now
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

    def _on_tick(self, commands: list[t.Command]) -> None:
        for flight in self._flights.values():
            if flight.phase is not Phase.MOVING or flight.has_own_client:
                continue  # our own client has a timeout for each piece
            is_too_late = self._is_too_late(self.now)
            failure = bark(flight, self.policy, self.now, is_too_late=is_too_late)
            if failure is not None:
                flight.phase = Phase.CANCELLING
                flight.after_cancel = failure
                commands.append(t.Cancel(flight.transfer))

    def _on_cancelled(self, flight: Flight, commands: list[t.Command]) -> None:
        if flight.after_cancel is not None:
            self._on_failure(flight, flight.after_cancel, commands)
            return
        target = flight.switch_to or (flight.route, None)
        self._leave_routes(flight)
        self._retry(flight)
        flight.route, flight.location = target
        flight.phase = Phase.WAITING if flight.location is None else Phase.LOCATED

    # --- ends of attempts ----------------------------------------------------------------------

    def _on_failure(self, flight: Flight, failure: Failure, commands: list[t.Command]) -> None:
        if failure.reason is Reason.DISK:
            self._is_stopped = True
            commands.append(t.Stop(failure, failure.detail))
            return
        location = flight.location
        verdict, consequences = self._judge.of_failure(
            flight, failure, now=self.now, got_on_at=self._got_on_at
        )
        commands += consequences
        self._leave_routes(flight)
        if verdict is Verdict.GIVE_UP:
            self._give_up(flight, failure, commands)
            return
        if verdict is Verdict.BEGIN_ANEW:
            flight.served = set()
            commands.append(t.Discard(flight.transfer))
        self._retry(flight, failure)
        if verdict is Verdict.GO_ON_THERE and location is not None:
            flight.location = location
            flight.reuses += 1

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
        flight.leave_location(failure)
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
        for flight in self._pending.take(self._flights.values(), self.now):
            self._flights[flight.transfer.blob_name] = flight
        taken = count_places(self._flights.values())
        before = len(self._flights)
        flights = list(self._flights.values())
        if self._book.awaits_trial(self.now):
            # Who tries it keeps the line busy until the others follow.
            flights.sort(key=lambda flight: flight.lacks_little)
        for flight in flights:
            if flight.phase is Phase.WAITING and flight.ready_at <= self.now:
                self._begin(flight, commands)
            if flight.phase is Phase.LOCATED:
                jobs = self.window.jobs if flight.is_large else self.window.small_queue
                if flight.has_begun:
                    self._move(flight, commands)
                elif taken[flight.is_large] < jobs and self._move(flight, commands):
                    taken[flight.is_large] += 1
        return len(self._flights) == before

    def _begin(self, flight: Flight, commands: list[t.Command]) -> None:
        choice = choose(flight, self._book, self.now)
        if choice is None:  # nobody has it, and nobody was asked
            self._give_up(flight, Failure(Reason.NOT_FOUND), commands)
            return
        flight.ready_at = max(choice.opens_at, self.now)
        if self._is_too_late(flight.ready_at):
            self._end_here(flight, choice.why, commands)
            return
        flight.waits_for = choice.route, choice.why
        if flight.ready_at > self.now:
            flight.has_begun = False
            return
        index, name = choice.route, flight.transfer.blob_name
        flight.take_route(index, is_back=self._book.is_back(index, self.now))
        if flight.is_unmixed and not flight.is_mending and flight.served - {index}:
            flight.served = set()
            commands.append(t.Discard(flight.transfer))
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
            commands += [t.GiveUp(transfer, failure) for transfer in self._pending.take_all()]
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
        flight.has_begun = True
        flight.leave_engine()
        flight.began_at = flight.moved_at = self.now
        silence = self.policy.silence_seconds(flight.failures_at.get(flight.route, 0))
        if flight.is_mending:
            commands.append(t.Mend(transfer, route, location, silence))
        elif location is None or flight.has_own_client:
            commands.append(t.MoveDirect(transfer, route, location, silence))
        else:
            amount = self._sharing.most_sources(flight)
            commands.append(t.Move(transfer, route, location, flight.connections, amount))
            self._sharing.begin(flight, location, self.now)
        return True
