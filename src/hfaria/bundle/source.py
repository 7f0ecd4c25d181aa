"""Read contents out of a Hugging Face cache, and never anything from outside of it.

A blob may be a link into huggingface_hub's shared store, so that a snapshot's entry is two hops
from its bytes. Links are resolved first; what they lead to must lie in the cache.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.errors import CorruptCache, NotCached, UnsafeCache
from hfaria.rules.layout import RepoLayout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

READ = 2**20
"""Bytes of one read; larger ones are no faster."""


@dataclass(frozen=True, slots=True)
class Digests:
    """Of one content: the two ways in which a cache names blobs."""

    sha256: str
    git_sha1: str

    def match(self, blob_name: str) -> bool:
        """Tell whether a blob of this content would be named so."""
        return blob_name in {self.sha256, self.git_sha1}


@dataclass(frozen=True, slots=True)
class CacheReader:
    """Finds the bytes of blobs below one cache."""

    cache_dir: Path

    def find(self, folder: str, commit: str, path: str, *, blob_name: str, size: int) -> Path:
        """Return where the bytes of a file are, links resolved.

        Raises `NotCached`, or `UnsafeCache` for what leads out of the cache or is no file.
        """
        layout = RepoLayout(self.cache_dir, folder)
        root = self.cache_dir.resolve()
        for place in (layout.blob(blob_name), layout.pointer(commit, path)):
            try:
                real = place.resolve(strict=True)
                status = real.lstat()
            except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
                continue
            if not real.is_relative_to(root):
                raise UnsafeCache(f"{place.relative_to(self.cache_dir)} leads out of the cache")
            if not stat.S_ISREG(status.st_mode):
                raise UnsafeCache(f"{place.relative_to(self.cache_dir)} is not a file")
            if status.st_size == size:
                return real
        raise NotCached(f"`{path}` of {folder} at {commit[:12]} is not in the cache, or not whole")


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open what `CacheReader.find` returned, refusing what has become of it since."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except OSError as exc:
        raise NotCached(f"`{path.name}` in the cache can't be read: {exc.strerror}") from exc
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnsafeCache(f"{path.name} is not a file")
        yield file


def chunks(file: BinaryIO, length: int) -> Iterator[bytes]:
    """Read ``length`` bytes in order; raises `CorruptCache` where there are fewer."""
    left = length
    while left:
        try:
            chunk = file.read(min(READ, left))
        except OSError as exc:
            raise NotCached(f"the cache can't be read: {exc.strerror}") from exc
        if not chunk:
            raise CorruptCache("a file of the cache became shorter while it was read")
        left -= len(chunk)
        yield chunk


def digests_of(path: Path, size: int) -> Digests:
    """Return both digests of a file."""
    sha256 = hashlib.sha256()
    sha1 = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # git's choice, not ours
    with opened(path) as file:
        for chunk in chunks(file, size):
            sha256.update(chunk)
            sha1.update(chunk)
    return Digests(sha256.hexdigest(), sha1.hexdigest())
