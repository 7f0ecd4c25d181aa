"""A Hugging Face cache that others may be reading and writing at the same time."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from hfaria.bundle.importer.errors import DESTINATION, BundleError
from hfaria.bundle.importer.filesystem import _WINDOWS_NAMED, Filesystem, filesystem_kind
from hfaria.bundle.importer.folders import Folder, is_link
from hfaria.bundle.importer.format import REPO_TYPES
from hfaria.bundle.importer.hub_format import CACHEDIR_TAG, LOCK_FOLDER, SHARED_BLOB, SHARED_MARKER
from hfaria.bundle.importer.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Sequence

STALE_SECONDS = 3600  # what is older, and should have been there for a moment, is nobody's


class Place(NamedTuple):
    """Where else in the cache a content lies: a file `name` below `folders` of the cache."""

    folders: tuple[str, ...]
    name: str


class Cache:
    """A Hugging Face cache that others may be reading and writing at the same time."""

    def __init__(self, path: str, *, make: bool, allow_symlinks: bool) -> None:
        self.path = os.path.abspath(path)
        self.root: Folder | None = None
        if os.path.lexists(self.path) and not os.path.isdir(self.path):
            raise BundleError("E-CACHE", DESTINATION, f"the cache {path} is not a folder")
        if make:
            os.makedirs(self.path, exist_ok=True)
        if os.path.isdir(self.path):
            self.root = Folder.root(self.path, fault=DESTINATION)
        is_posix = os.name != "nt"
        has_links = allow_symlinks and is_posix
        usual = Filesystem("", has_links, is_posix, not is_posix, not is_posix, is_posix)
        self.filesystem = self._probe(allow_symlinks=allow_symlinks) if make else usual
        if make:
            self._tag()
            self._sweep()

    @property
    def locks(self) -> Folder:
        """Folder of lock files; cache scanners skip it, so that what is half made can lie there."""
        return self._root().made(LOCK_FOLDER)

    def _root(self) -> Folder:
        if self.root is None:
            raise BundleError("E-CACHE", DESTINATION, f"there is no cache at {self.path}")
        return self.root

    def _probe(self, *, allow_symlinks: bool) -> Filesystem:
        kind = filesystem_kind(self.path)
        trial = f"hfaria-trial-{secrets.token_hex(4)}-x"
        facts = []
        with self.locks as folder:
            folder.write(trial, b"")
            ignores_case = folder.status(trial[:-1] + "X") is not None
            has_modes = False
            with contextlib.suppress(OSError, AttributeError), folder.open(trial) as file:
                os.fchmod(file.fileno(), 0o600)
                has_modes = stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
            for make in (folder.symlink, lambda old, new: folder.link(old, folder, new)):
                try:
                    make(trial, trial + "-link")
                    facts.append(True)
                # Other than an OSError: the system, or its Python, has no such call.
                except (OSError, NotImplementedError, AttributeError):
                    facts.append(False)
                folder.unlink(trial + "-link")
            folder.unlink(trial)
        has_windows_names = os.name == "nt" or kind in _WINDOWS_NAMED
        has_symlinks = facts[0] and allow_symlinks
        return Filesystem(kind, has_symlinks, facts[1], ignores_case, has_windows_names, has_modes)

    def _tag(self) -> None:
        root = self._root()
        if root.status("CACHEDIR.TAG") is None:
            with contextlib.suppress(OSError), self.locks as folder:
                name = f"hfaria-tag-{secrets.token_hex(4)}"
                folder.write(name, CACHEDIR_TAG)
                folder.replace(name, root, "CACHEDIR.TAG")

    def _sweep(self) -> None:
        """Remove what runs that were killed in a bad moment left beside the locks."""
        with contextlib.suppress(OSError, BundleError), self.locks as folder:
            for name in folder.names():
                status = folder.status(name) if name.startswith("hfaria-") else None
                if status is None or name.endswith(".lock"):
                    continue
                if time.time() - status.st_mtime < STALE_SECONDS:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    with folder.child(name) as new:
                        new.rmdir("snapshots")
                        new.rmdir("blobs")
                    folder.rmdir(name)
                else:
                    folder.unlink(name)

    def repo(self, name: str, *, make: bool) -> Folder | None:
        """Open a repo's folder. One that is made appears with its `snapshots`, for scanners."""
        if self.root is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            return self.root.child(name)
        if not make:
            return None
        new = f"hfaria-new-{secrets.token_hex(4)}"
        with self.locks as locks:
            with locks.made(new) as folder:
                folder.made("snapshots").close()
                folder.made("blobs").close()
            try:
                locks.rename(new, self.root, name)
            except OSError:
                if self.root.status(name) is None:
                    raise
                with locks.child(new) as folder:  # another process was faster
                    folder.rmdir("snapshots")
                    folder.rmdir("blobs")
                locks.rmdir(new)
        return self.root.child(name)

    def lock(self, repo_name: str, name: str) -> Lock:
        """Return a lock of a repo, not yet taken."""
        return Lock(self._root(), (LOCK_FOLDER, repo_name), name)

    def lock_exists(self, repo_name: str, name: str) -> bool:
        """Tell whether anybody ever took that lock."""
        with contextlib.suppress(FileNotFoundError), self._root().descend(
            [LOCK_FOLDER, repo_name]
        ) as folder:
            return folder.status(name) is not None
        return False

    def folder(self, names: Sequence[str]) -> Folder:
        """Open a folder of the cache; the caller closes it."""
        return self._root().descend(names)

    def shared_blob(self, text: str) -> Place | None:
        """Return where a blob's link leads to, if that is huggingface_hub's own shared store."""
        match = SHARED_BLOB.fullmatch(text)
        if match and self.size_at(Place(("blobs",), SHARED_MARKER)) is not None:
            return Place(("blobs", match.group(1)), match.group(2))
        return None

    def size_at(self, place: Place) -> int | None:
        """Return the size of a plain file of the cache, or None."""
        with contextlib.suppress(OSError), self._root().descend(place.folders) as folder:
            return folder.plain_size(place.name)
        return None

    def blob(self, repo_name: str, blobs: Folder, etag: str) -> tuple[Place, int] | None:
        """Return where a blob's bytes really lie, and how many; None if it is missing or dangles.

        Raises `BundleError` for a link that huggingface_hub would not have made.
        """
        status = blobs.status(etag)
        if status is None:
            return None
        if not is_link(status):
            is_file = stat.S_ISREG(status.st_mode)
            return (Place((repo_name, "blobs"), etag), status.st_size) if is_file else None
        place = self.shared_blob(blobs.link_text(etag))
        if place is None:
            raise blobs.refuse(etag, "a link out of the cache")
        size = self.size_at(place)
        return None if size is None else (place, size)

    def repo_names(self) -> list[str]:
        """List the folders of repos."""
        names = [] if self.root is None else self.root.names()
        kinds = tuple(f"{kind}s--" for kind in REPO_TYPES)
        return sorted(name for name in names if name.startswith(kinds))
