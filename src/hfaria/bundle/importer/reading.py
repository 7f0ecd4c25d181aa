"""Read from a medium that may be pulled, and ahead of who needs the bytes."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
from typing import TYPE_CHECKING

from hfaria.bundle.importer.errors import INCOMPLETE, USAGE, BundleError
from hfaria.bundle.importer.format import IO_SIZE

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

BUFFERS_AHEAD = 3  # one in use, one full, one being filled

# What a system answers when a medium was pulled. EIO may be one bad sector.
_GONE = (
    errno.ENODEV,
    errno.ENXIO,
    errno.ENOTCONN,
    errno.ECONNABORTED,  # a FUSE daemon that died over this very request
    errno.ESHUTDOWN,
    getattr(errno, "ENOMEDIUM", -1),
)
_GONE_ON_WINDOWS = (21, 55, 433, 483, 1117, 1167)
_HANGING_SECONDS = 1.0


class StickGone(Exception):
    """The medium stopped answering."""


class BadPiece(Exception):
    """A piece on the stick can't be read, or is not what stick.json says."""


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Translate what a stick answers when it can't be read."""
    try:
        yield
    except OSError as exc:
        what = f"{path} can't be read: {exc.strerror or exc}"
        if exc.errno in (*_GONE, errno.EIO) or getattr(exc, "winerror", 0) in _GONE_ON_WINDOWS:
            raise BundleError("E-GONE", INCOMPLETE, what, "put it back, and run it again") from exc
        raise BundleError("E-NOBUNDLE", USAGE, what, "name a stick that can be read") from exc


class ReadAhead:
    """Reads a part of a file in a thread, so that the stick need not wait for digests and disk.

    Its memory is a few buffers. What a read raises is raised where its bytes would have been.
    """

    def __init__(self, file: io.FileIO, start: int, end: int, piece_size: int) -> None:
        self._position = start
        self._end = end
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[memoryview | BaseException] = queue.SimpleQueue()
        self._is_over = False
        for _ in range(BUFFERS_AHEAD):
            self._free.put(memoryview(bytearray(min(IO_SIZE, piece_size))))
        # A daemon: a medium that hangs must not keep the program from ending.
        self._thread = threading.Thread(
            target=self._fill, args=(file, start, piece_size), daemon=True
        )
        self._thread.start()

    def _fill(self, file: io.FileIO, start: int, piece_size: int) -> None:
        position = start
        try:
            # The kernel then reads further ahead, as for `cp`; some systems have no such call.
            with contextlib.suppress(OSError, AttributeError):
                os.posix_fadvise(file.fileno(), start, self._end - start, os.POSIX_FADV_SEQUENTIAL)
            file.seek(start)
            while position < self._end:
                buffer = self._free.get()
                if self._is_over:
                    break
                # None reaches over the end of a piece.
                left = piece_size - (position - start) % piece_size
                count = file.readinto(buffer[: min(left, self._end - position)]) or 0
                self._full.put(buffer[:count])
                if not count:
                    break
                position += count
        except BaseException as exc:  # noqa: BLE001 - raised where the bytes are awaited
            self._full.put(exc)

    def is_at(self, position: int) -> bool:
        """Tell whether these are the bytes that come next."""
        return self._position == position < self._end

    def read(self, length: int) -> Iterator[memoryview]:
        """Yield the next bytes, of one piece; an empty view is the file's end."""
        while length:
            view = self._full.get()
            if isinstance(view, BaseException):
                raise view
            self._position += len(view)
            length -= len(view)
            try:
                yield view
            finally:
                self._free.put(memoryview(view.obj))

    def close(self) -> None:
        """End the thread; one that hangs in a read ends after it, and touches the file no more."""
        self._is_over = True
        self._free.put(memoryview(b""))
        self._thread.join(_HANGING_SECONDS)


def read_now(file: io.FileIO, start: int, length: int) -> Iterator[memoryview]:
    """Yield bytes of a file as they come; an empty view is the file's end."""
    buffer = memoryview(bytearray(length))
    file.seek(start)
    while length:
        count = file.readinto(buffer[:length]) or 0
        length -= count
        yield buffer[:count]
