"""A repo's files at one commit, and the checks a listing must pass before it is believed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from hfaria.errors import InconsistentListing, MalformedListing, UnsafePath

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_blob_name(text: str) -> bool:
    """Tell whether a file of that name holds a content: a digest in hex, and nothing else."""
    return is_sha256(text) or _SHA1.fullmatch(text) is not None


def is_sha256(text: str) -> bool:
    """Tell whether a blob's name is the sha256 of its content, and not git's id of it."""
    return _SHA256.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repo at a commit, as the Hub lists it."""

    path: str
    size: int
    git_oid: str
    """Git's id of the blob; for an LFS file that of its LFS pointer."""
    sha256: str | None = None
    """Only LFS files have one."""
    xet_hash: str | None = None

    @property
    def blob_name(self) -> str:
        """Name of the file's blob in the cache, which is also its ETag."""
        return self.sha256 or self.git_oid


@dataclass(frozen=True, slots=True)
class Listing:
    """Every file of one commit, sorted by path; no path twice."""

    commit_hash: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files, equal contents counted each time."""
        return sum(file.size for file in self.files)


def make_listing(commit_hash: str, files: Iterable[RemoteFile]) -> Listing:
    """Sort and check a whole listing.

    Raises `InconsistentListing` when a path comes twice, when a file is also a folder, or when
    equal contents have different sizes.
    """
    ordered = sorted(files, key=lambda file: file.path)
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    previous: RemoteFile | None = None
    for file in ordered:
        if previous is not None and previous.path == file.path:
            raise InconsistentListing(f"the listing names `{file.path}` twice")
        if sizes.setdefault(file.blob_name, file.size) != file.size:
            raise InconsistentListing(
                f"the listing gives two sizes for the content of `{file.path}`: "
                f"{sizes[file.blob_name]} and {file.size}"
            )
        parent, _, _ = file.path.rpartition("/")
        while parent and parent not in folders:
            folders.add(parent)
            parent, _, _ = parent.rpartition("/")
        previous = file
    for file in ordered:
        if file.path in folders:
            raise InconsistentListing(f"the listing has `{file.path}` both as a file and a folder")
    return Listing(commit_hash, tuple(ordered))


def check_file(file: RemoteFile, *, pointer_size: int | None = None) -> RemoteFile:
    """Return ``file`` if its entry can be true.

    For an LFS file the id of the LFS pointer is recomputed from size and sha256, so that a listing
    in which one of the three was altered is noticed before any byte moves (LFS pointer text: the
    Git LFS specification). Raises `MalformedListing`, `InconsistentListing` or `UnsafePath`.
    """
    check_path(file.path)
    if file.size < 0:
        raise MalformedListing(f"the listing gives `{file.path}` a size of {file.size}")
    if not _SHA1.fullmatch(file.git_oid):
        raise MalformedListing(f"the listing gives `{file.path}` no git blob id")
    if file.sha256 is None:
        return file
    if not _SHA256.fullmatch(file.sha256):
        raise MalformedListing(f"the listing gives `{file.path}` an LFS id that is no sha256")
    text = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{file.sha256}\nsize {file.size}\n"
    ).encode()
    if pointer_size is not None and pointer_size != len(text):
        raise InconsistentListing(
            f"size and sha256 of `{file.path}` do not belong to its LFS pointer "
            f"(length {len(text)}, listed {pointer_size})"
        )
    pointer = git_blob_digest(text)
    if pointer != file.git_oid:
        raise InconsistentListing(
            f"size and sha256 of `{file.path}` do not belong to its LFS pointer "
            f"(id {pointer[:12]}, listed {file.git_oid[:12]})"
        )
    return file


def git_blob_digest(content: bytes) -> str:
    """Return the id git gives a blob of this content."""
    header = b"blob %d\0" % len(content)
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def check_path(path: str) -> None:
    """Refuse a path that would leave its folder, under the rules of POSIX or of Windows.

    Both are checked on every system, since a cache made here may be read there.
    """
    segments = path.split("/")
    if ".." in path.replace("\\", "/").split("/"):
        raise UnsafePath(f"the listing names {path!r}, which climbs out of its folder")
    if any(segment in {"", "."} for segment in segments):
        raise UnsafePath(f"the listing names {path!r}, which has an empty segment")
    if "\0" in path:
        raise UnsafePath(f"the listing names {path!r}, which holds a NUL")
    anchored = [PurePosixPath(path), PureWindowsPath(path), *map(PureWindowsPath, segments)]
    if any(pure.drive or pure.root for pure in anchored):
        raise UnsafePath(f"the listing names {path!r}, an absolute path or one with a drive")
    try:
        path.encode()
    except UnicodeEncodeError as exc:
        raise UnsafePath(f"the listing names {path!r}, which is not Unicode text") from exc
