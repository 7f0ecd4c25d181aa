"""The tree file: a commit's full listing, as huggingface_hub (1.22 and later) keeps it in a cache.

Form observed in huggingface_hub 2.4.0's `_tree_cache`: JSON with ``format_version`` 1, keys
sorted, an indent of one, folders left out. huggingface_hub ignores the whole file if one
``xet_hash`` in it is invalid, so such a hash is dropped here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from hfaria.errors import HfariaError
from hfaria.rules.listing import Listing, RemoteFile, check_file, make_listing

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT_VERSION = 1
_XET_HASH = re.compile(r"[0-9a-f]{64}")


def serialize(listing: Listing) -> Iterator[str]:
    """Yield the text of the tree file piece by piece, so that a large one is never held whole."""
    yield f'{{\n "format_version": {FORMAT_VERSION},\n "files": {{'
    separator = "\n"
    for file in listing.files:
        entry: dict[str, str | int] = {"size": file.size, "blob_id": file.git_oid}
        if file.sha256 is not None:
            entry["lfs_sha256"] = file.sha256
            entry["lfs_size"] = file.size
        if file.xet_hash is not None and _XET_HASH.fullmatch(file.xet_hash):
            entry["xet_hash"] = file.xet_hash
        body = ",\n".join(f"   {json.dumps(key)}: {json.dumps(entry[key])}" for key in entry)
        yield f"{separator}  {json.dumps(file.path)}: {{\n{body}\n  }}"
        separator = ",\n"
    yield "\n }\n}" if listing.files else "}\n}"


def parse(text: str, commit_hash: str) -> Listing | None:
    """Return the listing, or None if the file is not one that can be relied on.

    It goes through the same checks as a listing from the network: another program wrote it.
    """
    try:
        document: Any = json.loads(text, object_pairs_hook=_entry)
        if not isinstance(document, dict) or document.get("format_version") != FORMAT_VERSION:
            return None
        files = document["files"]
        return make_listing(commit_hash, (_named(path, files[path]) for path in list(files)))
    except (ValueError, LookupError, TypeError, RecursionError, HfariaError):
        return None


def _entry(pairs: list[tuple[str, Any]]) -> object:
    """Turn an inner object into a small tuple at once: 100,000 dicts would be twice the memory."""
    entry = dict(pairs)
    size, git_oid = entry.get("size"), entry.get("blob_id")
    if isinstance(size, int) and isinstance(git_oid, str):  # a file may be named "size", too
        xet_hash = entry.get("xet_hash")
        is_usable = isinstance(xet_hash, str)
        return (size, git_oid, entry.get("lfs_sha256"), xet_hash if is_usable else None)
    return entry


def _named(path: str, entry: tuple[int, str, str | None, str | None]) -> RemoteFile:
    size, git_oid, sha256, xet_hash = entry
    return check_file(RemoteFile(path, size, git_oid, sha256, xet_hash))
