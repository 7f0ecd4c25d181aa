"""The digest of a growing prefix, in the algorithm that a blob's name is written in."""

from __future__ import annotations

import hashlib
from typing import Any

from hfaria.rules.records import MARK_LENGTH

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
