"""One repo's folder in the cache: what of a bundle is there."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from hfaria.bundle.importer.errors import DESTINATION, INTEGRITY, BundleError, shown
from hfaria.bundle.importer.folders import Folder, digest_file, is_link
from hfaria.bundle.importer.format import piece_count
from hfaria.bundle.importer.hub_format import STAGING, pointer_text
from hfaria.bundle.importer.partials import read_note

if TYPE_CHECKING:
    from hfaria.bundle.importer.cache import Cache
    from hfaria.bundle.importer.values import FileEntry, Repo, Revision
    from hfaria.bundle.importer.work import Want


class RepoStore:
    """One repo's folder in the cache, and those in it: what is there, and what waits there."""

    def __init__(self, cache: Cache, repo: Repo, *, make: bool) -> None:
        self.cache = cache
        self.repo = repo
        self.folder = cache.repo(repo.folder, make=make)
        self.blobs = self._child("blobs", make=make)
        self.snapshots = self._child("snapshots", make=make)
        self.staging = self._child(STAGING, make=make, mode=0o700)
        self.ready = None if self.staging is None else self._ready(self.staging, make=make)
        self._last: tuple[str, Folder] | None = None

    def __enter__(self) -> RepoStore:  # noqa: PYI034 - typing.Self is of 3.11
        return self

    def __exit__(self, *exc: object) -> None:
        last = None if self._last is None else self._last[1]
        for folder in (self.folder, self.blobs, self.snapshots, self.staging, self.ready, last):
            if folder is not None:
                folder.close()

    def _child(self, name: str, *, make: bool, mode: int = 0o777) -> Folder | None:
        if self.folder is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            folder = self.folder.made(name, mode) if make else self.folder.child(name)
            is_ours = not self.cache.filesystem.has_modes or folder.is_private
            if mode == 0o700 and not is_ours:
                raise BundleError(
                    "E-CACHE",
                    DESTINATION,
                    f"{self.folder.named(name)} is another user's, or open to others",
                    "let that user finish the import, or remove the folder",
                )
            return folder
        return None

    def _ready(self, staging: Folder, *, make: bool) -> Folder | None:
        """Verified files that wait for their snapshot, where snapshots hold files, not links."""
        if make and not self.cache.filesystem.has_symlinks:
            return staging.made("ready")
        with contextlib.suppress(FileNotFoundError):
            return staging.child("ready")
        return None

    def has(self, etag: str, size: int) -> bool:
        """Tell whether a content is here, ready to be placed in snapshots."""
        if self.ready is not None and self.ready.plain_size(etag) == size:
            return True
        found = None if self.blobs is None else self.cache.blob(self.repo.folder, self.blobs, etag)
        return found is not None and found[1] == size

    def is_here(self, commit: str, file: FileEntry, *, rehash_below: int = 0) -> bool:
        """Tell whether a file is in its snapshot, or could be put there without a stick."""
        return (
            self.is_placed(commit, file, rehash_below)
            or self.has(file.etag, file.size)
            or self.is_staged(commit, file)
        )

    def is_staged(self, commit: str, file: FileEntry) -> bool:
        """Tell whether a run that was cut off moved a file into a snapshot not yet visible."""
        names = file.path.split("/")
        if self.staging is None or self.snapshots is None or self.snapshots.status(commit):
            return False
        with contextlib.suppress(FileNotFoundError), self.staging.descend(
            [commit, *names[:-1]]
        ) as folder:
            return folder.plain_size(names[-1]) == file.size
        return False

    def is_placed(self, commit: str, file: FileEntry, rehash_below: int = 0) -> bool:
        """Tell whether a snapshot has a file, as a link to its blob or by itself.

        Files that are smaller than `rehash_below` are read. Raises `BundleError` E-CONFLICT if the
        file has other content.
        """
        folder, name = self._folder_of(commit, file)
        status = None if folder is None else folder.status(name)
        if folder is None or status is None:
            return False
        if is_link(status):
            is_same = folder.link_text(name) == pointer_text(file)
            is_whole = is_same and self.has(file.etag, file.size)
        else:
            is_same = is_whole = self.is_same(folder, name, file, rehash_below)
        if not is_same:
            place = f"snapshots/{commit[:8]}/{shown(file.path)[1:-1]}"
            message = f"{place} of {self.repo.label} is not what this commit has in the bundle"
            hint = "one of the two is wrong; nothing of this revision was changed"
            raise BundleError("E-CONFLICT", INTEGRITY, message, hint)
        return is_whole

    def _folder_of(self, commit: str, file: FileEntry) -> tuple[Folder | None, str]:
        """Return the folder of a snapshot's file, if it is there; the last one stays open."""
        at, _, name = f"{commit}/{file.path}".rpartition("/")
        if self._last is None or self._last[0] != at:
            if self._last is not None:
                self._last[1].close()
            self._last = None
            with contextlib.suppress(FileNotFoundError):
                if self.snapshots is not None:
                    self._last = (at, self.snapshots.descend(at.split("/")))
        return (None if self._last is None else self._last[1]), name

    def is_same(self, folder: Folder, name: str, file: FileEntry, rehash_below: int) -> bool:
        """Tell whether a plain file has a size and, below `rehash_below` bytes, a content."""
        if folder.plain_size(name) != file.size:
            return False
        if file.size >= rehash_below:
            return True
        digest = hashlib.sha256()
        with folder.open(name) as opened:
            digest_file(opened, [digest], file.size)
        return digest.hexdigest() == file.sha256

    def staged(self) -> Folder:
        """Return our own folder beside what is published; unseen by cache scanners."""
        if self.folder is None or self.staging is None:
            raise BundleError("E-CACHE", DESTINATION, f"no folder for {self.repo.label}")
        if self.staging.is_removed:  # by an import at the same time, which was done before us
            self.staging = self._child(STAGING, make=True, mode=0o700) or self.staging
            self.ready = self._ready(self.staging, make=True)
        return self.staging

    def destination(self) -> Folder:
        """Return the folder where a verified content is published."""
        folder = self.blobs if self.cache.filesystem.has_symlinks else self.ready
        if folder is None:
            raise BundleError("E-CACHE", DESTINATION, f"no folder for {self.repo.label}")
        return folder

    def staged_bytes(self, want: Want) -> int:
        """Return how much of a content an earlier run has staged."""
        status = None if self.staging is None else self.staging.status(f"{want.sha256}.part")
        if status is None:
            return 0
        # Blocks of 512 bytes, by POSIX: a partial may have holes.
        return min(getattr(status, "st_blocks", status.st_size // 512) * 512, want.size)

    def bytes_missing(self, want: Want, piece_size: int) -> int:
        """Return how much of a content no run has staged yet."""
        pieces = self.pieces_missing(want, piece_size)
        return sum(min(piece_size, want.size - number * piece_size) for number in pieces)

    def pieces_missing(self, want: Want, piece_size: int) -> set[int]:
        """Return the pieces of a content that no run has staged yet."""
        if self.staging is None:
            return set(range(piece_count(want.size, piece_size)))
        held = read_note(self.staging, want.sha256, want.size, piece_size)
        return {number for number, is_held in enumerate(held) if not is_held}

    def is_complete(self, revision: Revision) -> bool:
        """Tell whether a snapshot has all files of a revision."""
        return all(self.is_placed(revision.commit, file) for file in revision.files)
