"""Listings: the tree of a commit in pages, repo descriptions, refs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopback_hub.repos import Commit, RepoSpec, StoredFile

_DATE = "2024-01-02T03:04:05.000Z"
_FIRST_COMMIT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
_HOURS_BETWEEN_COMMITS = 6
_COMMITS_IN_A_PAGE = 50

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """Which part of a tree is listed, and with how much detail."""

    folder: str = ""
    is_recursive: bool = False
    is_expanded: bool = False
    has_xet: bool = False


@lru_cache(maxsize=256)
def tree_entries(commit: Commit, options: TreeOptions) -> Sequence[Json] | None:
    """List files and folders as `/tree` does; None when there is no such folder."""
    folder = options.folder.strip("/")
    prefix = f"{folder}/" if folder else ""
    inside = [file for file in commit.files if file.path.startswith(prefix)]
    if folder and not inside:
        return None
    entries: dict[str, Json] = {}
    for file in sorted(inside, key=lambda file: PurePosixPath(file.path).parts):
        parents = [str(parent) for parent in PurePosixPath(file.path).parents][-2::-1]
        for parent in parents:
            if parent.startswith(prefix) and parent not in entries and parent != folder:
                entries[parent] = _folder_entry(commit, parent)
        entries[file.path] = file_entry(file, has_xet=options.has_xet)
    listed = list(entries.values())
    if not options.is_recursive:
        listed = [entry for entry in listed if "/" not in entry["path"].removeprefix(prefix)]
    if options.is_expanded:
        listed = [{**entry, **_details(commit, entry)} for entry in listed]
    return listed


def file_entry(file: StoredFile, *, has_xet: bool = False) -> Json:
    """Describe a file as a tree page does."""
    entry: Json = {"type": "file", "oid": file.git_oid, "size": file.size, "path": file.path}
    if file.lfs_pointer is not None:
        oid = file.content.sha256
        entry["lfs"] = {"oid": oid, "size": file.size, "pointerSize": len(file.lfs_pointer)}
        if has_xet:
            entry["xetHash"] = file.xet_hash
    return entry


@lru_cache(maxsize=256)
def describe(spec: RepoSpec, commit: Commit, *, has_blobs: bool) -> Json:
    """Describe a repo at a commit as `/api/models/{repo}` does."""
    return {
        "_id": hashlib.sha256(spec.repo_id.encode()).hexdigest()[:24],
        "id": spec.repo_id,
        "modelId": spec.repo_id,
        "author": spec.repo_id.rpartition("/")[0],
        "sha": commit.commit_id,
        "lastModified": commit_date(spec, commit),
        "createdAt": _DATE,
        "private": spec.private,
        "gated": spec.gated or False,
        "disabled": spec.disabled,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "cardData": {},
        "siblings": [_sibling(file, has_blobs=has_blobs) for file in commit.files],
        "usedStorage": commit.total_size,
    }


def commit_date(spec: RepoSpec, commit: Commit) -> str:
    """Return when a commit was made: each some hours after the one before."""
    hours = _HOURS_BETWEEN_COMMITS * spec.commits.index(commit)
    moment = _FIRST_COMMIT + timedelta(hours=hours)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def describe_commits(spec: RepoSpec, commit: Commit) -> list[Json]:
    """List a commit and those before it, newest first, as `/commits/{revision}` does."""
    history = spec.commits[spec.commits.index(commit) :: -1][:_COMMITS_IN_A_PAGE]
    return [
        {
            "id": each.commit_id,
            "title": each.title,
            "message": "",
            "authors": [{"user": "loopback"}],
            "date": commit_date(spec, each),
        }
        for each in history
    ]


def describe_refs(spec: RepoSpec, *, has_pull_requests: bool) -> Json:
    """List branches, tags and, if asked, pull requests."""
    groups = {"branches": "refs/heads/", "tags": "refs/tags/", "converts": "refs/convert/"}
    if has_pull_requests:
        groups["pullRequests"] = "refs/pr/"
    return {
        group: [
            {
                "name": name.removeprefix(prefix) if prefix != "refs/pr/" else name,
                "ref": name,
                "targetCommit": spec.commits[index].commit_id,
            }
            for name, index in spec.refs
            if name.startswith(prefix)
        ]
        for group, prefix in groups.items()
    }


def _folder_entry(commit: Commit, path: str) -> Json:
    oid = hashlib.sha1(f"{commit.commit_id}/{path}".encode(), usedforsecurity=False).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def _details(commit: Commit, entry: Json) -> Json:
    last = {"id": commit.commit_id, "title": commit.title, "date": _DATE}
    if entry["type"] != "file":
        return {"lastCommit": last}
    scan = {"virusFound": False, "virusNames": None}
    safety = {"status": "safe", "avScan": scan, "pickleImportScan": None}
    return {"lastCommit": last, "securityFileStatus": safety}


def _sibling(file: StoredFile, *, has_blobs: bool) -> Json:
    entry: Json = {"rfilename": file.path}
    if has_blobs:
        entry.update(size=file.size, blobId=file.git_oid)
        if file.lfs_pointer is not None:
            pointer_size = len(file.lfs_pointer)
            sha256 = file.content.sha256
            entry["lfs"] = {"sha256": sha256, "size": file.size, "pointerSize": pointer_size}
    return entry
