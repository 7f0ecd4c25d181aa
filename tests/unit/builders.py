"""Small true values that many tests start from."""

from __future__ import annotations

import hashlib

from hfaria.rules.listing import Listing, RemoteFile, git_blob_digest, make_listing

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_file(path: str, content: bytes = b"{}") -> RemoteFile:
    return RemoteFile(path, len(content), git_blob_digest(content))


def lfs_file(
    path: str, content: str = "weights", *, size: int = 5000, xet_hash: str | None = None
) -> RemoteFile:
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return RemoteFile(path, size, git_blob_digest(pointer.encode()), sha256, xet_hash)


def listing(*files: RemoteFile) -> Listing:
    return make_listing(COMMIT, files)
