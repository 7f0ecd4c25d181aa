"""Put a file right of which marks are known: only what is wrong is fetched, and checked at once.

A mark is the digest of all bytes up to a place, so the first that differs tells in which piece
the file begins to be wrong, without asking anybody. With that piece put right, the next tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.errors import HubError
from hfaria.hub.failed_requests import failure_of
from hfaria.hub.mend import RemoteContent
from hfaria.rules.control_file import merge
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.hasher import Hasher
from hfaria.rules.records import MARK_SPACING
from hfaria.rules.suspicion import differing_range

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from hfaria.hub.client import HubClient
    from hfaria.hub.mend import Source
    from hfaria.rules.control_file import Range

_MOST_PIECES = 16
"""Fetched at once, where one wrong piece follows another."""
_WORTH_PATCHING = 256 << 20
"""Bytes; where more and a quarter of the file are wrong, the engine is faster."""


@dataclass(frozen=True, slots=True)
class Patching:
    """What came of it; ``replaced`` are the ranges that were wrong."""

    is_right: bool
    replaced: tuple[Range, ...]
    bytes_fetched: int
    failure: Failure | None = None


def patch(
    client: HubClient,
    source: Source,
    path: Path,
    *,
    blob_name: str,
    size: int,
    marks: Sequence[str],
    on_bytes: Callable[[int, int], None] = lambda _held, _fetched: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Patching:
    """Read ``path`` and replace each piece that its mark calls wrong by the source's.

    A piece of the source's that is wrong too isn't written. ``on_bytes`` gets how far it got, and
    how much was fetched. What is right stays so: the next call, with another source, goes on from
    there. An `OSError` of the disk is raised.
    """
    work = _Patch(RemoteContent(client, source, size), blob_name, size, on_bytes, is_cancelled)
    try:
        with path.open("r+b", buffering=0) as file:
            # Holes where it is too short; what they should hold is found by the marks.
            file.truncate(size)
            is_right = work.run(file, marks)
    except HubError as exc:
        return Patching(
            is_right=False,
            replaced=merge(work.replaced),
            bytes_fetched=work.bytes_fetched,
            failure=failure_of(exc),
        )
    finally:
        client.leave()
    return Patching(is_right, merge(work.replaced), work.bytes_fetched, work.failure)


@dataclass(slots=True)
class _Patch:
    """A pass over the file."""

    content: RemoteContent
    blob_name: str
    size: int
    on_bytes: Callable[[int, int], None]
    is_cancelled: Callable[[], bool]
    replaced: list[Range] = field(default_factory=list)
    bytes_fetched: int = 0
    failure: Failure | None = None
    _ahead: bytes = b""
    _ahead_at: int = 0
    _wrong_in_a_row: int = 0

    def run(self, file: BinaryIO, marks: Sequence[str]) -> bool:
        """Return whether the whole is right in the end; else ``failure`` says why not."""
        hasher = Hasher(self.blob_name, self.size)
        at = 0
        for mark in marks:
            passed = self._pass(file, hasher, (at, at + MARK_SPACING), mark)
            if passed is None:
                return False
            hasher, at = passed, at + MARK_SPACING
        return self._pass(file, hasher, (at, self.size), None) is not None

    def _pass(
        self, file: BinaryIO, before: Hasher, where: Range, mark: str | None
    ) -> Hasher | None:
        """Return the digest with the piece that is there, or with the source's; None if neither."""
        if self.is_cancelled():
            self.failure = Failure(Reason.STALLED, "cancelled")
            return None
        start, end = where
        ours = _read(file, start, end - start)
        here = self._with(before, ours)
        if self._is_right(here, mark):
            self._wrong_in_a_row = 0
            self.on_bytes(end, self.bytes_fetched)
            return here
        if start == end:
            self.failure = Failure(Reason.MISMATCH, "the marks are not of this content")
            return None
        if self._is_too_much():
            self.failure = Failure(Reason.MISMATCH, "too much of it is wrong")
            return None
        theirs = self._fetch(start, end)
        there = self._with(before, theirs)
        if not self._is_right(there, mark):
            self.failure = Failure(Reason.MISMATCH, "its bytes are wrong, too")
            return None
        differing = differing_range(ours, theirs)
        if differing is not None:
            file.seek(start)
            file.write(theirs)
            self.replaced.append((start + differing[0], start + differing[1]))
        self._wrong_in_a_row += 1
        self.on_bytes(end, self.bytes_fetched)
        return there

    def _with(self, before: Hasher, content: bytes) -> Hasher:
        after = before.copy()
        after.update(content)
        return after

    def _is_right(self, hasher: Hasher, mark: str | None) -> bool:
        return hasher.digest() == self.blob_name if mark is None else hasher.mark() == mark

    def _is_too_much(self) -> bool:
        replaced = sum(end - start for start, end in self.replaced)
        return replaced > max(_WORTH_PATCHING, self.size // 4)

    def _fetch(self, start: int, end: int) -> bytes:
        """Return the source's bytes; more at once where pieces before this one were wrong, too."""
        offset = start - self._ahead_at
        if offset >= 0 and end <= self._ahead_at + len(self._ahead):
            return self._ahead[offset : offset + end - start]
        pieces = min(2**self._wrong_in_a_row, _MOST_PIECES)
        until = min(max(end, start + pieces * MARK_SPACING), self.size)
        got = bytearray()
        for _, piece in self.content.pieces((start, until)):
            self.bytes_fetched += len(piece)
            got += piece
        self._ahead, self._ahead_at = bytes(got), start
        return self._ahead[: end - start]


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    got = bytearray()
    while len(got) < length and (piece := file.read(length - len(got))):
        got += piece
    return bytes(got)
