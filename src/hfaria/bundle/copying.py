"""Copy a range of a cached content to a stick: hashed on the way, and continued if begun."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.bundle.source import READ, chunks, opened
from hfaria.errors import StickGone, StickRefused, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

_SYNC_EVERY = 256 * 2**20
_MOST_WAITING = 8
"""Chunks that wait for the second thread: it may lag behind, not without bound."""
# What systems say when a medium is pulled; the last two, of a FUSE daemon that ended.
_GONE = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED}
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class Copied:
    """Digests of a range: of all of it, and of each piece."""

    sha256: str
    pieces: tuple[str, ...]


class RangeDigest:
    """Hashes a range as a whole and by pieces, at once on two threads."""

    def __init__(self, piece: int, pool: ThreadPoolExecutor) -> None:
        self._piece = piece
        self._pool = pool
        self._whole = hashlib.sha256()
        self._part = hashlib.sha256()
        self._left = piece
        self._done: list[str] = []
        self._running: deque[Future[None]] = deque()

    def update(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        self._running.append(self._pool.submit(self._update_pieces, chunk))
        self._whole.update(chunk)
        if len(self._running) > _MOST_WAITING:
            self._running.popleft().result()

    def _update_pieces(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            taken = rest[: self._left]
            self._part.update(taken)
            self._left -= len(taken)
            rest = rest[len(taken) :]
            if self._left == 0:
                self._next_piece()

    def _next_piece(self) -> None:
        self._done.append(self._part.hexdigest())
        self._part = hashlib.sha256()
        self._left = self._piece

    def finish(self) -> Copied:
        """Return all digests."""
        for running in self._running:
            running.result()
        if self._left != self._piece:
            self._next_piece()
        return Copied(self._whole.hexdigest(), tuple(self._done))


class OnePieceDigest:
    """Hashes a range that is one piece, which is its own digest; no bytes are one piece, too."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()

    def update(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        self._whole.update(chunk)

    def finish(self) -> Copied:
        """Return all digests."""
        digest = self._whole.hexdigest()
        return Copied(digest, (digest,))


@contextmanager
def hashing(length: int, piece: int) -> Iterator[RangeDigest | OnePieceDigest]:
    """Yield what hashes a range of this length."""
    if length <= piece:
        yield OnePieceDigest()
        return
    with ThreadPoolExecutor(1) as pool:
        yield RangeDigest(piece, pool)


def digest_range(
    source: Path, *, offset: int, length: int, piece: int, on_bytes: Callable[[int], None]
) -> Copied:
    """Hash a range of a content without copying it."""
    with hashing(length, piece) as digest, opened(source) as reader:
        reader.seek(offset)
        for chunk in chunks(reader, length):
            digest.update(chunk)
            on_bytes(len(chunk))
        return digest.finish()


def copy_range(
    source: Path,
    target: Path,
    *,
    offset: int,
    length: int,
    piece: int,
    on_bytes: Callable[[int], None],
    sync: bool = True,
) -> Copied:
    """Write a range of ``source`` to ``target``, and bring it to the medium unless told not to.

    What an earlier run left at ``target`` is compared, kept as far as it is the same, and
    continued from there. The digests are of the source's bytes.
    """
    with (
        hashing(length, piece) as digest,
        opened(source) as reader,
        opened_for_writing(target) as writer,
    ):
        reader.seek(offset)
        held = os.fstat(writer.fileno()).st_size
        position = unsynced = 0
        for chunk in chunks(reader, length):
            digest.update(chunk)
            end = position + len(chunk)
            if end <= held and writer.read(len(chunk)) == chunk:
                position = end
                on_bytes(len(chunk))
                continue
            if held:
                held = 0
                writer.seek(position)
                writer.truncate()
            write_all(writer, chunk)
            position = end
            unsynced += len(chunk)
            on_bytes(len(chunk))
            if unsynced >= _SYNC_EVERY:
                os.fsync(writer.fileno())
                unsynced = 0
        writer.truncate(length)
        if sync:
            os.fsync(writer.fileno())
        return digest.finish()


def digest_of_stick_file(path: Path, *, on_bytes: Callable[[int], None]) -> str:
    """Hash a file as the medium gives it back, not as the system remembers it."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):  # what is synced is dropped, and read anew
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        digest = hashlib.sha256()
        buffer = bytearray(READ)
        window = memoryview(buffer)
        while count := file.readinto(buffer):
            digest.update(window[:count])
            on_bytes(count)
    return digest.hexdigest()


def sync_files(folder: Path, files: Sequence[Path]) -> None:
    """Bring many files of one filesystem to the medium: at once, where the system can.

    A sync for each of thousands of small files would take longer than writing them.
    """
    if len(files) > 1 and _sync_filesystem(folder):
        return
    for path in files:
        with opened_for_writing(path) as file:
            os.fsync(file.fileno())


def _sync_filesystem(folder: Path) -> bool:
    if sys.platform != "linux":
        return False
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):  # a C library that has none
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return bool(call(descriptor) == 0)
    finally:
        os.close(descriptor)


@contextmanager
def opened_for_writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file of ours on a stick for reading and writing; never through a link."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0) as file:
        yield file


def write_all(file: BinaryIO, content: bytes) -> None:
    """Write all of it: an unbuffered write may take less."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file of ours in one move, on the medium when this returns."""
    staged = path.with_name(f"{path.name}.tmp")
    with opened_for_writing(staged) as file:
        file.truncate(0)
        write_all(file, content)
        os.fsync(file.fileno())
    os.replace(staged, path)  # noqa: PTH105 - the atomic one, by its name


@contextmanager
def stick_errors(place: Path, so_far: Callable[[], str] | None = None) -> Iterator[None]:
    """Translate what a stick's filesystem refuses; ``so_far`` tells how far the work came."""
    try:
        yield
    except OSError as exc:
        after = f" after {so_far()}" if so_far is not None else ""
        if exc.errno in _GONE or (exc.errno == errno.ENOENT and not os.path.isdir(place)):  # noqa: PTH112 - it may not answer
            raise StickGone(
                f"E-GONE the stick at `{place}` stopped answering (errno {exc.errno}){after}"
            ) from exc
        if exc.errno in _FULL:
            raise StoreError(
                f"the stick at `{place}` is full{after}: something else wrote to it",
                hint="what is written is kept; make room on it, and run the same command",
            ) from exc
        shown = exc.filename if isinstance(exc.filename, str) else place
        raise StickRefused(
            f"the stick at `{place}` refuses `{shown}`: {exc.strerror or exc}"
        ) from exc
