"""Carry out a plan's transfers: the loop between the scheduler and those who act for it."""

from __future__ import annotations

import queue
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.engine.mover import MoveRequest
from hfaria.errors import EngineLost, StoreError
from hfaria.rules import transfers as t
from hfaria.rules.failures import Reason
from hfaria.rules.progress import ActiveTransfer, Progress, RateMeter
from hfaria.rules.receipt import FailedFile, Outcome, Wait
from hfaria.rules.scheduler import Scheduler
from hfaria.rules.sizes import format_seconds
from hfaria.workflows.actors import Actors

if TYPE_CHECKING:
    from hfaria.cache.store import Store
    from hfaria.engine.mover import Mover
    from hfaria.hub.client import HubClient
    from hfaria.hub.limits import Allowance
    from hfaria.report.reporter import Reporter
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.plan import Plan, Transfer
    from hfaria.rules.proxies import Proxy
    from hfaria.rules.retry import RetryPolicy
    from hfaria.rules.waiting import Waiting
    from hfaria.rules.window import Window
    from hfaria.workflows.bandwidth import Bandwidth

_TICK_SECONDS = 0.03
_LAST_TICK_SECONDS = 0.01
_SLOW_TICK_SECONDS = 0.2
_SHOW_SECONDS = 0.2
_GATHER_SECONDS = 0.03
_ON_ITS_HEELS_SECONDS = 0.003
_SOON_SECONDS = 1.5
_VERY_SOON_SECONDS = 0.3
_LITTLE = 1_000_000


