"""Bring in what a repo lacks, largest first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.batches import SMALL_BYTES, copy_batch
from hfaria.bundle.importer.partials import Partial
from hfaria.bundle.importer.pieces import copy_pieces, drop_wrong, offers_of, share_blocks
from hfaria.bundle.importer.taking import take_from_elsewhere, take_whole
from hfaria.bundle.importer.work import (
    LOCK_PATIENCE_SECONDS,
    Import,
    Want,
    are_right,
    digests_for,
    wrong_etag,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.bundle.importer.bags import Bag
    from hfaria.bundle.importer.store import RepoStore
    from hfaria.bundle.importer.values import Range


def copy_contents(work: Import, store: RepoStore, wants: Sequence[Want]) -> None:
    """Bring in what a repo lacks, largest first; another process may be at the same."""
    here = [
        want
        for want in wants
        if want.sha256 in work.sources or work.found_elsewhere(want) is not None
    ]
    work.console.start(store.repo.label, sum(want.size for want in here))
    small_bytes = min(SMALL_BYTES, work.bundle.piece_size)
    large = [want for want in here if want.size > small_bytes]
    waiting_since: float | None = None
    while large and not work.is_over():
        busy = [want for want in large if not _copy_locked(work, store, want)]
        if len(busy) == len(large):
            waiting_since = _wait(work, busy[0], waiting_since)
            if waiting_since is None:
                break
        large = busy
    small = [want for want in here if want.size <= small_bytes]
    lock = work.repo_lock(store)
    try:
        while small and not work.is_over():
            small = copy_batch(work, store, small)
    finally:
        lock.release()
    work.console.end()


def _wait(work: Import, want: Want, since: float | None) -> float | None:
    """Wait a moment for who holds a blob's lock; None when patience is over."""
    if since is None:
        work.console.say(f"waiting for another process that writes blob {want.etag[:12]}")
    time.sleep(0.1)
    since = time.monotonic() if since is None else since
    return since if time.monotonic() - since < LOCK_PATIENCE_SECONDS else None


def _copy_locked(work: Import, store: RepoStore, want: Want) -> bool:
    """Bring in one content under its lock; False if another process holds that."""
    if work.is_over():
        return True
    lock = work.cache.lock(store.repo.folder, f"{want.etag}.lock")
    if not lock.take():
        return False
    try:
        if not store.has(want.etag, want.size) or work.options.rehash:
            _copy_one(work, store, want)
        else:
            work.console.step(want.size)
    finally:
        lock.release()
    return True


def _copy_one(work: Import, store: RepoStore, want: Want) -> None:
    if take_from_elsewhere(work, store, want) or want.sha256 not in work.sources:
        return
    if work.options.mode in ("move", "link") and take_whole(work, store, want):
        return
    partial = Partial(store.staged(), want.sha256, want.size, work.bundle.piece_size)
    try:
        partial.reserve_space(work.cache.filesystem.kind)
        share_blocks(work, partial, want)
        work.console.step(partial.bytes_held)
        offers = offers_of(work, want)
        digest = copy_pieces(work, partial, want, offers)
        _finish(work, store, partial, want, digest=digest, offers=offers)
    finally:
        partial.close()


def _finish(
    work: Import,
    store: RepoStore,
    partial: Partial,
    want: Want,
    *,
    digest: Any,
    offers: dict[int, list[tuple[Bag, Range]]],
) -> None:
    """Publish what is whole and right; keep what is not for the next stick."""
    if not partial.is_full:
        return
    digests = digests_for(want)
    unfed = list(digests)
    if digest is not None:
        digests[0], unfed = digest, unfed[1:]
    if unfed:
        partial.feed(unfed)
    if not are_right(digests[:1], want):
        drop_wrong(work, partial, want, offers)
        return
    if not are_right(digests, want):
        partial.discard()
        raise wrong_etag(want)
    partial.publish(store.destination(), want.etag)
    work.note(store, want)
