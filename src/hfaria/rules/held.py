"""Hold what is in the cache to a lock: only what is locked counts, and all of it must be there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hfaria.errors import HfariaError
from hfaria.rules.findings import Finding, Trouble
from hfaria.rules.inventory import RepoOnDisk, Snapshot
from hfaria.rules.listing import Listing, RemoteFile, is_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hfaria.rules.inventory import Entry
    from hfaria.rules.lock import LockedRepo


def hold_to_lock(
    repo: RepoOnDisk | None, locked: Sequence[LockedRepo], *, cache_dir: Path
) -> tuple[RepoOnDisk, tuple[Finding, ...]]:
    """Return what is left of a repo when only locked commits and files count, and what is amiss.

    ``locked`` are all of the same repo. What is stored as the listing of a locked commit has to be
    the one that was locked: everything else is compared with it.
    """
    if repo is None:
        spec = locked[0].spec
        repo = RepoOnDisk(spec, cache_dir / spec.folder_name, {}, (), (), {})
    known = {snapshot.commit_hash: snapshot for snapshot in repo.snapshots}
    held: dict[str, Snapshot] = {}
    findings: list[Finding] = []
    for each in locked:
        snapshot = _with_listing(each, known.get(each.commit_hash))
        findings += _amiss(each, snapshot)
        if snapshot is not None and snapshot.listing is not None:
            wanted = _paths(each, snapshot)
            before = held.get(each.commit_hash)
            if before is not None and before.wanted is not None:
                wanted |= before.wanted
            held[each.commit_hash] = replace(snapshot, wanted=wanted, is_asked=True)
    needed = {file.blob_name for snapshot in held.values() for file in snapshot.expected}
    return (
        replace(
            repo,
            snapshots=tuple(_only_wanted(snapshot) for snapshot in held.values()),
            blobs=tuple(blob for blob in repo.blobs if blob.name in needed),
            leftovers=(),
        ),
        tuple(findings),
    )


def listing_as_locked(locked: LockedRepo, entries: Mapping[str, Entry]) -> Listing | None:
    """Return a listing made of a snapshot's entries, if that is the one that was locked.

    A part of a repo that came by a bundle has no listing, and needs none: names, sizes and blob
    names that give the locked digest are those that were listed.
    """
    files = tuple(
        RemoteFile(
            path,
            entry.state.size,
            git_oid=entry.blob_name,
            sha256=entry.blob_name if is_sha256(entry.blob_name) else None,
        )
        for path, entry in sorted(entries.items())
        if entry.blob_name is not None and entry.state is not None
    )
    listing = Listing(locked.commit_hash, files)
    try:
        locked.check(locked.selection.apply(listing), listed_by="the cache")
    except HfariaError:
        return None
    return listing


def _with_listing(locked: LockedRepo, snapshot: Snapshot | None) -> Snapshot | None:
    if snapshot is None or snapshot.listing is not None:
        return snapshot
    return replace(snapshot, listing=listing_as_locked(locked, snapshot.entries))


def _amiss(locked: LockedRepo, snapshot: Snapshot | None) -> Iterator[Finding]:
    commit = locked.commit_hash
    tree = f"trees/{commit}.json"
    if snapshot is None:
        files = f"{locked.files} files"
        yield Finding(Trouble.MISSING, commit, files, "the locked commit is not in the cache")
    elif snapshot.listing is None:
        yield Finding(Trouble.MISSING, commit, tree, "no listing of the locked commit is stored")
    else:
        try:
            locked.check(locked.selection.apply(snapshot.listing), listed_by="the cache")
        except HfariaError as exc:
            yield Finding(Trouble.MISMATCHED, commit, tree, exc.message)


def _paths(locked: LockedRepo, snapshot: Snapshot) -> frozenset[str]:
    if snapshot.listing is None:
        return frozenset()
    try:
        return frozenset(file.path for file in locked.selection.apply(snapshot.listing))
    except HfariaError:
        return frozenset()  # the listing is another, which is told


def _only_wanted(snapshot: Snapshot) -> Snapshot:
    """Leave out entries that are in the listing and not locked: another pull wanted them."""
    listed = {file.path for file in snapshot.listing.files} if snapshot.listing else set()
    spare = listed - (snapshot.wanted or listed)
    entries = {path: entry for path, entry in snapshot.entries.items() if path not in spare}
    return replace(snapshot, entries=entries)
