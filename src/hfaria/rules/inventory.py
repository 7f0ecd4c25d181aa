"""What a cache holds, as values: repos, their snapshots, blobs, refs, and what is left over."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.rules.listing import is_blob_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from hfaria.rules.listing import Listing, RemoteFile
    from hfaria.rules.records import FileState, Record
    from hfaria.rules.spec import RepoSpec


@dataclass(frozen=True, slots=True)
class Blob:
    """A file in ``blobs``; no ``state`` if it is a link that leads nowhere."""

    name: str
    state: FileState | None
    device: int = 0

    @property
    def place(self) -> str:
        """Where it is in the repo's folder."""
        return f"blobs/{self.name}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a snapshot.

    ``blob_name`` is what its link leads to, or None for a file that is no link into ``blobs``.
    Without a ``state`` it leads nowhere.
    """

    path: str
    blob_name: str | None
    state: FileState | None
    device: int = 0


class Completeness(enum.Enum):
    """Whether a snapshot has all its files, by name and size."""

    COMPLETE = "complete"
    PART = "part"
    """All that was asked for, which is a part."""
    INCOMPLETE = "incomplete"
    UNKNOWN = "unknown"
    """No listing is stored."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A commit in the cache.

    ``wanted`` are the paths that were asked for; None means all. What ``is_asked`` for was so by
    us: of what another tool fetched, a part may be all that was wanted.
    """

    commit_hash: str
    refs: tuple[str, ...]
    entries: Mapping[str, Entry]
    listing: Listing | None
    wanted: frozenset[str] | None = None
    is_asked: bool = True

    @property
    def expected(self) -> tuple[RemoteFile, ...]:
        """Files that should be here."""
        files = self.listing.files if self.listing is not None else ()
        if self.wanted is None:
            return files
        return tuple(file for file in files if file.path in self.wanted)

    @property
    def missing(self) -> tuple[RemoteFile, ...]:
        """Files that should be here and aren't, or have another size."""
        return tuple(file for file in self.expected if not self._has(file))

    @property
    def completeness(self) -> Completeness:
        """What can be said without reading a file."""
        if self.listing is None:
            return Completeness.UNKNOWN
        if self.missing:
            return Completeness.INCOMPLETE
        has_all = all(self._has(file) for file in self.listing.files)
        return Completeness.COMPLETE if has_all else Completeness.PART

    def place(self, entry: Entry) -> str:
        """Where the bytes of an entry are in the repo's folder."""
        if entry.blob_name is not None:
            return f"blobs/{entry.blob_name}"
        return f"snapshots/{self.commit_hash}/{entry.path}"

    def _has(self, file: RemoteFile) -> bool:
        entry = self.entries.get(file.path)
        return entry is not None and entry.state is not None and entry.state.size == file.size


class LeftoverKind(enum.Enum):
    """Why something is of no use to a reader."""

    PARTIAL = "partial"
    """Staged bytes of a pull that was cut; another pull goes on with them."""
    STAGED = "staged"
    """What a run that died was about to move in."""
    QUARANTINE = "quarantine"
    """Bytes that were wrong."""
    FOREIGN = "foreign partial"
    """What another tool left unfinished."""
    ORPHAN = "orphan"
    """A blob that no snapshot has an entry for."""
    BROKEN = "broken link"
    """An entry or blob that leads nowhere."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that no reader needs."""

    kind: LeftoverKind
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class RepoOnDisk:
    """One repo of a cache."""

    spec: RepoSpec
    folder: Path
    refs: Mapping[str, str]
    blobs: tuple[Blob, ...]
    snapshots: tuple[Snapshot, ...]
    records: Mapping[str, Record]
    leftovers: tuple[Leftover, ...] = ()

    def inodes(self) -> dict[tuple[int, int], int]:
        """Return the size of each file that readers can open, by what it is on the disk."""
        seen = {
            (blob.device, blob.state.inode): blob.state.size
            for blob in self.blobs
            if blob.state is not None
        }
        for snapshot in self.snapshots:
            for entry in snapshot.entries.values():
                if entry.state is not None:
                    seen[entry.device, entry.state.inode] = entry.state.size
        return seen

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(self.inodes().values())

    @property
    def leftover_size(self) -> int:
        """Bytes that no reader needs."""
        return sum(leftover.size for leftover in self.leftovers)

    def verified_at(self, snapshot: Snapshot) -> float | None:
        """Return when the last of a snapshot's files was verified, if all were and none changed."""
        listed = {file.path: file.blob_name for file in snapshot.expected}
        oldest: float | None = None
        for entry in snapshot.entries.values():
            name = entry.blob_name or listed.get(entry.path)
            record = self.records.get(snapshot.place(entry))
            is_vouched = (
                record is not None
                and name is not None
                and entry.state is not None
                and record.is_about(name, entry.state)
            )
            if record is None or not is_vouched:
                return None
            oldest = record.verified_at if oldest is None else min(oldest, record.verified_at)
        return oldest


def size_of(repos: Iterable[RepoOnDisk]) -> int:
    """Return the bytes of several repos on the disk, what they share counted once."""
    seen: dict[tuple[int, int], int] = {}
    for repo in repos:
        seen.update(repo.inodes())
    return sum(seen.values())


def orphans(blobs: Iterable[Blob], snapshots: Iterable[Snapshot]) -> tuple[Blob, ...]:
    """Return the blobs that no entry leads to, nor should.

    A snapshot without a ref is no orphan, and nothing of it: who pulled by commit reads it.
    """
    entries = [entry for snapshot in snapshots for entry in snapshot.entries.values()]
    used = {entry.blob_name for entry in entries}
    # An entry that is missing can be made again from its blob.
    used |= {file.blob_name for snapshot in snapshots for file in snapshot.expected}
    linked_hard = {(e.device, e.state.inode) for e in entries if e.state and e.blob_name is None}
    return tuple(
        blob
        for blob in blobs
        if is_blob_name(blob.name)
        and blob.name not in used
        and (blob.state is None or (blob.device, blob.state.inode) not in linked_hard)
    )
