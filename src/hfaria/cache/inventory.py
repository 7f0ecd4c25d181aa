"""Read what a cache holds. Nothing is changed, and no file of a repo is opened."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hfaria.cache import records, store
from hfaria.rules.inventory import (
    Blob,
    Entry,
    Leftover,
    LeftoverKind,
    RepoOnDisk,
    Snapshot,
    orphans,
)
from hfaria.rules.layout import RepoLayout
from hfaria.rules.listing import is_blob_name
from hfaria.rules.records import FileState
from hfaria.rules.spec import is_commit, parse_folder_name
from hfaria.rules.wishes import wanted_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hfaria.rules.spec import RepoSpec
    from hfaria.rules.wishes import Wishes

_FOREIGN = (".incomplete", ".aria2", ".part", ".tmp")


def read_cache(cache_dir: Path) -> Iterator[RepoOnDisk]:
    """Yield each repo of a cache, in order of name; an absent cache has none."""
    try:
        names = sorted(os.listdir(cache_dir))  # noqa: PTH208 - the names alone
    except OSError:
        return
    for name in names:
        spec = parse_folder_name(name)
        repo = None if spec is None else read_repo(cache_dir, spec)
        if repo is not None:
            yield repo


def read_repo(cache_dir: Path, spec: RepoSpec) -> RepoOnDisk | None:
    """Return what the cache holds of one repo, or None."""
    layout = RepoLayout(cache_dir, spec.folder_name)
    if not layout.repo.is_dir():
        return None
    refs = dict(_refs(layout.refs, ""))
    wishes = records.load_wishes(layout.workspace)
    snapshots = tuple(_snapshots(layout, refs, wishes))
    all_blobs = tuple(_blobs(layout.blobs))
    leftovers = (
        *_foreign(layout),
        *_ours(layout),
        *_orphans(layout, all_blobs, snapshots),
        *_broken(layout, all_blobs, snapshots),
    )
    return RepoOnDisk(
        spec=spec,
        folder=layout.repo,
        refs=refs,
        blobs=tuple(blob for blob in all_blobs if is_blob_name(blob.name)),
        snapshots=snapshots,
        records=records.load(layout.workspace),
        leftovers=tuple(leftovers),
    )


def _refs(folder: Path, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in _scan(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _refs(Path(entry.path), f"{prefix}{entry.name}/")
            continue
        with suppress(OSError, UnicodeDecodeError):
            commit = Path(entry.path).read_text(encoding="utf-8").strip()
            if is_commit(commit):
                yield f"{prefix}{entry.name}", commit


def _snapshots(layout: RepoLayout, refs: Mapping[str, str], wishes: Wishes) -> Iterator[Snapshot]:
    for folder in _scan(layout.snapshots):
        if not is_commit(folder.name) or not folder.is_dir():
            continue
        listing = store.read_listing(layout.tree_file(folder.name), folder.name)
        yield Snapshot(
            commit_hash=folder.name,
            refs=tuple(sorted(name for name, commit in refs.items() if commit == folder.name)),
            entries={entry.path: entry for entry in _entries(Path(folder.path), "")},
            listing=listing,
            wanted=None if listing is None else wanted_paths(wishes, listing),
            is_asked=folder.name in wishes,
        )


def _entries(folder: Path, prefix: str) -> Iterator[Entry]:
    for entry in _scan(folder):
        path = f"{prefix}{entry.name}"
        if entry.is_symlink():
            target = os.readlink(entry.path).replace("\\", "/")  # noqa: PTH115 - the text counts
            parent, _, name = target.rpartition("/")
            leads_to_blob = parent.rpartition("/")[2] == "blobs" and is_blob_name(name)
            state, device = _state(entry)
            yield Entry(path, name if leads_to_blob else None, state, device)
        elif entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), f"{path}/")
        else:
            yield Entry(path, None, *_state(entry))


def _blobs(folder: Path) -> Iterator[Blob]:
    for entry in _scan(folder):
        if not entry.is_dir():
            yield Blob(entry.name, *_state(entry))


def _state(entry: os.DirEntry[str]) -> tuple[FileState | None, int]:
    try:
        status = entry.stat()
    except OSError:
        return None, 0
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino), status.st_dev


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


# --- what no reader needs -------------------------------------------------------------------------


def _foreign(layout: RepoLayout) -> Iterator[Leftover]:
    for entry in _scan(layout.blobs):
        if entry.name.endswith(_FOREIGN) and not entry.is_dir():
            yield Leftover(LeftoverKind.FOREIGN, Path(entry.path), _disk_size(Path(entry.path)))


def _ours(layout: RepoLayout) -> Iterator[Leftover]:
    workspace = layout.workspace
    for folder, kind in (
        (workspace.partials, LeftoverKind.PARTIAL),
        (workspace.staging, LeftoverKind.STAGED),
        (workspace.quarantine, LeftoverKind.QUARANTINE),
        (workspace.mending, LeftoverKind.QUARANTINE),
    ):
        for entry in _scan(folder):
            path = Path(entry.path)
            yield Leftover(kind, path, _disk_size(path))


def _orphans(
    layout: RepoLayout, blobs: tuple[Blob, ...], snapshots: tuple[Snapshot, ...]
) -> Iterator[Leftover]:
    for blob in orphans(blobs, snapshots):
        size = 0 if blob.state is None else blob.state.size
        yield Leftover(LeftoverKind.ORPHAN, layout.blob(blob.name), size)


def _broken(
    layout: RepoLayout, blobs: tuple[Blob, ...], snapshots: tuple[Snapshot, ...]
) -> Iterator[Leftover]:
    unused = {blob.name for blob in orphans(blobs, snapshots)}
    for blob in blobs:
        if blob.state is None and blob.name not in unused:
            yield Leftover(LeftoverKind.BROKEN, layout.blob(blob.name), 0)
    for snapshot in snapshots:
        for entry in snapshot.entries.values():
            if entry.state is None:
                path = layout.pointer(snapshot.commit_hash, entry.path)
                yield Leftover(LeftoverKind.BROKEN, path, 0)


def _disk_size(path: Path) -> int:
    """Return what a file takes on the disk: a partial is as long as the whole, with holes."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    blocks = getattr(status, "st_blocks", None)  # of 512 bytes, by POSIX; not on Windows
    return status.st_size if blocks is None else min(blocks * 512, status.st_size)
