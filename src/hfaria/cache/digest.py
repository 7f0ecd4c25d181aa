"""Hash a file against its blob name: sha256 for LFS content, git's blob sha1 for the rest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PIECE = 1 << 20
_SHA256_LENGTH = 64


def file_digest(
    path: Path, *, blob_name: str, is_cancelled: Callable[[], bool] = lambda: False
) -> str:
    """Return the digest of the file's content in the algorithm that ``blob_name`` is written in.

    hashlib lets other threads run meanwhile. Raises `OSError`, and `InterruptedError` when
    ``is_cancelled`` turns true.
    """
    with path.open("rb", buffering=0) as file:
        if len(blob_name) == _SHA256_LENGTH:
            state = hashlib.sha256()
        else:
            state = hashlib.sha1(usedforsecurity=False)  # git's choice, not ours
            state.update(b"blob %d\0" % path.stat().st_size)
        buffer = bytearray(_PIECE)
        window = memoryview(buffer)
        while count := file.readinto(buffer):
            if is_cancelled():
                raise InterruptedError(f"hashing of {path.name} was cancelled")
            state.update(window[:count])
    return state.hexdigest()
