"""A thread for each endpoint that is asked, so that a silent one keeps nobody from the others."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from hfaria.rules.endpoints import ConfiguredEndpoint, Endpoint

_T = TypeVar("_T")
_FOREVER = 1e6  # a lock can't wait for infinity


class NotWanted(Exception):
    """The pull went on, or ended, without this answer."""


class Line:
    """One endpoint's questions, asked one after another over connections that stay open.

    Its thread is a daemon: nobody waits in the end for an endpoint that does not answer.
    """

    def __init__(self, configured: ConfiguredEndpoint) -> None:
        self.configured = configured
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._is_closed = threading.Event()
        name = f"hfaria-line-{configured.endpoint.host}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def ask(self, call: Callable[[], _T]) -> Future[_T]:
        """Call it in the line's thread, after what was asked before."""
        future: Future[_T] = Future()

        def act() -> None:
            try:
                if self._is_closed.is_set():
                    raise NotWanted  # noqa: TRY301 - as an answer that comes too late
                result = call()
            except BaseException as exc:  # noqa: BLE001 - raised where the answer is read
                future.set_exception(exc)
            else:
                future.set_result(result)

        self._calls.put(act)
        return future

    def pause(self, seconds: float) -> None:
        """Sleep in the line's thread; raises `NotWanted` when the line is closed meanwhile."""
        if self._is_closed.wait(seconds):
            raise NotWanted

    def close(self) -> None:
        """Take no more answers."""
        self._is_closed.set()
        self._calls.put(None)

    def _work(self) -> None:
        while (act := self._calls.get()) is not None:
            act()


@dataclass(slots=True)
class Switchboard:
    """The lines of one pull."""

    _lines: dict[Endpoint, Line] = field(default_factory=dict)

    def line(self, configured: ConfiguredEndpoint) -> Line:
        """Return the endpoint's line, opened at its first use."""
        endpoint = configured.endpoint
        if endpoint not in self._lines:
            self._lines[endpoint] = Line(configured)
        return self._lines[endpoint]

    def close(self) -> None:
        """Close all lines; who still waits for an endpoint is not waited for."""
        for line in self._lines.values():
            line.close()


@dataclass(slots=True)
class Race(Generic[_T]):
    """Yields futures as they are done, ``until`` when the rest is not waited for any more.

    The limit may be set while it runs: one answer may be reason not to wait long for the others,
    or to `add` a question. ``is_over`` is set in the end, so that who is still asking can stop.
    """

    futures: Collection[Future[_T]]
    until: float | None = None
    is_over: threading.Event = field(default_factory=threading.Event)
    _pending: set[Future[_T]] = field(init=False)

    def __post_init__(self) -> None:
        self._pending = set(self.futures)

    def add(self, future: Future[_T]) -> None:
        """Yield this one, too."""
        self._pending.add(future)

    def __iter__(self) -> Iterator[Future[_T]]:
        try:
            while self._pending:
                timeout = _FOREVER if self.until is None else self.until - time.monotonic()
                done, _ = wait(self._pending, max(0.0, timeout), return_when=FIRST_COMPLETED)
                self._pending -= done
                if not done and self.until is not None and time.monotonic() >= self.until:
                    return
                yield from done
        finally:
            self.is_over.set()
