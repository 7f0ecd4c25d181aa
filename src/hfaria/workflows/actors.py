"""Those who act for the scheduler in threads: locate, fetch, verify, publish, mend."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.cache.digest import file_digest
from hfaria.engine import partial
from hfaria.errors import HfariaError, StoreError
from hfaria.hub.failed_requests import failure_of
from hfaria.hub.fetch import fetch_direct
from hfaria.hub.locate import locate, source_url
from hfaria.hub.mend import Source, serves_other_bytes
from hfaria.hub.reach import wait_until_reachable
from hfaria.hub.wrong_file import WrongFile
from hfaria.rules import transfers as t
from hfaria.rules.failures import Failure
from hfaria.rules.sizes import format_range
from hfaria.rules.suspicion import order_of_suspicion

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hfaria.cache.store import Store
    from hfaria.hub.client import HubClient
    from hfaria.rules.deliveries import Run
    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.plan import Plan, Transfer
    from hfaria.rules.window import Window

_SHOW_SECONDS = 0.2
_ASKING_THREADS = 16
_CHECKING_THREADS = 12
_MENDING_THREADS = 2


@dataclass(slots=True)
class Actors:
    """Carries out commands in threads, and answers each with an event.

    ``direct`` tells how much our own client holds of each transfer that it fetches now, and
    ``direct_bytes`` how much it fetched in all. ``error`` is what ended a thread against its will.
    """

    plan: Plan
    store: Store
    client: HubClient
    window: Window
    replace: bool
    files: dict[str, list[RemoteFile]]
    events: queue.SimpleQueue[t.Event]
    tell: Callable[[str], None]
    direct: dict[str, int] = field(default_factory=dict)
    direct_bytes: int = 0
    error: BaseException | None = None
    _asking: ThreadPoolExecutor = field(init=False)
    _fetching: ThreadPoolExecutor = field(init=False)
    _checking: ThreadPoolExecutor = field(init=False)
    _mending: ThreadPoolExecutor = field(init=False)
    _watching: ThreadPoolExecutor = field(init=False)
    _wrong: dict[str, WrongFile] = field(init=False, default_factory=dict)
    _is_cancelled: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._asking = ThreadPoolExecutor(_ASKING_THREADS, "hfaria-ask")
        self._fetching = ThreadPoolExecutor(self.window.small_jobs, "hfaria-fetch")
        self._checking = ThreadPoolExecutor(_CHECKING_THREADS, "hfaria-check")
        self._mending = ThreadPoolExecutor(_MENDING_THREADS, "hfaria-mend")
        self._watching = ThreadPoolExecutor(thread_name_prefix="hfaria-watch")

    def close(self) -> None:
        """Let every thread end; only what is being published is waited for."""
        self._is_cancelled = True
        for pool in (self._asking, self._fetching, self._mending, self._watching):
            pool.shutdown(wait=False, cancel_futures=True)
        self._checking.shutdown(wait=True, cancel_futures=True)

    # --- what can be asked for -------------------------------------------------------------------

    def locate(self, command: t.Locate) -> None:
        """Answer with `Located` or `NotLocated`."""
        self._asking.submit(self._guarded, self._locate, command)

    def fetch(self, command: t.MoveDirect) -> None:
        """Answer with `Progressed`, then `Arrived` or `Failed`."""
        self._fetching.submit(self._guarded, self._fetch, command)

    def check(self, transfer: Transfer) -> None:
        """Answer with `Published` or `Mismatched`."""
        self._checking.submit(self._guarded, self._check, transfer)

    def reuse(self, transfer: Transfer, source: Path) -> None:
        """Verify and publish a copy on this disk; answer with `Published` or `Wanted`."""
        self._checking.submit(self._guarded, self._reuse, transfer, source)

    def mend(
        self, command: t.Mend, deliveries: Sequence[Run], suspects: tuple[t.Route, ...]
    ) -> None:
        """Answer with `Progressed`, then `Mended` or `Failed`, and name the liar.

        ``deliveries`` tell in which order the bytes came, ``suspects`` who brought them.
        """
        self._mending.submit(self._guarded, self._mend, command, tuple(deliveries), suspects)

    def watch(self, command: t.Watch) -> None:
        """Answer with `Reachable`."""
        self._watching.submit(self._guarded, self._watch, command)

    def discard(self, transfer: Transfer) -> None:
        """Delete what is staged."""
        self._wrong.pop(transfer.blob_name, None)
        partial.discard(self._partial(transfer))
        self._direct_path(transfer).unlink(missing_ok=True)

    def set_aside(self, transfer: Transfer) -> None:
        """Quarantine what is staged."""
        self._wrong.pop(transfer.blob_name, None)
        path = self._staged(transfer)
        if path.exists():
            partial.quarantine(path, self.store.workspace.quarantine)

    def note_end(self, event: t.Event) -> None:
        """Take in that a transfer left our own client."""
        if isinstance(event, t.Published | t.Mismatched | t.Failed | t.Mended):
            self.direct.pop(event.blob_name, None)

    # --- in threads ------------------------------------------------------------------------------

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
        if self.error is None:
            self.error = error
        self.events.put(t.Ticked())

    def _locate(self, command: t.Locate) -> None:
        name, route = command.transfer.blob_name, command.route
        answer = self._ask(route, command.transfer, silence_seconds=command.silence_seconds)
        if isinstance(answer, Failure):
            self.events.put(t.NotLocated(name, route, answer))
        else:
            self.events.put(t.Located(name, route, answer))

    def _ask(
        self, route: t.Route, transfer: Transfer, *, silence_seconds: float | None = None
    ) -> t.Location | Failure:
        plan = self.plan
        try:
            return locate(
                self.client,
                plan.spec,
                plan.commit_hash,
                transfer,
                route,
                silence_seconds=silence_seconds,
            )
        except HfariaError as exc:
            return failure_of(exc)

    def _fetch(self, command: t.MoveDirect) -> None:
        transfer = command.transfer
        name = transfer.blob_name
        path = self._direct_path(transfer)
        before = self.direct[name] = path.stat().st_size if path.exists() else 0
        count = self._counter(name, before)

        def on_bytes(held: int) -> None:
            self.direct[name] = held
            count(held)

        failure = fetch_direct(
            self.client,
            self._url(command),
            path,
            size=transfer.size,
            endpoint=command.route.endpoint,
            on_bytes=on_bytes,
            is_cancelled=self.is_cancelled,
            silence_seconds=command.silence_seconds,
        )
        if failure is None:
            self.events.put(t.Arrived(name))
            return
        # However short it was, it may have got on.
        for held in (before, self.direct[name]):
            self.events.put(t.Progressed(name, held))
        self.events.put(t.Failed(name, failure))

    def _counter(self, name: str, last: int) -> Callable[[int], None]:
        """Return what takes in a transfer's running total, and tells of it: at once, then rarely.

        The first bytes are what the requests after the first window wait for.
        """
        told_at = -_SHOW_SECONDS

        def count(total: int) -> None:
            nonlocal last, told_at
            self.direct_bytes += max(0, total - last)
            last = total
            now = time.monotonic()
            if now - told_at > _SHOW_SECONDS:
                told_at = now
                self.events.put(t.Progressed(name, total))

        return count

    def is_cancelled(self) -> bool:
        """Whether the pull is at its end, one way or the other."""
        return self._is_cancelled

    def _check(self, transfer: Transfer) -> None:
        path = self._staged(transfer)
        marks: list[str] = []
        actual = self._digest(path, transfer, marks)
        if actual == transfer.blob_name:
            partial.forget(self._partial(transfer))
            self._publish(path, transfer, marks)
            return
        if path == self._partial(transfer) and partial.drop_salvaged(path):
            self.events.put(t.Mismatched(transfer.blob_name, "", was_salvaged=True))
            return
        detail = f"expected {transfer.blob_name[:12]}, got {actual[:12]}"
        has_size = path.stat().st_size == transfer.size
        self.events.put(
            t.Mismatched(transfer.blob_name, detail, was_salvaged=False, can_be_mended=has_size)
        )

    def _reuse(self, transfer: Transfer, source: Path) -> None:
        staged = self.store.stage_copy(source, self.files[transfer.blob_name])
        marks: list[str] = []
        if self._digest(staged, transfer, marks) == transfer.blob_name:
            self._publish(staged, transfer, marks)
            return
        staged.unlink()
        self.events.put(t.Wanted(transfer))

    def _publish(self, staged: Path, transfer: Transfer, marks: Sequence[str]) -> None:
        self.store.publish(
            staged,
            self.files[transfer.blob_name],
            self.plan.commit_hash,
            replace=self.replace,
            marks=marks,
        )
        self.events.put(t.Published(transfer.blob_name))

    def _mend(
        self, command: t.Mend, deliveries: tuple[Run, ...], suspects: tuple[t.Route, ...]
    ) -> None:
        transfer = command.transfer
        name = transfer.blob_name
        path = self._staged(transfer)
        source = Source(self._url(command), command.route.endpoint, command.silence_seconds)
        if name not in self._wrong:
            order = order_of_suspicion(transfer.size, deliveries)
            self._wrong[name] = WrongFile(
                path, transfer.size, order, lambda: self._digest(path, transfer) == name
            )
        wrong = self._wrong[name]
        before = wrong.agreed(source)
        self.events.put(t.Progressed(name, before))
        mending = wrong.compare(
            self.client,
            source,
            on_bytes=self._counter(name, before),
            is_cancelled=self.is_cancelled,
        )
        if mending.failure is not None:
            # However short it was, it may have got on.
            self.events.put(t.Progressed(name, wrong.agreed(source)))
            self.events.put(t.Failed(name, mending.failure))
            return
        del self._wrong[name]
        if mending.is_right:
            self._name_the_liar(command, suspects, wrong.replaced)
        self.events.put(t.Mended(name, tuple(wrong.replaced)))

    def _name_the_liar(
        self, command: t.Mend, suspects: tuple[t.Route, ...], ranges: list[tuple[int, int]]
    ) -> None:
        """Ask those who brought the bytes for the ranges that were wrong, and say who lies."""
        transfer = command.transfer
        where = ", ".join(format_range(start, end) for start, end in ranges[:3])
        liars: list[str] = []
        for route in suspects:
            if route == command.route or not ranges:
                continue
            location = self._ask(route, transfer)
            if isinstance(location, Failure):
                continue
            verdict = serves_other_bytes(
                self.client,
                Source(location.url, route.endpoint),
                self._staged(transfer),
                size=transfer.size,
                ranges=ranges,
                is_cancelled=self.is_cancelled,
            )
            if verdict is True:
                liars.append(route.endpoint.host)
        if liars:
            who = f"{' and '.join(liars)} serves wrong bytes"
        else:
            # Whoever it was mended from sends what is right by now.
            others = [each for each in suspects if each != command.route] or suspects
            hosts = " or ".join(each.endpoint.host for each in others)
            who = f"wrong bytes came once, from {hosts}"
        self.tell(f"`{transfer.path}`: {who} ({where}); mended from {command.route.endpoint.host}")

    def _watch(self, command: t.Watch) -> None:
        wait_until_reachable(
            self.client,
            command.route.endpoint,
            after_seconds=command.after_seconds,
            is_cancelled=self.is_cancelled,
        )
        self.events.put(t.Reachable(command.route))

    # --- places ----------------------------------------------------------------------------------

    def _digest(self, path: Path, transfer: Transfer, marks: list[str] | None = None) -> str:
        if path.stat().st_size != transfer.size:
            return f"{path.stat().st_size} bytes"
        return file_digest(
            path, blob_name=transfer.blob_name, is_cancelled=self.is_cancelled, marks=marks
        )

    def _url(self, command: t.MoveDirect | t.Mend) -> str:
        if command.location is not None:
            return command.location.url
        plan = self.plan
        return source_url(plan.spec, plan.commit_hash, command.transfer, command.route)

    def _staged(self, transfer: Transfer) -> Path:
        direct = self._direct_path(transfer)
        return direct if direct.exists() else self._partial(transfer)

    def _partial(self, transfer: Transfer) -> Path:
        return self.store.workspace.partial(transfer.blob_name)

    def _direct_path(self, transfer: Transfer) -> Path:
        return self.store.workspace.direct(transfer.blob_name)
