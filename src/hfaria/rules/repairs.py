"""What to do about findings, and what was done, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.rules.findings import RepoFindings, Trouble
from hfaria.rules.listing import RemoteFile, is_blob_name

if TYPE_CHECKING:
    from hfaria.rules.control_file import Range
    from hfaria.rules.inventory import RepoOnDisk
    from hfaria.rules.receipt import FailedFile

SMALLEST_MENDED = 8 << 20
"""Bytes; below it, fetching anew is quicker than looking for what is wrong."""


@dataclass(frozen=True, slots=True)
class WrongBlob:
    """A content whose bytes are wrong at ``place``, or were and wait to be mended.

    ``files`` are its places by commit; without any, no listing knows it.
    """

    blob_name: str
    place: str | None
    files: tuple[tuple[str, tuple[RemoteFile, ...]], ...]

    @property
    def label(self) -> str:
        """How messages name it."""
        return self.files[0][1][0].path if self.files else f"blobs/{self.blob_name[:12]}"

    @property
    def size(self) -> int:
        """Bytes it should have."""
        return self.files[0][1][0].size if self.files else 0


@dataclass(frozen=True, slots=True)
class Mended:
    """A file that was put right; ``ranges`` were wrong in it."""

    path: str
    ranges: tuple[Range, ...]
    bytes_fetched: int
    source: str


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of one repo. ``unasked`` files are missing, but nobody knows who wanted them."""

    repo: RepoOnDisk
    before: RepoFindings
    mended: tuple[Mended, ...] = ()
    files_fetched: int = 0
    bytes_fetched: int = 0
    failed: tuple[FailedFile, ...] = ()
    unasked: int = 0
    after: RepoFindings | None = None
    """What is still to be found; None if nothing was the matter."""


def wrong_blobs(
    found: RepoFindings, waiting: frozenset[str], *, use_symlinks: bool
) -> tuple[WrongBlob, ...]:
    """Return the contents to mend; those ``waiting`` were set aside by a run that was cut.

    Without symlinks every entry has bytes of its own, which are wrong or right by themselves.
    """
    blobs: dict[str, WrongBlob] = {}
    for finding in found.findings:
        name, place = finding.blob_name, finding.place
        if name is None or not is_blob_name(name):
            continue
        is_wrong = finding.trouble is Trouble.MISMATCHED and place is not None
        if not is_wrong and not (finding.trouble is Trouble.MISSING and name in waiting):
            continue
        files = _files(found.repo, name)
        if not use_symlinks:
            files = tuple(
                (commit, tuple(file for file in same if file.path == finding.path))
                for commit, same in files
                if commit == finding.commit_hash
            )
        blobs.setdefault(place or name, WrongBlob(name, place if is_wrong else None, files))
    return tuple(blobs.values())


def missing_paths(found: RepoFindings) -> tuple[dict[str, tuple[str, ...]], int]:
    """Return, by commit, what to pull, and how many files are missing that nobody asked for.

    What has an entry was here once. What has none, in a snapshot of another tool's, may never have
    been wanted: it may be hundreds of gigabytes.
    """
    snapshots = {snapshot.commit_hash: snapshot for snapshot in found.repo.snapshots}
    paths: dict[str, list[str]] = {}
    unasked = 0
    for finding in found.findings:
        if finding.commit_hash is None or finding.trouble is Trouble.EXTRA:
            continue
        snapshot = snapshots[finding.commit_hash]
        if not snapshot.is_asked and finding.path not in snapshot.entries:
            unasked += 1
        else:
            paths.setdefault(finding.commit_hash, []).append(finding.path)
    return {commit: tuple(found) for commit, found in paths.items()}, unasked


def _files(repo: RepoOnDisk, blob_name: str) -> tuple[tuple[str, tuple[RemoteFile, ...]], ...]:
    found = []
    for snapshot in repo.snapshots:
        files = tuple(
            file
            for file in (snapshot.listing.files if snapshot.listing is not None else ())
            if file.blob_name == blob_name
            and (file.path in snapshot.entries or (snapshot.is_asked and file in snapshot.expected))
        )
        if files:
            found.append((snapshot.commit_hash, files))
    return tuple(found)
