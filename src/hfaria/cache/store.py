"""What every destination can do, and what cache and plain folder have in common."""

from __future__ import annotations

import shutil
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from hfaria.cache.files import stage_name, write_text
from hfaria.rules import tree_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hfaria.rules.layout import Workspace
    from hfaria.rules.listing import Listing, RemoteFile
    from hfaria.rules.plan import View
    from hfaria.rules.selection import Selection

_TREE_FILES_KEPT_UNREAD = 512 * 2**20


class Store(Protocol):
    """A destination. Paths are of the destination; all methods but `view` may write."""

    @property
    def root(self) -> Path:
        """Folder that the user named."""

    @property
    def workspace(self) -> Workspace:
        """Our own folder, on the filesystem of what is published."""

    def snapshot_path(self, commit_hash: str) -> Path:
        """Folder that a reader opens."""

    def written_folders(self) -> Sequence[Path]:
        """Folders that a pull writes into, for preflight."""

    def pull_lock(self) -> Path:
        """The lock that keeps two pulls from sharing partials."""

    def read_ref(self, revision: str) -> str | None:
        """Return the commit that a revision named when it was last pulled whole."""

    def read_listing(self, commit_hash: str) -> Listing | None:
        """Return the stored listing, if there is one that can be relied on."""

    def view(self, files: tuple[RemoteFile, ...], commit_hash: str) -> View:
        """See what is here of ``files``; changes nothing."""

    def prepare(self, listing: Listing, wish: Selection | None) -> None:
        """Make the folders and store the full listing, before anything is published.

        ``wish`` is the part of it that is asked for, which is remembered.
        """

    def publish(
        self,
        staged: Path,
        files: Sequence[RemoteFile],
        commit_hash: str,
        *,
        replace: bool,
        marks: Sequence[str] = (),
    ) -> None:
        """Make verified bytes visible at all places of one content.

        ``staged`` is moved away, or deleted where another process published the same meanwhile;
        with ``replace`` that other's bytes are replaced. ``marks`` are kept for a later repair.
        """

    def stage_copy(self, source: Path, files: Sequence[RemoteFile]) -> Path:
        """Stage the bytes that ``source`` holds on this disk, to be verified and published."""

    def link(self, files: Sequence[RemoteFile], commit_hash: str) -> None:
        """Make the entries of contents that are published already."""

    def finish(self, commit_hash: str, ref: str | None) -> None:
        """Let ``ref`` name the commit, now that all of it is there, and tidy the workspace."""


def write_listing(path: Path, listing: Listing, *, staging: Path) -> None:
    """Store a listing as a tree file, unless the very same is there."""
    if read_listing(path, listing.commit_hash) == listing:
        return
    write_text(path, tree_file.serialize(listing), staging=staging)


def read_listing(path: Path, commit_hash: str) -> Listing | None:
    """Read a tree file; None if it is absent, unreadable or wrong."""
    try:
        if path.stat().st_size > _TREE_FILES_KEPT_UNREAD:
            return None
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return tree_file.parse(text, commit_hash)


def default_mode(staging: Path) -> int:
    """Return the mode that a new file gets here: umask and inherited ACLs applied."""
    trial = stage_name(staging)
    trial.touch()
    mode = stat.S_IMODE(trial.stat().st_mode)
    trial.unlink()
    return mode


def has_size(path: Path, size: int) -> bool:
    """Tell whether ``path`` leads to a file of that size, links followed."""
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def partial_bytes(workspace: Workspace, files: tuple[RemoteFile, ...]) -> dict[str, int]:
    """Return how much of each blob earlier runs have staged, as the disk has it.

    The space that a partial takes is what counts for what is still needed, and after a crash it is
    nearer to what a resumed transfer will find than the engine's last record.
    """
    try:
        names = {path.name for path in workspace.partials.iterdir()}
    except OSError:
        return {}
    staged: dict[str, int] = {}
    for file in files:
        name = file.blob_name
        for path in (workspace.direct(name), workspace.partial(name)):
            if path.name in names and name not in staged:
                with suppress(OSError):
                    staged[name] = min(_bytes_on_disk(path), file.size)
    return staged


def _bytes_on_disk(path: Path) -> int:
    status = path.stat()
    blocks = getattr(status, "st_blocks", None)  # of 512 bytes, by POSIX; not on Windows
    return status.st_size if blocks is None else min(blocks * 512, status.st_size)


def tidy(workspace: Workspace) -> None:
    """Remove the workspace's folders as far as they are empty or hold nothing of use."""
    shutil.rmtree(workspace.staging, ignore_errors=True)
    shutil.rmtree(workspace.quarantine, ignore_errors=True)
    for folder in (workspace.partials, workspace.mending, workspace.root):
        with suppress(OSError):
            folder.rmdir()
