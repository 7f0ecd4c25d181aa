"""What huggingface_hub expects of a cache, and git of a content."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfaria.bundle.importer.values import FileEntry, Revision


def repo_folder(repo_type: str, repo_id: str) -> str:
    """Return the name of a repo's folder in a cache (huggingface_hub's `repo_folder_name`)."""
    return "--".join([f"{repo_type}s", *repo_id.split("/")])


def git_blob_sha1(size: int) -> Any:
    """Return the running digest that git would name a blob of this size by."""
    return hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 - git's name for it, not our check


def lfs_pointer_sha1(sha256: str, size: int) -> str:
    """Return git's id of the LFS pointer that stands for this content (Git LFS specification)."""
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    digest = git_blob_sha1(len(text))
    digest.update(text.encode("ascii"))
    return str(digest.hexdigest())


def tree_file(revision: Revision) -> bytes:
    """Return the listing that huggingface_hub keeps as trees/<commit>.json.

    For a complete revision only: hub would take a shortened one for the whole repo, for ever.
    """
    files = {}
    for file in revision.files:
        if len(file.etag) == 64:  # an LFS file: its blob_id is the pointer's
            pointer = lfs_pointer_sha1(file.sha256, file.size)
            entry = {"blob_id": pointer, "lfs_sha256": file.sha256, "lfs_size": file.size}
        else:
            entry = {"blob_id": file.etag}
        files[file.path] = dict(entry, size=file.size)
    document = {"format_version": 1, "files": files}
    return json.dumps(document, sort_keys=True, indent=1).encode("ascii")


LOCK_FOLDER = ".locks"
STAGING = ".hfaria-import"
SHARED_MARKER = ".huggingface-shared-blobs"
SHARED_BLOB = re.compile(r"\.\./\.\./blobs/([0-9a-f]{2})/([0-9a-f]{64})")
CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This file is a cache directory tag created by huggingface_hub.\n"
    b"# For information about cache directory tags, see:\n"
    b"#\thttps://bford.info/cachedir/\n"
)


def pointer_text(file: FileEntry) -> str:
    """Return the text of the symlink that a snapshot holds for a file."""
    return "../" * (2 + file.path.count("/")) + f"blobs/{file.etag}"
