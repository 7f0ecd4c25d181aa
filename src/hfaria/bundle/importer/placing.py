"""Put verified contents where readers of a repo look."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hfaria.bundle.importer.errors import DESTINATION, BundleError, shown
from hfaria.bundle.importer.folders import Folder, copy_file
from hfaria.bundle.importer.format import MOST_INT
from hfaria.bundle.importer.hub_format import STAGING, pointer_text, tree_file
from hfaria.bundle.importer.values import FileEntry, Revision, files_of

if TYPE_CHECKING:
    from hfaria.bundle.importer.store import RepoStore


def place_revision(store: RepoStore, revision: Revision, pending: dict[str, int]) -> None:
    """Make a revision visible: all of it by one rename, or what a snapshot lacks file by file.

    `pending` counts how often each content is still to be placed in this repo.
    """
    if store.snapshots is None or store.staging is None:
        raise BundleError("E-CACHE", DESTINATION, f"no folder for {store.repo.label}")
    if store.snapshots.status(revision.commit) is not None:
        with store.snapshots.child(revision.commit) as folder:
            _fill(store, folder, revision, pending)
            return
    _reclaim(store, revision)
    with store.staging.made(revision.commit) as folder:
        _fill(store, folder, revision, pending)
    try:
        store.staging.rename(revision.commit, store.snapshots, revision.commit)
    except OSError:
        # Somebody made the snapshot meanwhile: what it lacks is added.
        if store.snapshots.status(revision.commit) is None:
            raise
        with store.snapshots.child(revision.commit) as folder:
            _fill(store, folder, revision, pending)


def _reclaim(store: RepoStore, revision: Revision) -> None:
    """Take a half-made snapshot apart: whatever bundle began it is not this one's word."""
    if store.staging is None or store.staging.status(revision.commit) is None:
        return
    for file in revision.files if store.ready is not None else ():
        if store.is_staged(revision.commit, file):
            names = [revision.commit, *file.path.split("/")]
            with store.staging.descend(names[:-1]) as folder:
                if store.is_same(folder, names[-1], file, MOST_INT) and store.ready:
                    folder.replace(names[-1], store.ready, file.etag)
    store.staging.remove(revision.commit)


def _fill(store: RepoStore, folder: Folder, revision: Revision, pending: dict[str, int]) -> None:
    at, parent = "", folder.descend([])
    try:
        for file in revision.files:
            above, _, name = file.path.rpartition("/")
            if above != at:
                parent.close()
                at, parent = above, folder.descend(above.split("/") if above else [], make=True)
            if parent.status(name) is None:
                _place_file(store, parent, name, file, pending)
            pending[file.etag] -= 1
    finally:
        parent.close()


def _place_file(
    store: RepoStore, parent: Folder, name: str, file: FileEntry, pending: dict[str, int]
) -> None:
    if store.cache.filesystem.has_symlinks:
        with contextlib.suppress(FileExistsError):
            parent.symlink(pointer_text(file), name)
        return
    source, from_name = _source(store, file)
    if source is store.ready and pending[file.etag] == 1:
        source.replace(from_name, parent, name)
        return
    if store.cache.filesystem.has_hardlinks and source is store.ready:
        source.link(from_name, parent, name)
        return
    copy_file(source, from_name, store.staged(), "copy", file.size)
    store.staged().replace("copy", parent, name)


def _source(store: RepoStore, file: FileEntry) -> tuple[Folder, str]:
    for folder in (store.ready, store.blobs):
        if folder is not None and folder.plain_size(file.etag) == file.size:
            return folder, file.etag
    raise BundleError("E-CACHE", DESTINATION, f"{shown(file.path)} vanished from the cache")


def write_tree(store: RepoStore, revision: Revision) -> None:
    """Store the full listing of a complete revision, unless there is one."""
    if store.folder is None or store.staging is None or not revision.is_complete:
        return
    with store.folder.made("trees") as trees:
        name = f"{revision.commit}.json"
        if trees.status(name) is None:
            store.staging.write("tree", tree_file(revision))
            store.staging.replace("tree", trees, name)


def read_ref(store: RepoStore, name: str) -> str | None:
    """Return what a ref says; None if it is absent."""
    if store.folder is None:
        return None
    names = ["refs", *name.split("/")]
    with contextlib.suppress(FileNotFoundError), store.folder.descend(names[:-1]) as folder:
        content = folder.read(names[-1], 4096)
        return None if content is None else content.decode("ascii", "replace")
    return None


def write_ref(store: RepoStore, name: str, commit: str) -> None:
    """Let a ref name a commit; without a newline, which huggingface_hub would take along."""
    if store.folder is None or store.staging is None:
        return
    names = ["refs", *name.split("/")]
    with store.folder.descend(names[:-1], make=True) as folder:
        store.staging.write("ref", commit.encode("ascii"))
        store.staging.replace("ref", folder, names[-1])
        folder.sync()


def tidy(store: RepoStore) -> None:
    """Remove the staging folder, now that nothing of this repo waits in it."""
    if store.folder is None or store.staging is None:
        return
    # Of other sets' partials nothing is touched.
    ours = {file.sha256 for file in files_of(store.repo)} | {"copy", "tree", "ref"}
    for name in store.staging.names():
        if name.partition(".")[0] in ours:
            store.staging.unlink(name)
        elif name == "ready" or name in store.repo.revisions:
            store.staging.remove(name)
    store.folder.rmdir(STAGING)
