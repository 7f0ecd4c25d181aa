"""What verifying a repo found, as values."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.rules.listing import is_blob_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hfaria.rules.inventory import Entry, RepoOnDisk, Snapshot
    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.records import FileState


class Trouble(enum.Enum):
    """What can be wrong with a file."""

    MISSING = "missing"
    MISMATCHED = "mismatched"
    EXTRA = "extra"
    """Not in the listing; it does no harm."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as the listing says. ``place`` is where its bytes are, if they are."""

    trouble: Trouble
    commit_hash: str | None
    path: str
    reason: str
    place: str | None = None
    blob_name: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """A file whose bytes should have a digest: somewhere in the repo's folder."""

    place: str
    blob_name: str
    state: FileState
    size: int | None = None
    """What the listing says, where one does."""

    @property
    def has_wrong_size(self) -> bool:
        """Whether it need not even be read."""
        return self.size is not None and self.state.size != self.size


@dataclass(frozen=True, slots=True)
class RepoFindings:
    """The findings about one repo, and what they rest on."""

    repo: RepoOnDisk
    findings: tuple[Finding, ...]
    files: int
    bytes_hashed: int
    bytes_unchanged: int
    """Bytes of files that are in the state in which they were verified before."""

    def of(self, trouble: Trouble) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.trouble is trouble)

    @property
    def is_wrong(self) -> bool:
        """Whether any bytes are not what they are named."""
        return bool(self.of(Trouble.MISMATCHED))

    @property
    def is_incomplete(self) -> bool:
        """Whether any file is missing."""
        return bool(self.of(Trouble.MISSING))

    @property
    def unlisted(self) -> tuple[Snapshot, ...]:
        """Snapshots of which nobody knows what belongs to them."""
        return tuple(each for each in self.repo.snapshots if each.listing is None)


def contents(repo: RepoOnDisk) -> tuple[Content, ...]:
    """Return everything whose bytes can be compared with a digest: blobs, and entries as files."""
    found: dict[str, Content] = {}
    sizes = {
        file.blob_name: file.size
        for snapshot in repo.snapshots
        if snapshot.listing is not None
        for file in snapshot.listing.files
    }
    for blob in repo.blobs:
        if is_blob_name(blob.name) and blob.state is not None:
            found[blob.place] = Content(blob.place, blob.name, blob.state, sizes.get(blob.name))
    for snapshot in repo.snapshots:
        for file in snapshot.listing.files if snapshot.listing is not None else ():
            entry = snapshot.entries.get(file.path)
            if entry is not None and entry.blob_name is None and entry.state is not None:
                place = snapshot.place(entry)
                found[place] = Content(place, file.blob_name, entry.state, file.size)
    return tuple(found.values())


def judge(repo: RepoOnDisk, wrong: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return the findings about a repo; ``wrong`` says of places what is the matter with them."""
    findings = [each for snapshot in repo.snapshots for each in _judge_snapshot(snapshot, wrong)]
    told = {finding.place for finding in findings}
    for place, reason in wrong.items():
        if place not in told:
            # hf links a blob that is there without a look, so one without entries matters too.
            name = place.rpartition("/")[2]
            found = Finding(Trouble.MISMATCHED, None, place, reason, place, name)
            findings.append(found)
    return tuple(findings)


def _judge_snapshot(snapshot: Snapshot, wrong: Mapping[str, str]) -> Iterator[Finding]:
    commit = snapshot.commit_hash
    expected = {file.path: file for file in snapshot.expected}
    listed = {file.path: file for file in snapshot.listing.files} if snapshot.listing else {}
    for path, file in expected.items():
        if path not in snapshot.entries:
            yield _about(Trouble.MISSING, commit, file, "no entry for it")
    for path, entry in sorted(snapshot.entries.items()):
        known = listed.get(path)
        if known is not None:
            yield from _judge_entry(snapshot, entry, known, wrong)
        elif snapshot.listing is not None:
            reason = "the listing does not have it"
            yield Finding(Trouble.EXTRA, commit, path, reason, snapshot.place(entry))
        elif entry.state is None:
            name = entry.blob_name
            yield Finding(Trouble.MISSING, commit, path, "its link leads nowhere", None, name)
        elif (place := snapshot.place(entry)) in wrong:
            name, size = entry.blob_name, entry.state.size
            yield Finding(Trouble.MISMATCHED, commit, path, wrong[place], place, name, size)


def _judge_entry(
    snapshot: Snapshot, entry: Entry, file: RemoteFile, wrong: Mapping[str, str]
) -> Iterator[Finding]:
    commit, place = snapshot.commit_hash, snapshot.place(entry)
    if entry.state is None:
        yield _about(Trouble.MISSING, commit, file, "its link leads nowhere")
    elif entry.blob_name is not None and entry.blob_name != file.blob_name:
        yield _about(Trouble.MISMATCHED, commit, file, "its link leads to another content")
    elif place in wrong:
        yield _about(Trouble.MISMATCHED, commit, file, wrong[place], place)


def _about(
    trouble: Trouble, commit: str, file: RemoteFile, reason: str, place: str | None = None
) -> Finding:
    return Finding(trouble, commit, file.path, reason, place, file.blob_name, file.size)
