"""What must hold in a cache at every moment, whatever was killed when."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from huggingface_hub import scan_cache_dir, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from loopback_hub import Commit

_BLOB_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256_LENGTH = 64
_CHUNK = 1 << 20


def find_violations(cache: Path, repo_id: str, commits: Mapping[str, Commit]) -> list[str]:
    """Return every rule that a reader could see broken, in words."""
    folder = cache / f"models--{repo_id.replace('/', '--')}"
    if not folder.is_dir():
        return []
    return [
        *(f"scan warning: {warning}" for warning in scan_cache_dir(cache).warnings),
        *_check_blobs(folder / "blobs"),
        *_check_snapshots(folder, commits),
        *_check_refs(folder, commits),
        *_check_loading(cache, folder, repo_id, commits),
    ]


def blob_names(cache: Path, repo_id: str) -> frozenset[str]:
    """Return the names of the blobs that a reader sees."""
    folder = cache / f"models--{repo_id.replace('/', '--')}" / "blobs"
    return frozenset(path.name for path in folder.glob("*"))


def is_complete(folder: Path, commit: Commit) -> bool:
    """Tell whether a snapshot has all files of its commit, each leading to the right blob."""
    snapshot = folder / "snapshots" / commit.commit_id
    return all(
        (snapshot / file.path).is_file() and (snapshot / file.path).resolve().name == file.blob_name
        for file in commit.files
    )


def _check_blobs(blobs: Path) -> Iterator[str]:
    for path in sorted(blobs.glob("*")):
        if not _BLOB_NAME.fullmatch(path.name):
            yield f"`blobs/{path.name}` is not a blob's name"
        elif path.name != _digest(path):
            yield f"`blobs/{path.name}`, {path.stat().st_size} bytes, has another content"


def _digest(path: Path) -> str:
    if len(path.name) == _SHA256_LENGTH:
        digest = hashlib.sha256()
    else:
        size = path.stat().st_size
        digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _check_snapshots(folder: Path, commits: Mapping[str, Commit]) -> Iterator[str]:
    for snapshot in sorted((folder / "snapshots").glob("*")):
        commit = commits.get(snapshot.name)
        if commit is None:
            yield f"`snapshots/{snapshot.name}` is of no known commit"
            continue
        for path in sorted(snapshot.rglob("*")):
            name = path.relative_to(snapshot).as_posix()
            if path.is_dir() and not path.is_symlink():
                continue
            if name not in commit.by_path:
                yield f"`{name}` is not in commit {commit.commit_id[:12]}"
            elif not path.is_file():
                yield f"`{name}` of commit {commit.commit_id[:12]} leads nowhere"
            elif path.resolve().name != commit.by_path[name].blob_name:
                yield f"`{name}` of commit {commit.commit_id[:12]} leads to a wrong blob"


def _check_refs(folder: Path, commits: Mapping[str, Commit]) -> Iterator[str]:
    for path in sorted((folder / "refs").rglob("*")):
        if path.is_dir():
            continue
        named = path.read_text(encoding="utf-8")
        commit = commits.get(named)
        if commit is None:
            yield f"`refs/{path.name}` names `{named}`, which is no commit"
        elif not is_complete(folder, commit):
            yield f"`refs/{path.name}` names {named[:12]}, which is not complete"


def _check_loading(
    cache: Path, folder: Path, repo_id: str, commits: Mapping[str, Commit]
) -> Iterator[str]:
    """Load by commit, as an offline reader does: a part must never pass for the whole."""
    for commit in commits.values():
        whole = is_complete(folder, commit)
        try:
            snapshot_download(
                repo_id, revision=commit.commit_id, cache_dir=cache, local_files_only=True
            )
        except LocalEntryNotFoundError:
            continue
        if not whole:
            yield f"commit {commit.commit_id[:12]} loads offline, but only a part of it is here"
