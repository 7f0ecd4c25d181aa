"""Staged bytes of one content, and the note of which are on the disk."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.canonical import JSON_MOST_BYTES
from hfaria.bundle.importer.filesystem import RESERVES_SPACE
from hfaria.bundle.importer.folders import Folder, digest_file, write_all
from hfaria.bundle.importer.format import piece_count

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTE_BYTES = 64 << 20  # how much is copied between two notes of what is on the disk


def read_note(staging: Folder, sha256: str, size: int, piece_size: int) -> bytearray:
    """Return for each piece of an object whether an earlier run has it on the disk."""
    count = piece_count(size, piece_size)
    text = staging.read(f"{sha256}.pieces", JSON_MOST_BYTES) or b""
    header, _, held = text.partition(b"\n")
    is_ours = header == b"%d %d" % (size, piece_size) and len(held) == count
    if not is_ours or staging.plain_size(f"{sha256}.part") is None:
        return bytearray(count)
    return bytearray(held.translate(bytes(value == ord("1") for value in range(256))))


_AS_TEXT = bytes(value + ord("0") & 255 for value in range(256))


class Partial:
    """Staged bytes of one object, and which of its pieces are there.

    The pieces are noted beside it only after the bytes have reached the disk, so that a power cut
    can't leave a note without its bytes.
    """

    def __init__(self, staging: Folder, sha256: str, size: int, piece_size: int) -> None:
        self._staging = staging
        self._name = f"{sha256}.part"
        self._note = f"{sha256}.pieces"
        self.size = size
        self.piece_size = piece_size
        self.count = piece_count(size, piece_size)
        self.held = read_note(staging, sha256, size, piece_size)
        flags = os.O_RDWR | os.O_CREAT | (0 if any(self.held) else os.O_TRUNC)
        self.file = staging.open(self._name, flags)
        self._unsaved = 0
        self._saving: threading.Thread | None = None
        self._failure: OSError | None = None

    def bounds(self, number: int) -> tuple[int, int]:
        """Return start and length of a piece."""
        start = number * self.piece_size
        return start, min(self.piece_size, self.size - start)

    @property
    def is_full(self) -> bool:
        """Whether each piece is there."""
        return all(self.held)

    @property
    def bytes_held(self) -> int:
        """How much of it is there."""
        return sum(self.bounds(number)[1] for number, held in enumerate(self.held) if held)

    def reserve_space(self, kind: str) -> None:
        """Claim the space at once, so that a full disk shows before hours of copying."""
        if kind in RESERVES_SPACE and self.size and not any(self.held):
            with contextlib.suppress(AttributeError):
                os.posix_fallocate(self.file.fileno(), 0, self.size)

    def write(self, position: int, view: memoryview) -> None:
        """Write bytes of a piece that is not held yet."""
        if self.file.tell() != position:
            self.file.seek(position)
        write_all(self.file, view)
        self._unsaved += len(view)

    def hold(self, number: int) -> None:
        """Count a piece as there; from time to time, note it."""
        self.held[number] = 1
        if self._unsaved >= NOTE_BYTES:
            # Beside the copying: a stick that waits for the disk is a stick that idles.
            self._wait()
            self._unsaved = 0
            self._saving = threading.Thread(target=self._save, args=(bytes(self.held),))
            self._saving.start()

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget pieces that turned out to be wrong."""
        for number in numbers:
            self.held[number] = 0
        self.save()

    def save(self) -> None:
        """Bring the bytes to the disk, then note which there are."""
        self._wait()
        self._unsaved = 0
        self._save(bytes(self.held))
        self._wait()

    def _save(self, held: bytes) -> None:
        note = b"%d %d\n" % (self.size, self.piece_size)
        try:
            os.fsync(self.file.fileno())
            self._staging.write(self._note + ".new", note + held.translate(_AS_TEXT))
            self._staging.replace(self._note + ".new", self._staging, self._note)
        except OSError as exc:
            self._failure = exc

    def _wait(self) -> None:
        """Wait for what is being saved. Raises what the disk said to it."""
        if self._saving is not None:
            self._saving.join()
        self._saving, failure, self._failure = None, self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Keep what is there for the next run."""
        if not self.file.closed:
            try:
                self.save()
            finally:
                self.file.close()

    def feed(self, digests: Sequence[Any], number: int | None = None) -> None:
        """Read a piece, or all of it, back from this machine's disk into digests."""
        start, length = (0, self.size) if number is None else self.bounds(number)
        digest_file(self.file, digests, length, start)

    def publish(self, folder: Folder, name: str) -> None:
        """Give the verified bytes their final name."""
        self._wait()
        os.ftruncate(self.file.fileno(), self.size)
        os.fsync(self.file.fileno())
        self.file.close()
        self._staging.replace(self._name, folder, name)
        self._staging.unlink(self._note)

    def discard(self) -> None:
        """Remove it."""
        self._wait()
        self.file.close()
        self._staging.unlink(self._name)
        self._staging.unlink(self._note)
