"""Hash a file against its blob name: sha256 for LFS content, git's blob sha1 for the rest.

On the way, marks are taken: what the digest is of all bytes up to some place. They cost nothing,
and later tell where a file that is wrong begins to be.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from hfaria.rules.records import MARK_LENGTH, MARK_SPACING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PIECE = 1 << 20  # a divisor of MARK_SPACING
_SHA256_LENGTH = 64


class Hasher:
    """The digest of a growing prefix of a file."""

    def __init__(self, blob_name: str, size: int, state: Any = None) -> None:  # noqa: ANN401 - hashlib names no type for its states
        self._blob_name = blob_name
        self._size = size
        self._state = _new_state(blob_name, size) if state is None else state

    def update(self, content: bytes | memoryview) -> None:
        """Take in the bytes that follow."""
        self._state.update(content)

    def copy(self) -> Hasher:
        """Return one that goes on from here."""
        return Hasher(self._blob_name, self._size, self._state.copy())

    def digest(self) -> str:
        """Return the digest of the bytes so far, in full."""
        hexadecimal: str = self._state.hexdigest()
        return hexadecimal

    def mark(self) -> str:
        """Return as much of the digest as a mark holds."""
        return self.digest()[:MARK_LENGTH]


def _new_state(blob_name: str, size: int) -> Any:  # noqa: ANN401
    if len(blob_name) == _SHA256_LENGTH:
        return hashlib.sha256()
    state = hashlib.sha1(usedforsecurity=False)  # git's choice, not ours
    state.update(b"blob %d\0" % size)
    return state


def file_digest(
    path: Path,
    *,
    blob_name: str,
    is_cancelled: Callable[[], bool] = lambda: False,
    on_bytes: Callable[[int], None] = lambda _: None,
    marks: list[str] | None = None,
) -> str:
    """Return the digest of the file's content in the algorithm that ``blob_name`` is written in.

    hashlib lets other threads run meanwhile. ``on_bytes`` gets the length of each piece, and
    ``marks`` is filled. Raises `OSError`, and `InterruptedError` when ``is_cancelled`` turns true.
    """
    with path.open("rb", buffering=0) as file:
        hasher = Hasher(blob_name, path.stat().st_size)
        buffer = bytearray(_PIECE)
        window = memoryview(buffer)
        done = 0
        # Each read ends at a mark at the latest, also after one that brought less than asked for.
        while count := file.readinto(window[: min(_PIECE, MARK_SPACING - done % MARK_SPACING)]):
            if is_cancelled():
                raise InterruptedError(f"hashing of {path.name} was cancelled")
            hasher.update(window[:count])
            done += count
            if marks is not None and done % MARK_SPACING == 0:
                marks.append(hasher.mark())
            on_bytes(count)
    return hasher.digest()
