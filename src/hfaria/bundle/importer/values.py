"""What bundle.json and stick.json say, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hfaria.bundle.importer.errors import USAGE, BundleError, shown
from hfaria.bundle.importer.format import UNSAFE_SUFFIXES
from hfaria.bundle.importer.hub_format import repo_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class FileEntry(NamedTuple):
    """One file of a revision; `etag` is its blob's name in a cache."""

    path: str
    etag: str
    sha256: str
    size: int


class Revision(NamedTuple):
    """A commit's files: all of them when `is_complete`, else those that the filter let through."""

    commit: str
    is_complete: bool
    patterns: dict[str, list[str]] | None
    files: tuple[FileEntry, ...]


class Repo(NamedTuple):
    """One repo of a bundle, with the refs that name its revisions."""

    repo_type: str
    repo_id: str
    license: str | None
    is_gated: bool
    refs: dict[str, str]
    revisions: dict[str, Revision]

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.repo_type} {self.repo_id}"

    @property
    def folder(self) -> str:
        """Name of its folder in a cache."""
        return repo_folder(self.repo_type, self.repo_id)


class StoredObject(NamedTuple):
    """One content that the bundle carries; `git_sha1` names it where it is no LFS file."""

    size: int
    git_sha1: str | None


class Prerequisite(NamedTuple):
    """One content that the bundle doesn't carry, because the target was said to have it."""

    sha256: str
    size: int
    etag: str
    origin: str | None


class Bundle(NamedTuple):
    """bundle.json: what the set holds. The same bytes on each stick, and what is signed."""

    set_id: str
    created: str
    tool: str
    endpoint: str
    piece_size: int
    repos: tuple[Repo, ...]
    objects: dict[str, StoredObject]
    requires: dict[str, Prerequisite]
    base_kind: str
    base_id: str | None
    content_sha256: str

    @property
    def short_id(self) -> str:
        """What people read to each other."""
        return self.set_id[:8]


class Range(NamedTuple):
    """Where a stick holds bytes of an object: `length` at `start` of the file `path`."""

    sha256: str
    offset: int
    length: int
    path: str
    start: int
    pieces: tuple[str, ...]


class Stick(NamedTuple):
    """stick.json: where this stick holds what. Unsigned, since all it can cause is a refusal."""

    set_id: str
    number: int
    of: int | None
    uuid: str
    bundle_sha256: str
    filesystem: str
    finalised: str
    ranges: tuple[Range, ...]


def files_of(repo: Repo) -> Iterator[FileEntry]:
    """Yield each file of each revision."""
    for revision in repo.revisions.values():
        yield from revision.files


def select_repos(bundle: Bundle, names: Sequence[str]) -> list[Repo]:
    """Return the repos that were named, `id` or `type:id`; all if none was."""
    if not names:
        return list(bundle.repos)
    known = {repo.repo_id for repo in bundle.repos}
    known.update(f"{repo.repo_type}:{repo.repo_id}" for repo in bundle.repos)
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ", ".join(sorted(repo.repo_id for repo in bundle.repos)[:10])
        message = f"this bundle has no repo {shown(unknown[0])}"
        raise BundleError("E-REPO", USAGE, message, f"it has: {listed}")
    return [
        repo
        for repo in bundle.repos
        if repo.repo_id in names or f"{repo.repo_type}:{repo.repo_id}" in names
    ]


def expected_piece(held: Range, number: int, piece_size: int) -> str | None:
    """Return the sha256 that stick.json gives a piece; None where it had to be made up."""
    return held.pieces[number - held.offset // piece_size] if held.pieces else None


def unsafe_files(repos: Sequence[Repo]) -> list[str]:
    """Return the paths of files that can run code when they are loaded: pickles and programs."""
    return sorted(
        {
            file.path
            for repo in repos
            for file in files_of(repo)
            if file.path.lower().endswith(UNSAFE_SUFFIXES)
        }
    )
