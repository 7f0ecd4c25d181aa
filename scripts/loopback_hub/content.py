"""Contents of files: bytes, a file on disk, or generated ones that cost no memory."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POOL_SIZE = 8 << 20
_BLOCK = 64 << 10
_STAMP = 16
_READ = 1 << 20


class Content(ABC):
    """Bytes of a known size that can be read at any offset; its digests are computed once."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Length in bytes."""

    @abstractmethod
    def read(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start``."""

    def chunks(self, chunk_size: int = _READ) -> Iterator[bytes]:
        """Read it all, in order."""
        for start in range(0, self.size, chunk_size):
            yield self.read(start, min(chunk_size, self.size - start))

    def whole(self) -> bytes:
        """Return all bytes at once."""
        return self.read(0, self.size)

    @cached_property
    def sha256(self) -> str:
        """Digest of the content, which is also the oid of an LFS file."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    @cached_property
    def git_oid(self) -> str:
        """Id git gives the content as a blob."""
        digest = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class BytesContent(Content):
    """Content held in memory."""

    body: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.body)

    def read(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start``."""
        return self.body[start : start + length]


@dataclass(frozen=True, eq=False)
class DiskContent(Content):
    """Content of a file on disk, which must not change."""

    path: Path

    @cached_property
    def size(self) -> int:
        """Length in bytes."""
        return self.path.stat().st_size

    def read(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start``."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            return file.read(length) or b""


@dataclass(frozen=True)
class Generated(Content):
    """Incompressible content made up from ``seed``, the same on every machine.

    Each block is a slice of one pool of noise, stamped with the seed and the block's number:
    producing it is a copy, and bytes put at a wrong offset never match.
    """

    seed: int
    length: int

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.length

    def read(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start``."""
        end = min(start + length, self.length)
        parts: list[bytes | memoryview] = []
        while start < end:
            number, offset = divmod(start, _BLOCK)
            upto = min(_BLOCK, offset + end - start)
            noise = (number * 2654435761 + self.seed * 40503) % (_POOL_SIZE - _BLOCK)
            if offset < _STAMP:
                stamp = hashlib.blake2b(b"%d:%d" % (self.seed, number), digest_size=_STAMP)
                parts.append(stamp.digest()[offset:upto])
            if upto > _STAMP:
                parts.append(_pool()[noise + max(offset, _STAMP) : noise + upto])
            start += upto - offset
        return b"".join(parts)

    @cached_property
    def sha256(self) -> str:
        """Digest of the content, shared by all contents of the same seed and size."""
        return _generated_sha256(self.seed, self.length)


@dataclass(frozen=True, eq=False)
class Flipped(Content):
    """A content with the byte at offset ``at`` inverted."""

    original: Content
    at: int

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.original.size

    def read(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start``."""
        chunk = self.original.read(start, length)
        offset = self.at - start
        if not 0 <= offset < len(chunk):
            return chunk
        return chunk[:offset] + bytes([chunk[offset] ^ 0xFF]) + chunk[offset + 1 :]


def as_content(content: Content | bytes | str | Path) -> Content:
    """Wrap bytes, text or a path of a file on disk."""
    if isinstance(content, Content):
        return content
    if isinstance(content, str):
        return BytesContent(content.encode())
    if isinstance(content, bytes):
        return BytesContent(content)
    return DiskContent(content)


@lru_cache(maxsize=1)
def _pool() -> memoryview:
    return memoryview(hashlib.shake_128(b"loopback hub").digest(_POOL_SIZE))


@lru_cache(maxsize=4096)
def _generated_sha256(seed: int, length: int) -> str:
    digest = hashlib.sha256()
    for chunk in Generated(seed, length).chunks():
        digest.update(chunk)
    return digest.hexdigest()
