"""Hash a file against its blob name: sha256 for LFS content, git's blob sha1 for the rest.

On the way, marks are taken: what the digest is of all bytes up to some place. They cost nothing,
and later tell where a file that is wrong begins to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.rules.hasher import Hasher
from hfaria.rules.records import MARK_SPACING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PIECE = 1 << 20  # a divisor of MARK_SPACING


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
