"""Compare a file whose digest is wrong with another source, and take what differs from there.

Fetching a file of 20 GB anew for one flipped byte is what this saves. The comparison begins with
what is most suspect and ends as soon as the digest is right.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.errors import HubError
from hfaria.hub.failed_requests import RequestFailed, failure_of
from hfaria.hub.ranges import PARTIAL, unusable
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.suspicion import Search, differing_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from hfaria.hub.client import HubClient
    from hfaria.rules.control_file import Range
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.suspicion import Step

_CANCELLED = Failure(Reason.STALLED, "cancelled")


@dataclass(frozen=True, slots=True)
class Source:
    """Where to compare with: a URL, the endpoint that led there, and how long it may be silent."""

    url: str
    endpoint: Endpoint
    silence_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Mending:
    """What came of a comparison.

    ``replaced`` are the ranges that differed and now are the source's; ``left`` is what was not
    compared, most suspect first. With a ``failure``, the search can go on with what is left.
    """

    replaced: tuple[Range, ...]
    left: tuple[Range, ...]
    is_right: bool
    failure: Failure | None = None


def mend(
    client: HubClient,
    source: Source,
    path: Path,
    *,
    size: int,
    order: Sequence[Range],
    is_right: Callable[[], bool],
    on_bytes: Callable[[int], None],
    is_cancelled: Callable[[], bool],
    connections: int = 4,
) -> Mending:
    """Compare ``path`` with ``source`` in ``order``, overwriting what differs.

    ``is_right`` looks at the digest; nothing is written meanwhile. ``on_bytes`` gets how many bytes
    were compared so far, from any thread. An `OSError` of the disk is raised.
    """
    search = Search(order, size)
    content = RemoteContent(client, source, size)
    comparison = _Comparison(content, path, search, on_bytes, is_cancelled)
    with ThreadPoolExecutor(connections, "hfaria-mend") as pool:
        while True:
            for each in [pool.submit(comparison.take_part) for _ in range(connections)]:
                each.result()
            failure = comparison.failure
            # After a failure too: what was replaced so far may have been all.
            if search.needs_check or (failure is not None and search.has_unchecked):
                if is_right():
                    return Mending(search.differences(), search.left, is_right=True)
                search.note_checked()
            if failure is not None or search.is_over:
                return Mending(search.differences(), search.left, is_right=False, failure=failure)


def serves_other_bytes(
    client: HubClient,
    source: Source,
    path: Path,
    *,
    size: int,
    ranges: Sequence[Range],
    is_cancelled: Callable[[], bool],
) -> bool | Failure:
    """Tell whether ``source`` differs from ``path`` in any of ``ranges``; writes nothing.

    With ranges that were replaced, in a file whose digest is right by now, this names the liar.
    """
    content = RemoteContent(client, source, size)
    try:
        with path.open("rb", buffering=0) as file:
            for start, end in ranges:
                for at, theirs in content.pieces((start, end)):
                    if is_cancelled():
                        return _CANCELLED
                    if _read(file, at, len(theirs)) != theirs:
                        return True
    except HubError as exc:
        return failure_of(exc)
    return False


@dataclass(frozen=True, slots=True)
class RemoteContent:
    """A file of ``size`` bytes at a source."""

    client: HubClient
    source: Source
    size: int

    def pieces(self, wanted: Range) -> Iterator[tuple[int, bytes]]:
        """Yield the bytes of a range with their places; raises `HubError` if they can't be had."""
        start, end = wanted
        at = start
        headers = {"range": f"bytes={start}-{end - 1}"}
        answer = self.client.stream(
            self.source.url,
            endpoint=self.source.endpoint,
            headers=headers,
            silence_seconds=self.source.silence_seconds,
        )
        with answer as response:
            failure = unusable(response, self.source.endpoint, wanted=wanted, size=self.size)
            if failure is None and response.status_code != PARTIAL and wanted != (0, self.size):
                failure = Failure(Reason.RANGE_IGNORED, f"HTTP {response.status_code}")
            if failure is not None:
                raise _failed(failure)
            for piece in answer.pieces():
                if at + len(piece) > end:
                    raise _failed(Failure(Reason.WRONG_LENGTH, "more bytes than were asked for"))
                yield at, piece
                at += len(piece)
        if at != end:
            detail = f"ended after {at - start} of {end - start} bytes"
            raise _failed(Failure(Reason.TRANSPORT, detail))


@dataclass(slots=True)
class _Comparison:
    """A search that several threads take part in."""

    content: RemoteContent
    path: Path
    search: Search
    on_bytes: Callable[[int], None]
    is_cancelled: Callable[[], bool]
    failure: Failure | None = None
    bytes_compared: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take_part(self) -> None:
        """Compare steps until a check is due, all is compared, or somebody failed."""
        try:
            with self.path.open("r+b", buffering=0) as file:
                while (step := self._take()) is not None:
                    self._compare(file, step)
        finally:
            self.content.client.leave()

    def _take(self) -> Step | None:
        with self.lock:
            if self.failure is None and self.is_cancelled():
                self.failure = _CANCELLED
            return None if self.failure is not None else self.search.take()

    def _compare(self, file: BinaryIO, step: Step) -> None:
        try:
            for at, theirs in self.content.pieces((step.start, step.end)):
                if self.is_cancelled():
                    raise _failed(_CANCELLED)
                differing = differing_range(_read(file, at, len(theirs)), theirs)
                if differing is not None:
                    start, end = differing
                    file.seek(at + start)
                    file.write(theirs[start:end])
                    with self.lock:
                        self.search.note_difference(step, (at + start, at + end))
                with self.lock:
                    self.bytes_compared += len(theirs)
                    self.on_bytes(self.bytes_compared)
        except HubError as exc:
            with self.lock:
                self.search.give_back(step)
                self.failure = self.failure or failure_of(exc)
            return
        with self.lock:
            self.search.note_compared(step)


def _failed(failure: Failure) -> RequestFailed:
    return RequestFailed(str(failure), failure)


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(length)
