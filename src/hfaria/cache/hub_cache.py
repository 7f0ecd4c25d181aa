"""A Hugging Face cache as destination: blobs, snapshots, refs, trees."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.cache import records, store
from hfaria.cache.files import (
    clone,
    link,
    stage_name,
    store_errors,
    sync_file,
    sync_folder,
    write_text,
)
from hfaria.rules.layout import CACHEDIR_TAG, RepoLayout, Workspace, pointer_target
from hfaria.rules.plan import View
from hfaria.rules.spec import is_commit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from hfaria.rules.listing import Listing, RemoteFile
    from hfaria.rules.selection import Selection

_ALWAYS_LOCKED_BYTES = 1 << 20


@dataclass(slots=True)
class HubCache:
    """One repo's place in a cache. ``use_symlinks`` says how entries are made.

    ``may_link_hard``: what lies elsewhere on the disk may be had without a copy.

    ``lock_seconds`` bounds the wait for a blob's lock, which huggingface_hub holds for a whole
    download. The lock only saves work: `os.replace` is what keeps readers safe, so that after the
    wait the verified bytes are published all the same.
    """

    layout: RepoLayout
    use_symlinks: bool = True
    may_link_hard: bool = True
    lock_seconds: float = 30.0
    _mode: int | None = field(default=None, init=False)

    @property
    def root(self) -> Path:
        """The cache's folder."""
        return self.layout.cache_dir

    @property
    def workspace(self) -> Workspace:
        """Our folder inside the repo's."""
        return self.layout.workspace

    def snapshot_path(self, commit_hash: str) -> Path:
        """The folder that a reader opens."""
        return self.layout.snapshot(commit_hash)

    def written_folders(self) -> Sequence[Path]:
        """Folders that a pull writes into."""
        repo = self.layout.repo
        return (
            self.layout.pull_lock.parent,
            *(repo / name for name in ("", "blobs", "snapshots", "trees", "refs", ".hfaria")),
        )

    def pull_lock(self) -> Path:
        """The lock that keeps two pulls of this repo from sharing partials."""
        return self.layout.pull_lock

    def read_ref(self, revision: str) -> str | None:
        """Return the commit that ``refs/<revision>`` names."""
        try:
            commit_hash = self.layout.ref(revision).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return commit_hash if is_commit(commit_hash) else None

    def read_listing(self, commit_hash: str) -> Listing | None:
        """Return the tree file's listing."""
        return store.read_listing(self.layout.tree_file(commit_hash), commit_hash)

    # --- seeing ------------------------------------------------------------------------------

    def view(self, files: tuple[RemoteFile, ...], commit_hash: str) -> View:
        """See what the cache holds of ``files``, in this repo and in others."""
        blobs = {
            file.blob_name
            for file in files
            if store.has_size(self.layout.blob(file.blob_name), file.size)
        }
        linked: set[str] = set()
        elsewhere: dict[str, Path] = {}
        for file in files:
            pointer = self.layout.pointer(commit_hash, file.path)
            if self._is_linked(pointer, file, blobs):
                linked.add(file.path)
        missing = {
            file.blob_name: file.size
            for file in files
            if file.path not in linked and file.blob_name not in blobs
        }
        if missing:
            elsewhere = self._in_other_places(missing, commit_hash)
        return View(
            linked=frozenset(linked),
            blobs=frozenset(blobs),
            elsewhere=elsewhere,
            partial_bytes=store.partial_bytes(
                self.workspace, tuple(file for file in files if file.blob_name in missing)
            ),
        )

    def _is_linked(self, pointer: Path, file: RemoteFile, blobs: set[str]) -> bool:
        try:
            target = os.readlink(pointer)  # noqa: PTH115 - the text is what counts
        except OSError:
            # A file where a symlink would be: the cache was made without symlinks, and readers
            # take it as it is.
            return store.has_size(pointer, file.size)
        return file.blob_name in blobs and target.replace("\\", "/") == pointer_target(
            file.path, file.blob_name
        )

    def _in_other_places(self, missing: dict[str, int], commit_hash: str) -> dict[str, Path]:
        found: dict[str, Path] = {}
        with suppress(OSError):
            for folder in sorted(self.root.iterdir()):
                if "--" not in folder.name or folder == self.layout.repo:
                    continue
                with suppress(OSError):
                    names = {path.name for path in (folder / "blobs").iterdir()}
                    for name in missing.keys() & names:
                        blob = folder / "blobs" / name
                        if name not in found and store.has_size(blob, missing[name]):
                            found[name] = blob
        if not self.use_symlinks:
            found.update(self._in_other_snapshots(missing, commit_hash))
        return found

    def _in_other_snapshots(self, missing: dict[str, int], commit_hash: str) -> dict[str, Path]:
        # Without symlinks the snapshots hold the bytes, and only tree files say which are which.
        found: dict[str, Path] = {}
        for path in sorted(self.layout.tree_file(commit_hash).parent.glob("*.json")):
            listing = self.read_listing(path.stem)
            for file in listing.files if listing is not None else ():
                pointer = self.layout.pointer(path.stem, file.path)
                wanted = missing.get(file.blob_name) == file.size
                if wanted and store.has_size(pointer, file.size):
                    found[file.blob_name] = pointer
        return found

    # --- publishing, in the order that is safe at every line ----------------------------------

    def prepare(self, listing: Listing, wish: Selection | None) -> None:
        """Make the repo's folder and store the full listing.

        ``snapshots`` comes first: a repo folder without it is reported as corrupted. The listing
        comes before the first entry: a snapshot without one would be taken for complete.
        """
        with store_errors("preparing the cache at"):
            self.layout.snapshots.mkdir(parents=True, exist_ok=True)
            self.layout.blobs.mkdir(exist_ok=True)
            self.workspace.partials.mkdir(parents=True, exist_ok=True)
            tag = self.layout.cache_dir / "CACHEDIR.TAG"
            if not tag.exists():
                with suppress(OSError):
                    write_text(tag, [CACHEDIR_TAG], staging=self.workspace.staging)
            self._mode = store.default_mode(self.workspace.staging)
            store.write_listing(
                self.layout.tree_file(listing.commit_hash),
                listing,
                staging=self.workspace.staging,
            )
            if wish is not None:
                records.note_wish(self.workspace, listing.commit_hash, wish)

    def publish(
        self,
        staged: Path,
        files: Sequence[RemoteFile],
        commit_hash: str,
        *,
        replace: bool,
        marks: Sequence[str] = (),
    ) -> None:
        """Move verified bytes into ``blobs``, record that they are, and make their entries."""
        place = self._replace(staged, files[0], commit_hash, replace=replace)
        if place is not None:
            with suppress(OSError):
                record = records.record_of(self.layout.repo, place, files[0].blob_name, marks)
                records.append(self.workspace, [record])
        self.link(files, commit_hash)

    def _replace(
        self, staged: Path, file: RemoteFile, commit_hash: str, *, replace: bool
    ) -> Path | None:
        """Move staged bytes to their place and return it; None if another's are there."""
        place = (
            self.layout.blob(file.blob_name)
            if self.use_symlinks
            else self.layout.pointer(commit_hash, file.path)
        )
        with store_errors("publishing to"):
            sync_file(staged)
            if self._mode is not None:
                staged.chmod(self._mode)
            with self._blob_lock(file.blob_name, file.size):
                if self.use_symlinks and not replace and store.has_size(place, file.size):
                    staged.unlink()
                    return None
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(staged, place)  # noqa: PTH105 - the atomic one, by its name
            with suppress(FileNotFoundError):
                staged.unlink()  # replacing one hard link by another of the same file keeps both
        return place

    def stage_copy(self, source: Path, files: Sequence[RemoteFile]) -> Path:  # noqa: ARG002
        """Stage bytes that lie on this disk, by a hard link where that is harmless."""
        staged = stage_name(self.workspace.staging)
        with store_errors("copying"):
            # Without symlinks, entries are files of their own, which users may edit.
            clone(source, staged, hard_link=self.use_symlinks and self.may_link_hard)
        return staged

    def link(self, files: Sequence[RemoteFile], commit_hash: str) -> None:
        """Make the entries of published contents; without symlinks, copies of one of them."""
        staging = self.workspace.staging
        with store_errors("linking"):
            if self.use_symlinks:
                for file in files:
                    link(
                        self.layout.pointer(commit_hash, file.path),
                        pointer_target(file.path, file.blob_name),
                        staging=staging,
                    )
                return
            for same in _by_content(files):
                self._copy_entries(same, commit_hash, staging)

    def _copy_entries(self, same: list[RemoteFile], commit_hash: str, staging: Path) -> None:
        pointers = [self.layout.pointer(commit_hash, file.path) for file in same]
        source = next(
            (
                path
                for path in (*pointers, self.layout.blob(same[0].blob_name))
                if store.has_size(path, same[0].size)
            ),
            None,
        )
        if source is None:
            raise FileNotFoundError(2, "no copy of its content was published", str(pointers[0]))
        for pointer in pointers:
            if pointer == source:
                continue
            staged = stage_name(staging)
            clone(source, staged, hard_link=False)
            pointer.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staged, pointer)  # noqa: PTH105

    @contextmanager
    def _blob_lock(self, blob_name: str, size: int) -> Iterator[None]:
        path = self.layout.blob_lock(blob_name)
        if size < _ALWAYS_LOCKED_BYTES and not path.exists():
            # Nobody holds a lock whose file is not there. Making one for each of thousands of
            # small blobs would take longer than everything else about them.
            yield
            return
        # With a reader of YAML it takes 30 ms to import them, which bytes should not wait for.
        from filelock import Timeout  # noqa: PLC0415
        from huggingface_hub.utils import WeakFileLock  # noqa: PLC0415

        path.parent.mkdir(parents=True, exist_ok=True)
        lock = WeakFileLock(path, timeout=self.lock_seconds)
        try:
            lock.__enter__()
        except Timeout:
            yield
            return
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    def finish(self, commit_hash: str, ref: str | None) -> None:
        """Bring everything to the disk, let the ref name the commit, and tidy up."""
        with store_errors("finishing"):
            if ref is not None and self.read_ref(ref) != commit_hash:
                for folder in (self.layout.blobs, self.layout.snapshot(commit_hash)):
                    sync_folder(folder)
                # Staged outside refs/, where a stray file would be read as a ref. No newline:
                # huggingface_hub takes the whole text as the commit.
                write_text(self.layout.ref(ref), [commit_hash], staging=self.workspace.staging)
            records.compact(self.workspace, records.load(self.workspace).values())
            store.tidy(self.workspace)


def _by_content(files: Iterable[RemoteFile]) -> list[list[RemoteFile]]:
    groups: dict[str, list[RemoteFile]] = {}
    for file in files:
        groups.setdefault(file.blob_name, []).append(file)
    return list(groups.values())