@dataclass(slots=True)
class TransferRun:
    """One pull's transfers, from the first location to the last published blob."""

    plan: Plan
    routes: tuple[t.Route, ...]
    store: Store
    client: HubClient
    mover: Mover
    bandwidth: Bandwidth
    reporter: Reporter
    policy: RetryPolicy
    window: Window
    replace: bool
    waits_since: float | None = field(init=False, default=None)
    """Since when nothing got on, if that is so; by the monotonic clock."""
    _files: dict[str, list[RemoteFile]] = field(init=False)
    _scheduler: Scheduler = field(init=False)
    _actors: Actors = field(init=False)
    _events: queue.SimpleQueue[t.Event] = field(init=False, default_factory=queue.SimpleQueue)
    _tales: queue.SimpleQueue[str] = field(init=False, default_factory=queue.SimpleQueue)
    _reusing: set[str] = field(init=False, default_factory=set)
    _verifying: dict[str, Transfer] = field(init=False, default_factory=dict)
    _unfinished: set[str] = field(init=False)
    _failed: list[FailedFile] = field(init=False, default_factory=list)
    _endpoints: dict[str, None] = field(init=False, default_factory=dict)
    _error: BaseException | None = field(init=False, default=None)
    _size: int = field(init=False)
    _bytes_done: int = field(init=False, default=0)
    _held: int = field(init=False, default=0)
    _rate: float = field(init=False, default=0.0)
    _files_done: int = field(init=False, default=0)
    _meter: RateMeter = field(init=False, default_factory=RateMeter)
    _shown_at: float = field(init=False, default_factory=time.monotonic)
    _waited: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._size = self.plan.size
        self._unfinished = {each.blob_name for each in self.plan.missing}
        self._files = {}
        for file in self.plan.to_link:
            self._files.setdefault(file.blob_name, []).append(file)
        self._scheduler = Scheduler(
            self.plan.transfers, self.routes, self.policy, self.window, now=time.monotonic()
        )
        self._actors = Actors(
            self.plan,
            self.store,
            self.client,
            self.window,
            self.replace,
            self._files,
            self._events,
            tell=self._tales.put,
        )

    def run(self) -> Outcome:
        """Carry out the plan; raises `StoreError` or `EngineLost`. The outcome has failed files."""
        self.client.on_allowance = self.allow
        try:
            self.begin()
            while not self.step():
                pass
        finally:
            self.close()
        return self.outcome()

    def begin(self) -> None:
        """Make the entries of what is published, and have copies on this disk looked at."""
        self._link_what_is_here()
        self._bytes_done = self._size - sum(transfer.size for transfer in self.plan.missing)
        for transfer, source in self.plan.reused:
            self._reusing.add(transfer.blob_name)
            self._actors.reuse(transfer, source)
        self._events.put(t.Ticked())  # the first turn has nothing to wait for

    def step(self, *, longest_wait: float = _SLOW_TICK_SECONDS) -> bool:
        """Do one turn: take in what happened, judge it, obey. Returns whether it was the last one.

        Waits for something to happen for ``longest_wait`` at most.
        """
        self.bandwidth.apply(time.monotonic())
        events = [*self._drain(longest_wait), *self._poll(), t.Ticked()]
        while True:
            # What a command brings at once is judged at once.
            events = self._obey(self._scheduler.handle(events, time.monotonic()))
            if not events:
                break
        error = self._error or self._actors.error
        if error is not None:
            raise error
        with suppress(queue.Empty):
            while True:
                self.reporter.warn(self._tales.get_nowait())
        self._show()
        return self._scheduler.is_done and not self._reusing

    def close(self) -> None:
        """Let every thread end; only what is being published is waited for."""
        self._actors.close()

    def outcome(self) -> Outcome:
        """Return what came of it so far."""
        return Outcome(
            failed=tuple(self._failed),
            bytes_fetched=self._bytes_fetched,
            retries=self._scheduler.retries,
            endpoints=tuple(self._endpoints),
            waits=self._summed_waits(),
        )

    def _summed_waits(self) -> tuple[Wait, ...]:
        waits = [Wait(reason, seconds) for reason, seconds in self._waited.items()]
        return tuple(sorted(waits, key=lambda wait: -wait.seconds))

    @property
    def unfinished(self) -> frozenset[str]:
        """Names of the blobs that are neither published nor given up."""
        return frozenset(self._unfinished)

    @property
    def leaves_room(self) -> bool:
        """Whether another pull could use the line: nothing moves here, or soon nothing will.

        It takes about as long to begin another one: its engine, the first locations.
        """
        scheduler = self._scheduler
        if scheduler.leaves_line_idle(time.monotonic()):
            return True
        soon = max(_LITTLE, self._rate * _SOON_SECONDS)
        return not scheduler.has_pending and self._left < soon

    @property
    def _left(self) -> int:
        """Bytes that were not held when it was last shown."""
        return self._size - self._held

    @property
    def _tick_seconds(self) -> float:
        """How soon to ask the engine again; sooner where only its end is waited for."""
        if not self.mover.is_busy:
            return _SLOW_TICK_SECONDS
        is_ending = self._left < self._rate * _VERY_SOON_SECONDS
        return _LAST_TICK_SECONDS if is_ending else _TICK_SECONDS

    def _way(self, route: t.Route, location: t.Location) -> Proxy | None:
        return self.client.proxies.find(location.url, route.endpoint)

    def allow(self, endpoint: Endpoint, allowance: Allowance) -> None:
        """Take in how many requests an endpoint still allows; may be called by any thread."""
        for route in self.routes:
            if route.endpoint == endpoint:
                event = t.Allowed(route, allowance.remaining, allowance.reset_seconds)
                self._events.put(event)

    @property
    def _bytes_fetched(self) -> int:
        return self.mover.bytes_moved + self._actors.direct_bytes

    def _link_what_is_here(self) -> None:
        here = [file for file in self.plan.to_link if file.blob_name not in self._unfinished]
        self.store.link(here, self.plan.commit_hash)
        self._files_done = len(self.plan.files) - len(self.plan.to_link) + len(here)

    # --- one turn ------------------------------------------------------------------------------

    def _drain(self, longest_wait: float) -> list[t.Event]:
        wait = min(longest_wait, self._tick_seconds)
        wake_at = self._scheduler.wake_at()
        if wake_at is not None:
            wait = min(wait, max(0.0, wake_at - time.monotonic()))
        events: list[t.Event] = []
        with suppress(queue.Empty):
            events.append(self._events.get(timeout=max(wait, 0.001)))
            # Others follow on its heels: judge them together.
            until = time.monotonic() + min(_GATHER_SECONDS, longest_wait)
            while (left := until - time.monotonic()) > 0:
                events.append(self._events.get(timeout=min(left, _ON_ITS_HEELS_SECONDS)))
            while True:
                events.append(self._events.get_nowait())
        for event in events:
            self._note_end(event)
        return events

    def _note_end(self, event: t.Event) -> None:
        self._actors.note_end(event)
        if isinstance(event, t.Published):
            verified = self._verifying.pop(event.blob_name, None)
            if verified is not None:
                self.mover.forget_deliveries(verified)
            self._reusing.discard(event.blob_name)
            self._unfinished.discard(event.blob_name)
            files = self._files[event.blob_name]
            self._files_done += len(files)
            self._bytes_done += files[0].size
        elif isinstance(event, t.Mismatched):
            self._verifying.pop(event.blob_name, None)
        elif isinstance(event, t.Wanted):
            self._reusing.discard(event.transfer.blob_name)

    def _poll(self) -> list[t.Event]:
        try:
            return self.mover.poll()
        except EngineLost as exc:
            words = self.mover.last_words()
            return [t.EngineDied(f"{exc.message}{': ' if words else ''}{words[-200:]}")]

    def _obey(self, commands: list[t.Command]) -> list[t.Event]:
        events: list[t.Event] = []
        moves: list[MoveRequest] = []
        cancels: list[Transfer] = []
        for command in commands:
            match command:
                case t.Move():
                    self._use(command.route)
                    moves.append(
                        MoveRequest(
                            command.transfer,
                            command.location.url,
                            command.sources,
                            command.connections,
                            self._way(command.route, command.location),
                        )
                    )
                case t.Cancel():
                    cancels.append(command.transfer)
                case t.GiveUp():
                    self._give_up(command)
                case t.Stop():
                    self._stop(command)
                case _:
                    self._obey_at_once(command)
        if cancels:
            events += self.mover.cancel(cancels)
        if moves:
            try:
                events += self.mover.move(moves)
            except EngineLost as exc:  # it did not even start: that is a death like others
                events.append(t.EngineDied(exc.message))
        return events

    def _obey_at_once(
        self,
        command: t.Locate
        | t.AddSource
        | t.MoveDirect
        | t.Mend
        | t.SetAside
        | t.Watch
        | t.Say
        | t.Discard
        | t.Check
        | t.RestartEngine,
    ) -> None:
        match command:
            case t.Locate():
                self._actors.locate(command)
            case t.AddSource():
                self._use(command.route)
                way = self._way(command.route, command.location)
                self.mover.add_source(command.transfer, command.location.url, way)
            case t.MoveDirect():
                self._use(command.route)
                self._actors.fetch(command)
            case t.Mend():
                self._use(command.route)
                transfer = command.transfer
                suspects = self._scheduler.served_by(transfer.blob_name)
                self._actors.mend(command, self.mover.deliveries(transfer), suspects)
            case t.Discard():
                self.mover.forget_deliveries(command.transfer)
                self._actors.discard(command.transfer)
            case t.SetAside():
                self.mover.forget_deliveries(command.transfer)
                self._actors.set_aside(command.transfer)
            case t.Check():
                self._verifying[command.transfer.blob_name] = command.transfer
                self._actors.check(command.transfer)
            case t.Watch():
                self._actors.watch(command)
            case t.Say():
                self.reporter.note(command.message)
            case t.RestartEngine():
                self.mover.forget_all()
                self.reporter.warn("the engine died; starting another one")

    def _use(self, route: t.Route) -> None:
        self._endpoints[route.endpoint.url] = None

    def _give_up(self, command: t.GiveUp) -> None:
        self._unfinished.discard(command.transfer.blob_name)
        for file in self._files[command.transfer.blob_name]:
            reason = str(command.failure)
            is_integrity = command.failure.reason is Reason.MISMATCH
            self._failed.append(FailedFile(file.path, reason, is_integrity))

    def _stop(self, command: t.Stop) -> None:
        if command.failure is None:
            self._error = EngineLost(f"the engine keeps dying: {command.detail}")
        else:
            folder = self.store.workspace.partials
            self._error = StoreError(f"the disk at `{folder}` took no more bytes: {command.detail}")

    # --- progress ------------------------------------------------------------------------------

    def _show(self) -> None:
        now = time.monotonic()
        since = now - self._shown_at
        if since < _SHOW_SECONDS:
            return
        self._shown_at = now
        verifying = tuple(self._verifying.values())
        held = (
            self._bytes_done
            + self.mover.bytes_held
            + sum(self._actors.direct.values())
            + sum(each.size for each in verifying if each.blob_name not in self._actors.direct)
        )
        self._held = min(held, self._size)
        self._rate = rate = self._meter.add(now, self._bytes_fetched)
        waiting = self._scheduler.waiting(now)
        if waiting is None:
            self.waits_since = None
        else:
            self.waits_since = now if self.waits_since is None else self.waits_since
            self._waited[waiting.reason] = self._waited.get(waiting.reason, 0.0) + since
        active = [
            ActiveTransfer(transfer.label, transfer.size, done, speed)
            for transfer, done, speed in self.mover.statuses()
        ]
        active += [
            ActiveTransfer(each.label, each.size, each.size, 0.0, is_verifying=True)
            for each in verifying
            if self.window.is_large(each)
        ]
        self.reporter.show(
            Progress(
                files_done=self._files_done,
                files=len(self.plan.files),
                held=self._held,
                size=self._size,
                rate=rate,
                active=tuple(active),
                waiting=None if waiting is None else _describe(waiting),
                waiting_for=None if waiting is None else waiting.reason,
            )
        )


def _describe(waiting: Waiting) -> str:
    seconds = format_seconds(waiting.seconds)
    if waiting.is_over:
        return f"{waiting.reason} for {seconds}"
    if waiting.seconds < 1:
        return f"waiting: {waiting.reason}"
    return f"waiting {seconds}: {waiting.reason}"
