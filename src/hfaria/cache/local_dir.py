"""A plain folder as destination, with the records that let `hf download --local-dir` go on.

Form of the records: huggingface_hub 2.4.0's `_local_folder`. One is believed only while the
file's modification time is not later than the time in it, so it is written after the file.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.cache import store
from hfaria.cache.files import clone, stage_name, store_errors, sync_file, write_text
from hfaria.rules.layout import CACHEDIR_TAG, LocalDirLayout, Workspace
from hfaria.rules.plan import View

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hfaria.rules.listing import Listing, RemoteFile
    from hfaria.rules.selection import Selection

_CLOCK_SLACK = 1.0  # seconds; huggingface_hub's own allowance


@dataclass(slots=True)
class LocalDir:
    """A plain folder that holds one repo at one revision."""

    layout: LocalDirLayout
    _mode: int | None = field(default=None, init=False)

    @property
    def root(self) -> Path:
        """The folder."""
        return self.layout.local_dir

    @property
    def workspace(self) -> Workspace:
        """Our folder below huggingface_hub's."""
        return self.layout.workspace

    def snapshot_path(self, commit_hash: str) -> Path:  # noqa: ARG002 - one folder, one revision
        """The folder itself."""
        return self.root

    def written_folders(self) -> Sequence[Path]:
        """Folders that a pull writes into."""
        return (self.root, self.layout.bookkeeping, self.workspace.root)

    def pull_lock(self) -> Path:
        """The lock that keeps two pulls into this folder apart."""
        return self.layout.pull_lock

    def read_ref(self, revision: str) -> str | None:  # noqa: ARG002 - a plain folder has no refs
        """Return None: a plain folder keeps no refs."""
        return None

    def read_listing(self, commit_hash: str) -> Listing | None:
        """Return the tree file's listing."""
        return store.read_listing(self.layout.tree_file(commit_hash), commit_hash)

    def view(self, files: tuple[RemoteFile, ...], commit_hash: str) -> View:
        """See which files are here; one without a believable record is offered for a look."""
        linked: set[str] = set()
        blobs: set[str] = set()
        elsewhere: dict[str, Path] = {}
        for file in files:
            place = self.layout.file(file.path)
            recorded = self._recorded_commit(place, file)
            if recorded == commit_hash:
                linked.add(file.path)
            elif recorded is not None:
                blobs.add(file.blob_name)  # the same content at another commit: see `link`
            elif not place.is_symlink() and store.has_size(place, file.size):
                elsewhere[file.blob_name] = place
        for file in files:
            if file.path in linked:
                elsewhere.setdefault(file.blob_name, self.layout.file(file.path))
        return View(
            linked=frozenset(linked),
            blobs=frozenset(blobs),
            elsewhere=elsewhere,
            partial_bytes=store.partial_bytes(self.workspace, files),
        )

    def _recorded_commit(self, place: Path, file: RemoteFile) -> str | None:
        """Return the commit that a believable record of the wanted content names."""
        try:
            record = self.layout.file_record(file.path).read_text(encoding="utf-8").splitlines()
            status = place.stat()
            commit_hash, etag, written = record[0].strip(), record[1].strip(), float(record[2])
        except (OSError, ValueError, IndexError):
            return None
        is_current = status.st_mtime - _CLOCK_SLACK <= written
        if is_current and status.st_size == file.size and etag == file.blob_name:
            return commit_hash
        return None

    def prepare(self, listing: Listing, wish: Selection | None) -> None:  # noqa: ARG002 - files have records
        """Make the folders and store the full listing."""
        with store_errors("preparing"):
            self.workspace.partials.mkdir(parents=True, exist_ok=True)
            staging = self.workspace.staging
            for name, text in (("CACHEDIR.TAG", CACHEDIR_TAG), (".gitignore", "*")):
                path = self.layout.bookkeeping / name
                if not path.exists():
                    write_text(path, [text], staging=staging)
            self._mode = store.default_mode(staging)
            store.write_listing(
                self.layout.tree_file(listing.commit_hash), listing, staging=staging
            )

    def publish(
        self,
        staged: Path,
        files: Sequence[RemoteFile],
        commit_hash: str,
        *,
        replace: bool,  # noqa: ARG002 - what is in the way is always replaced
        marks: Sequence[str] = (),  # noqa: ARG002 - files of a plain folder are there to be edited
    ) -> None:
        """Move verified bytes to their place, with copies for further places."""
        with store_errors("publishing to"):
            sync_file(staged)
            if self._mode is not None:
                staged.chmod(self._mode)
            copies = []
            for _ in files[1:]:
                copy = stage_name(self.workspace.staging)
                clone(staged, copy, hard_link=False)
                copies.append(copy)
            for source, file in zip([staged, *copies], files, strict=True):
                place = self.layout.file(file.path)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(source, place)  # noqa: PTH105 - the atomic one, by its name
                with suppress(FileNotFoundError):
                    source.unlink()  # replacing a hard link by another of the same file keeps both
                self._record(file, commit_hash)

    def stage_copy(self, source: Path, files: Sequence[RemoteFile]) -> Path:
        """Stage bytes that lie on this disk. Two files of a plain folder never share an inode."""
        staged = stage_name(self.workspace.staging)
        is_in_place = any(source == self.layout.file(file.path) for file in files)
        with store_errors("copying"):
            clone(source, staged, hard_link=is_in_place and len(files) == 1)
        return staged

    def link(self, files: Sequence[RemoteFile], commit_hash: str) -> None:
        """Record files whose content is here for another commit; copy it to further places."""
        with store_errors("recording"):
            sources: dict[str, Path] = {}
            missing: list[RemoteFile] = []
            for file in files:
                place = self.layout.file(file.path)
                if self._recorded_commit(place, file) is None:
                    missing.append(file)
                else:
                    sources.setdefault(file.blob_name, place)
                    self._record(file, commit_hash)
            for file in missing:
                staged = stage_name(self.workspace.staging)
                clone(sources[file.blob_name], staged, hard_link=False)
                place = self.layout.file(file.path)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(staged, place)  # noqa: PTH105
                self._record(file, commit_hash)

    def _record(self, file: RemoteFile, commit_hash: str) -> None:
        text = f"{commit_hash}\n{file.blob_name}\n{time.time()}\n"
        write_text(self.layout.file_record(file.path), [text], staging=self.workspace.staging)

    def finish(self, commit_hash: str, ref: str | None) -> None:  # noqa: ARG002 - keeps no refs
        """Tidy the workspace."""
        store.tidy(self.workspace)
