"""Repos as values: files, commits, refs, and who may read them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from loopback_hub.content import BytesContent, Content, as_content

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

RepoType = Literal["model", "dataset", "space", "kernel"]
Gate = Literal["auto", "manual"]

LFS_SIZE = 1_000_000
LFS_SUFFIXES = (
    *(".safetensors", ".bin", ".gguf", ".parquet", ".pt", ".pth", ".onnx", ".h5", ".ckpt"),
    *(".zip", ".tar", ".gz", ".npz", ".msgpack", ".arrow"),
)


@dataclass(frozen=True, eq=False)
class StoredFile:
    """One file of a commit."""

    path: str
    content: Content
    is_lfs: bool

    @property
    def size(self) -> int:
        """Length of the content in bytes."""
        return self.content.size

    @cached_property
    def lfs_pointer(self) -> bytes | None:
        """Text git holds in place of an LFS file."""
        if not self.is_lfs:
            return None
        oid = self.content.sha256
        version = "version https://git-lfs.github.com/spec/v1"
        return f"{version}\noid sha256:{oid}\nsize {self.size}\n".encode()

    @cached_property
    def git_oid(self) -> str:
        """Id of the git blob; for an LFS file, of its LFS pointer."""
        if self.lfs_pointer is None:
            return self.content.git_oid
        return BytesContent(self.lfs_pointer).git_oid

    @cached_property
    def blob_name(self) -> str:
        """Name of the blob in a cache: sha256 of LFS content, git oid otherwise."""
        return self.content.sha256 if self.is_lfs else self.git_oid

    @cached_property
    def xet_hash(self) -> str:
        """A well-formed Xet hash; it names no stored Xet content."""
        return hashlib.sha256(b"xet" + self.blob_name.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Commit:
    """All files of a repo at one moment."""

    files: tuple[StoredFile, ...]
    title: str = "Upload files"
    number: int = 0

    @cached_property
    def commit_id(self) -> str:
        """40-hex id, derived from the files and the commit's number."""
        digest = hashlib.sha1(f"{self.number} {self.title}".encode(), usedforsecurity=False)
        for file in self.files:
            digest.update(f"\0{file.path}\0{file.git_oid}".encode())
        return digest.hexdigest()

    @cached_property
    def by_path(self) -> dict[str, StoredFile]:
        """Files by their path."""
        return {file.path: file for file in self.files}

    @cached_property
    def total_size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def without(self, paths: Collection[str]) -> Commit:
        """Return this commit lacking some files but keeping its id, as a partial mirror has it."""
        kept = replace(self, files=tuple(file for file in self.files if file.path not in paths))
        kept.__dict__["commit_id"] = self.commit_id
        return kept


@dataclass(frozen=True, eq=False)
class RepoSpec:
    """A repo: its commits, oldest first, the refs that name them, and its access rules.

    ``refs`` maps full names (``refs/heads/main``, ``refs/tags/v1``, ``refs/pr/1``) to indexes
    into ``commits``. ``raw_tree`` replaces the listing's pages by any text, however wrong.
    """

    repo_id: str
    commits: tuple[Commit, ...]
    repo_type: RepoType = "model"
    refs: tuple[tuple[str, int], ...] = (("refs/heads/main", -1),)
    gated: Gate | None = None
    private: bool = False
    disabled: bool = False
    raw_tree: tuple[str, ...] | None = None

    def find_commit(self, revision: str) -> Commit | None:
        """Return the commit a branch, tag, full ref or commit id names."""
        names = dict(self.refs)
        for name in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if name in names:
                return self.commits[names[name]]
        return next((commit for commit in self.commits if commit.commit_id == revision), None)

    @property
    def head(self) -> Commit:
        """The commit ``main`` names."""
        return self.commits[dict(self.refs)["refs/heads/main"]]

    @property
    def commit_id(self) -> str:
        """Id of the commit ``main`` names."""
        return self.head.commit_id

    @cached_property
    def blobs(self) -> dict[str, StoredFile]:
        """Files of all commits by blob name; of several paths the first one."""
        found: dict[str, StoredFile] = {}
        for commit in self.commits:
            for file in commit.files:
                found.setdefault(file.blob_name, file)
        return found

    def prepare(self) -> None:
        """Compute every digest now, so that no request waits for one."""
        for commit in self.commits:
            _ = commit.commit_id
        _ = self.blobs

    @property
    def is_prepared(self) -> bool:
        """Whether all digests are known."""
        return "blobs" in self.__dict__

    def with_commit(
        self,
        files: Mapping[str, Content | bytes | str | Path],
        *,
        title: str = "Update",
        branch: str = "main",
    ) -> RepoSpec:
        """Return this repo with one more commit of all ``files``, and ``branch`` moved to it."""
        added = commit_of(files, title=title, number=len(self.commits))
        commits = (*self.commits, added)
        refs = {name: index % len(self.commits) for name, index in self.refs}
        refs[f"refs/heads/{branch}"] = len(commits) - 1
        return replace(self, commits=commits, refs=tuple(refs.items()))

    def behind(self, count: int) -> RepoSpec:
        """Return the repo as it was ``count`` commits ago."""
        last = max(0, len(self.commits) - 1 - count)
        refs = tuple((name, min(index % len(self.commits), last)) for name, index in self.refs)
        return replace(self, commits=self.commits[: last + 1], refs=refs)

    def lacking(self, paths: Collection[str]) -> RepoSpec:
        """Return the repo without some files, under the same commit ids."""
        return replace(self, commits=tuple(commit.without(paths) for commit in self.commits))


def stored_file(
    path: str, content: Content | bytes | str | Path, *, is_lfs: bool | None = None
) -> StoredFile:
    """Decide by size and suffix whether a file is an LFS one, unless told."""
    wrapped = as_content(content)
    if is_lfs is None:
        is_lfs = wrapped.size >= LFS_SIZE or (path.endswith(LFS_SUFFIXES) and wrapped.size > 0)
    return StoredFile(path, wrapped, is_lfs)


def commit_of(
    files: Mapping[str, Content | bytes | str | Path],
    *,
    lfs: Mapping[str, bool] | None = None,
    title: str = "Upload files",
    number: int = 0,
) -> Commit:
    """Make a commit of ``files``; ``lfs`` overrides per path how a file is stored."""
    chosen = lfs or {}
    stored = (
        stored_file(path, content, is_lfs=chosen.get(path))
        for path, content in sorted(files.items())
    )
    return Commit(tuple(stored), title=title, number=number)
