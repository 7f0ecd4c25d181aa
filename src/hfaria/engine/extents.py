"""What the filesystem knows about a partial: which of its bytes were ever written.

A partial is sparse, so a range that never arrived is a hole. That knowledge survives the engine's
death, and is newer than its control file.
"""

from __future__ import annotations

import errno
import os
import tempfile
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

from hfaria.rules.control_file import BLOCK_LENGTH, Range, covered, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_PAGE = 4096
_ZERO_PAGE = bytes(_PAGE)
_READ_LENGTH = 64 * BLOCK_LENGTH
_MIB = 1024 * 1024

# Appending at several places, in this order, shows the filesystems that reserve ahead of a writer
# (XFS), keep large pages (tmpfs, huge=always) or large records (ZFS): they report more than that.
_PROBE_WRITES: tuple[Range, ...] = (
    (0, BLOCK_LENGTH),
    *((at, at + BLOCK_LENGTH) for at in range(8 * _MIB, 9 * _MIB, BLOCK_LENGTH)),
    (40 * _MIB, 40 * _MIB + BLOCK_LENGTH),
    (20 * _MIB, 20 * _MIB + 100),
    (60 * _MIB, 60 * _MIB + 100),
)


def holes_are_reported(folder: Path) -> bool:
    """Tell whether ``folder``'s filesystem reports never-written ranges as holes, block by block.

    Probed once per filesystem, with an unnamed file.
    """
    return _holes_are_reported(folder.stat().st_dev, _Folder(folder))


def data_extents(path: Path) -> tuple[Range, ...]:
    """Return the written ranges of ``path``, as far as its filesystem tells them apart."""
    with path.open("rb") as file:
        return _data_extents(file)


def surely_written(
    path: Path, ranges: Iterable[Range], *, may_end_short: Callable[[int], bool]
) -> tuple[Range, ...]:
    """Return the blocks of ``ranges`` whose content shows that they were written to their end.

    Extents count whole pages, while a writer stops anywhere. Two things are therefore given up, at
    the price of fetching a block again: a block with a page of zeros, and, where ``may_end_short``
    says that another writer may have started right behind it, a block that ends in a zero.
    """
    found: list[Range] = []
    with path.open("rb") as file:
        for start, end in ranges:
            file.seek(start)
            for chunk_start in range(start, end, _READ_LENGTH):
                chunk = memoryview(file.read(min(_READ_LENGTH, end - chunk_start)))
                for offset in range(0, len(chunk), BLOCK_LENGTH):
                    block = chunk[offset : offset + BLOCK_LENGTH]
                    block_end = chunk_start + offset + len(block)
                    if _has_zero_page(block) or (may_end_short(block_end) and not block[-1]):
                        continue
                    found.append((chunk_start + offset, block_end))
    return merge(found)


def _has_zero_page(block: memoryview) -> bool:
    return any(
        page == _ZERO_PAGE[: len(page)]
        for page in (block[at : at + _PAGE] for at in range(0, len(block), _PAGE))
    )


class _Folder:
    """A folder to probe in, equal to every other: the cache's key is the filesystem."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Folder)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=64)
def _holes_are_reported(_device: int, folder: _Folder) -> bool:
    if not hasattr(os, "SEEK_HOLE"):
        return False
    with tempfile.TemporaryFile(dir=folder.path, buffering=0) as file:
        for start, end in _PROBE_WRITES:
            file.seek(start)
            file.write(b"\x5a" * (end - start))
        reported = _data_extents(file)
    written = merge(_PROBE_WRITES)
    whole_blocks = merge((start, -(-end // BLOCK_LENGTH) * BLOCK_LENGTH) for start, end in written)
    inside = merge([*whole_blocks, *reported]) == whole_blocks
    return inside and covered(merge([*written, *reported])) == covered(reported)


def _data_extents(file: BinaryIO | tempfile._TemporaryFileWrapper[bytes]) -> tuple[Range, ...]:
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    if not hasattr(os, "SEEK_HOLE"):
        return ((0, size),) if size else ()
    found: list[Range] = []
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # only a hole is left
                break
            raise
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        found.append((start, position))
    return merge(found)
