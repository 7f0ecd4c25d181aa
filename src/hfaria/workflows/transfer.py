"""Carry out a plan's transfers: the loop between the scheduler and those who act for it."""

from __future__ import annotations

import queue
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.cache.digest import file_digest
from hfaria.engine import partial
from hfaria.errors import EngineLost, HfariaError, StoreError
from hfaria.hub.client import failure_of
from hfaria.hub.fetch import fetch_direct
from hfaria.hub.locate import locate
from hfaria.rules import transfers as t
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.progress import ActiveTransfer, Progress, RateMeter
from hfaria.rules.receipt import FailedFile
from hfaria.rules.scheduler import Scheduler, Window
from hfaria.rules.sizes import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfaria.cache.store import Store
    from hfaria.engine.mover import Mover
    from hfaria.hub.client import HubClient
    from hfaria.report.reporter import Reporter
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.plan import Plan, Transfer
    from hfaria.rules.retry import RetryPolicy
    from hfaria.rules.scheduler import Waiting

_TICK_SECONDS = 0.03
_SLOW_TICK_SECONDS = 0.2
_SHOW_SECONDS = 0.2
_GATHER_SECONDS = 0.03
_ASKING_THREADS = 16
_CHECKING_THREADS = 12


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the transfers."""

    failed: tuple[FailedFile, ...]
    bytes_fetched: int
    retries: int
    endpoints: tuple[str, ...]


@dataclass(slots=True)
class TransferRun:
    """One pull's transfers, from the first location to the last published blob."""

    plan: Plan
    routes: tuple[t.Route, ...]
    store: Store
    client: HubClient
    mover: Mover
    reporter: Reporter
    policy: RetryPolicy
    window: Window
    replace: bool
    _files: dict[str, list[RemoteFile]] = field(init=False)
    _scheduler: Scheduler = field(init=False)
    _events: queue.SimpleQueue[t.Event] = field(init=False, default_factory=queue.SimpleQueue)
    _asking: ThreadPoolExecutor = field(init=False)
    _fetching: ThreadPoolExecutor = field(init=False)
    _checking: ThreadPoolExecutor = field(init=False)
    _reusing: set[str] = field(init=False, default_factory=set)
    _verifying: dict[str, Transfer] = field(init=False, default_factory=dict)
    _direct: dict[str, int] = field(init=False, default_factory=dict)
    _direct_bytes: int = field(init=False, default=0)
    _failed: list[FailedFile] = field(init=False, default_factory=list)
    _endpoints: dict[str, None] = field(init=False, default_factory=dict)
    _is_cancelled: bool = field(init=False, default=False)
    _error: BaseException | None = field(init=False, default=None)
    _size: int = field(init=False)
    _bytes_done: int = field(init=False, default=0)
    _files_done: int = field(init=False, default=0)
    _meter: RateMeter = field(init=False, default_factory=RateMeter)
    _shown_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._size = self.plan.size
        self._files = {}
        for file in self.plan.to_link:
            self._files.setdefault(file.blob_name, []).append(file)
        self._scheduler = Scheduler(
            self.plan.transfers, self.routes, self.policy, self.window, now=time.monotonic()
        )
        self._asking = ThreadPoolExecutor(_ASKING_THREADS, "hfaria-ask")
        self._fetching = ThreadPoolExecutor(self.window.small_jobs, "hfaria-fetch")
        self._checking = ThreadPoolExecutor(_CHECKING_THREADS, "hfaria-check")

    def run(self) -> Outcome:
        """Carry out the plan; raises `StoreError` or `EngineLost`. The outcome has failed files."""
        self._link_what_is_here()
        self._bytes_done = self._size - sum(
            transfer.size
            for transfer in (*self.plan.transfers, *(each for each, _ in self.plan.reused))
        )
        try:
            for transfer, source in self.plan.reused:
                self._reusing.add(transfer.blob_name)
                self._checking.submit(self._guarded, self._reuse, transfer, source)
            self._loop()
        finally:
            self._is_cancelled = True
            for pool in (self._asking, self._fetching):
                pool.shutdown(wait=False, cancel_futures=True)
            self._checking.shutdown(wait=True, cancel_futures=True)
        return Outcome(
            failed=tuple(self._failed),
            bytes_fetched=self.mover.bytes_moved + self._direct_bytes,
            retries=self._scheduler.retries,
            endpoints=tuple(self._endpoints),
        )

    def _link_what_is_here(self) -> None:
        pending = {transfer.blob_name for transfer in self.plan.transfers}
        pending |= {transfer.blob_name for transfer, _ in self.plan.reused}
        here = [file for file in self.plan.to_link if file.blob_name not in pending]
        self.store.link(here, self.plan.commit_hash)
        self._files_done = len(self.plan.files) - len(self.plan.to_link) + len(here)

    # --- the loop ------------------------------------------------------------------------------

    def _loop(self) -> None:
        scheduler = self._scheduler
        while True:
            events = [*self._drain(), *self._poll(), t.Ticked()]
            while True:
                # What a command brings at once is judged at once.
                events = self._obey(scheduler.handle(events, time.monotonic()))
                if not events:
                    break
            if self._error is not None:
                raise self._error
            self._show()
            if scheduler.is_done and not self._reusing:
                return

    def _drain(self) -> list[t.Event]:
        wait = _TICK_SECONDS if self.mover.is_busy else _SLOW_TICK_SECONDS
        wake_at = self._scheduler.wake_at()
        if wake_at is not None:
            wait = min(wait, max(0.0, wake_at - time.monotonic()))
        events: list[t.Event] = []
        with suppress(queue.Empty):
            events.append(self._events.get(timeout=max(wait, 0.001)))
            time.sleep(_GATHER_SECONDS)  # others follow on its heels: judge them together
            while True:
                events.append(self._events.get_nowait())
        for event in events:
            self._note_end(event)
        return events

    def _note_end(self, event: t.Event) -> None:
        if isinstance(event, t.Published):
            self._verifying.pop(event.blob_name, None)
            self._direct.pop(event.blob_name, None)
            self._reusing.discard(event.blob_name)
            files = self._files[event.blob_name]
            self._files_done += len(files)
            self._bytes_done += files[0].size
        elif isinstance(event, t.Mismatched):
            self._verifying.pop(event.blob_name, None)
            self._direct.pop(event.blob_name, None)
        elif isinstance(event, t.Failed):
            self._direct.pop(event.blob_name, None)
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
        moves: list[tuple[Transfer, str]] = []
        cancels: list[Transfer] = []
        for command in commands:
            match command:
                case t.Locate():
                    self._asking.submit(self._guarded, self._locate, command)
                case t.Move():
                    self._endpoints[command.route.endpoint.url] = None
                    moves.append((command.transfer, command.location.url))
                case t.MoveDirect():
                    self._endpoints[command.route.endpoint.url] = None
                    self._fetching.submit(
                        self._guarded,
                        self._fetch,
                        command.transfer,
                        self._url(command),
                        command.route.endpoint,
                    )
                case t.Cancel():
                    cancels.append(command.transfer)
                case t.Discard():
                    partial.discard(self._partial(command.transfer))
                    self._direct_path(command.transfer).unlink(missing_ok=True)
                case t.Check():
                    self._verifying[command.transfer.blob_name] = command.transfer
                    self._checking.submit(self._guarded, self._check, command.transfer)
                case t.RestartEngine():
                    self.mover.forget_all()
                    self.reporter.warn("the engine died; starting another one")
                case t.GiveUp():
                    self._give_up(command)
                case t.Stop():
                    self._stop(command)
                case t.AddSource() | t.Mend() | t.SetAside() | t.Watch():
                    raise NotImplementedError(command)
        if cancels:
            events += self.mover.cancel(cancels)
        if moves:
            events += self.mover.move(moves)
        return events

    def _give_up(self, command: t.GiveUp) -> None:
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

    # --- in threads ----------------------------------------------------------------------------

    def _guarded(self, act: Callable[..., None], *arguments: object) -> None:
        """Run in a pool: an error there, or a bug, ends the pull instead of hanging it."""
        try:
            act(*arguments)
        except InterruptedError:
            return
        except HfariaError as exc:
            self._fail(exc)
        except OSError as exc:
            place = f" `{exc.filename}`" if exc.filename else ""
            self._fail(StoreError(f"the destination failed at{place}: {exc.strerror or exc}"))
        except BaseException as exc:  # noqa: BLE001 - raised again by the loop
            self._fail(exc)

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._events.put(t.Ticked())

    def _locate(self, command: t.Locate) -> None:
        transfer = command.transfer
        plan = self.plan
        try:
            answer = locate(self.client, plan.spec, plan.commit_hash, transfer, command.route)
        except HfariaError as exc:
            answer = failure_of(exc)
        if isinstance(answer, Failure):
            self._events.put(t.NotLocated(transfer.blob_name, command.route, answer))
        else:
            self._events.put(t.Located(transfer.blob_name, command.route, answer))

    def _fetch(self, transfer: Transfer, url: str, endpoint: Endpoint) -> None:
        name = transfer.blob_name
        path = self._direct_path(transfer)
        last = path.stat().st_size if path.exists() else 0
        self._direct[name] = last

        told_at = time.monotonic()

        def on_bytes(held: int) -> None:
            nonlocal last, told_at
            self._direct_bytes += max(0, held - last)
            last = held
            self._direct[name] = held
            now = time.monotonic()
            if now - told_at > _SHOW_SECONDS:
                told_at = now
                self._events.put(t.Progressed(name, held))

        failure = fetch_direct(
            self.client,
            url,
            path,
            size=transfer.size,
            endpoint=endpoint,
            on_bytes=on_bytes,
            is_cancelled=lambda: self._is_cancelled,
        )
        self._events.put(t.Arrived(name) if failure is None else t.Failed(name, failure))

    def _check(self, transfer: Transfer) -> None:
        direct = self._direct_path(transfer)
        path = direct if direct.exists() else self._partial(transfer)
        actual = self._digest(path, transfer)
        if actual == transfer.blob_name:
            partial.forget(self._partial(transfer))
            self._publish(path, transfer)
            return
        if path is not direct and partial.drop_salvaged(path):
            self._events.put(t.Mismatched(transfer.blob_name, "", was_salvaged=True))
            return
        partial.quarantine(path, self.store.workspace.quarantine)
        detail = f"expected {transfer.blob_name[:12]}, got {actual[:12]}"
        self._events.put(t.Mismatched(transfer.blob_name, detail, was_salvaged=False))

    def _reuse(self, transfer: Transfer, source: Path) -> None:
        files = self._files[transfer.blob_name]
        staged = self.store.stage_copy(source, files)
        if self._digest(staged, transfer) == transfer.blob_name:
            self._publish(staged, transfer)
            return
        staged.unlink()
        self._events.put(t.Wanted(transfer))

    def _publish(self, staged: Path, transfer: Transfer) -> None:
        self.store.publish(
            staged,
            self._files[transfer.blob_name],
            self.plan.commit_hash,
            replace=self.replace,
        )
        self._events.put(t.Published(transfer.blob_name))

    def _digest(self, path: Path, transfer: Transfer) -> str:
        if path.stat().st_size != transfer.size:
            return f"{path.stat().st_size} bytes"
        return file_digest(
            path, blob_name=transfer.blob_name, is_cancelled=lambda: self._is_cancelled
        )

    # --- places and progress ---------------------------------------------------------------------

    def _url(self, command: t.MoveDirect) -> str:
        if command.location is not None:
            return command.location.url
        path = self.plan.spec.resolve_path(self.plan.commit_hash, command.transfer.path)
        return command.route.endpoint.join(path)

    def _partial(self, transfer: Transfer) -> Path:
        return self.store.workspace.partial(transfer.blob_name)

    def _direct_path(self, transfer: Transfer) -> Path:
        return self.store.workspace.direct(transfer.blob_name)

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown_at < _SHOW_SECONDS:
            return
        self._shown_at = now
        verifying = tuple(self._verifying.values())
        held = (
            self._bytes_done
            + self.mover.bytes_held
            + sum(self._direct.values())
            + sum(each.size for each in verifying if each.blob_name not in self._direct)
        )
        rate = self._meter.add(now, self.mover.bytes_moved + self._direct_bytes)
        waiting = self._scheduler.waiting(now)
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
                held=min(held, self._size),
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
    return f"waiting {seconds}: {waiting.reason}"
