"""Bring in small contents, many with one flush of the disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hfaria.bundle.importer.folders import write_all
from hfaria.bundle.importer.reading import BadPiece, StickGone
from hfaria.bundle.importer.taking import take_from_elsewhere
from hfaria.bundle.importer.work import Import, Want, are_right, digests_for, wrong_etag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.bundle.importer.store import RepoStore

SMALL_BYTES = 1 << 20  # smaller contents are brought in many at a time
BATCH_BYTES = 32 << 20
BATCH_FILES = 500


def copy_batch(work: Import, store: RepoStore, wants: Sequence[Want]) -> list[Want]:
    """Bring in small contents, many with one flush of the disk; return those left."""
    staged: list[tuple[str, Want]] = []
    size, left = 0, list(wants)
    while left and len(staged) < BATCH_FILES and size < BATCH_BYTES and not work.is_over():
        want = left.pop(0)
        is_here = store.has(want.etag, want.size) and not work.options.rehash
        if is_here or take_from_elsewhere(work, store, want):
            work.console.step(want.size)
            continue
        content = _read_small(work, want)
        if content is None:
            continue
        name = f"{want.sha256}.small"
        store.staged().unlink(name)
        with store.staged().open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            write_all(file, memoryview(content))
            if not hasattr(os, "sync"):
                os.fsync(file.fileno())
        staged.append((name, want))
        size += want.size
        work.console.step(want.size)
    if staged and hasattr(os, "sync"):
        os.sync()
    for name, want in staged:
        _publish_small(work, store, name, want)
    return left


def _publish_small(work: Import, store: RepoStore, name: str, want: Want) -> None:
    # Making a lock file for each of thousands of small blobs would take longer than they do;
    # nobody holds one that is not there.
    lock = work.cache.lock(store.repo.folder, f"{want.etag}.lock")
    is_locked = work.cache.lock_exists(store.repo.folder, f"{want.etag}.lock") and lock.take()
    store.staged().replace(name, store.destination(), want.etag)
    if is_locked:
        lock.release()
    work.note(store, want)


def _read_small(work: Import, want: Want) -> bytes | None:
    """Return a content of one piece, verified; None if no stick has it whole and right."""
    if want.sha256 not in work.sources:
        return None
    for bag, held in work.sources[want.sha256]:
        content = bytearray()
        try:
            for view in bag.read_piece(held, 0, work.bundle.piece_size):
                content += view
        except BadPiece:
            continue
        except StickGone as exc:
            work.gone = (bag, str(exc))
            return None
        digests = digests_for(want)
        for digest in digests:
            digest.update(content)
        if are_right(digests[:1], want):
            if not are_right(digests, want):
                raise wrong_etag(want)
            return bytes(content)
    work.bad[want.sha256] = {0}
    return None
