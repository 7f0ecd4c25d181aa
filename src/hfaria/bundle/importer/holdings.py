"""What a cache holds already."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from hfaria.bundle.importer.cache import Cache, Place
from hfaria.bundle.importer.canonical import JSON_MOST_BYTES
from hfaria.bundle.importer.errors import BundleError
from hfaria.bundle.importer.format import COMMIT, ETAG
from hfaria.bundle.importer.names import path_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfaria.bundle.importer.folders import Folder

_NO_LISTING = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    BundleError,
)


def _listing(repo: Folder, commit: str) -> dict[str, str]:
    """Return path -> ETag from a cached tree file; empty if there is none that can be used."""
    found: dict[str, str] = {}
    try:
        with repo.child("trees") as trees:
            document = json.loads(trees.read(f"{commit}.json", JSON_MOST_BYTES) or b"{}")
        for path, entry in document["files"].items():
            etag = entry.get("lfs_sha256") or entry["blob_id"]
            if path_problem(path) is None and ETAG.fullmatch(etag):
                found[path] = etag
    except _NO_LISTING:
        return {}
    return found


def cached_files(cache: Cache, name: str) -> Iterator[tuple[str, int, Place]]:
    """Yield ETag, size and place of each content that a repo of the cache holds.

    Blobs by their names; where there are no symlinks, files of snapshots by the tree file.
    """
    try:
        repo = cache.repo(name, make=False)
    except BundleError:
        return  # a link where a folder belongs: not ours to look through
    if repo is None:
        return
    with repo:
        with contextlib.suppress(OSError, BundleError), repo.child("blobs") as blobs:
            for etag in blobs.names():
                if ETAG.fullmatch(etag):
                    with contextlib.suppress(OSError, BundleError):
                        found = cache.blob(name, blobs, etag)
                        if found is not None:
                            yield etag, found[1], found[0]
        with contextlib.suppress(OSError, BundleError), repo.child("snapshots") as snapshots:
            for commit in snapshots.names():
                if COMMIT.fullmatch(commit):
                    for path, etag in _listing(repo, commit).items():
                        place = Place((name, "snapshots", commit, *path.split("/")[:-1]), "")
                        place = place._replace(name=path.split("/")[-1])
                        size = cache.size_at(place)
                        if size is not None:
                            yield etag, size, place
