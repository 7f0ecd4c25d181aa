"""Write down what this machine has, for the next bundle."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import stat
import sys
import time
from typing import NamedTuple

from hfaria.bundle.importer.cache import Cache
from hfaria.bundle.importer.canonical import (
    Fields,
    canonical,
    check_format,
    matched,
    parse_canonical,
)
from hfaria.bundle.importer.errors import USAGE, BundleError, malformed
from hfaria.bundle.importer.filesystem import disk_space, filesystem_kind
from hfaria.bundle.importer.format import COMMIT, ETAG, UTC_TIME
from hfaria.bundle.importer.holdings import cached_files
from hfaria.bundle.importer.names import ref_problem

INVENTORY_FORMAT = "hfaria-inventory/1"


class Inventory(NamedTuple):
    """What a machine without network has: sizes of blobs by name."""

    inventory_id: str
    created: str
    blobs: dict[str, int]


def parse_inventory(content: bytes) -> Inventory:
    """Read the file that `inventory` makes; it comes from another machine."""
    document = parse_canonical(content.strip(), "the inventory")
    check_format(document, INVENTORY_FORMAT, "the inventory")
    fields = Fields(document, "the inventory", "format created machine repos blobs")
    blobs: dict[str, int] = {}
    for row in fields.items("blobs"):
        if type(row) is not list or [type(value) for value in row] != [str, int]:
            raise malformed("the inventory: a blob is not [name, size]")
        blobs[matched(ETAG, row[0], "a blob")] = row[1]
    digest = hashlib.sha256(content.strip()).hexdigest()
    return Inventory(digest[:16], fields.text("created", UTC_TIME), blobs)


def inventory_document(cache_path: str, *, hashes_only: bool) -> bytes:
    """Return what this machine's cache has, for `hfaria bundle create --base`.

    With `hashes_only` no name leaves the machine: which models a site runs may itself be secret.
    """
    cache = Cache(cache_path, make=False, allow_symlinks=True)
    if cache.root is None:
        raise BundleError("E-CACHE", USAGE, f"there is no cache at {cache_path}")
    blobs: dict[str, int] = {}
    repos = []
    for name in cache.repo_names():
        found = {etag: size for etag, size, _ in cached_files(cache, name)}
        blobs.update(found)
        kind, _, rest = name.partition("s--")
        refs, commits = _refs_and_commits(cache, name)
        repos.append(
            {
                "type": kind,
                "id": rest.replace("--", "/"),
                "refs": refs,
                "commits": commits,
                "blobs": sorted(found),
            }
        )
    machine = {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "huggingface_hub": _installed_hub(),
        "filesystem": filesystem_kind(cache.path) or None,
        "free": disk_space(cache.path)[1],
    }
    document = {
        "format": INVENTORY_FORMAT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {} if hashes_only else machine,
        "repos": [] if hashes_only else repos,
        "blobs": sorted([etag, size] for etag, size in blobs.items()),
    }
    return canonical(document)


def _refs_and_commits(cache: Cache, name: str) -> tuple[dict[str, str], list[str]]:
    refs: dict[str, str] = {}
    commits: list[str] = []
    with contextlib.suppress(OSError, BundleError), cache.folder([name, "snapshots"]) as folder:
        commits = sorted(commit for commit in folder.names() if COMMIT.fullmatch(commit))
    pending: list[tuple[str, ...]] = [()]
    while pending and len(refs) < 10000:
        at = pending.pop()
        with contextlib.suppress(OSError, BundleError), cache.folder([name, "refs", *at]) as folder:
            for entry in folder.names():
                status = folder.status(entry)
                if status is not None and stat.S_ISDIR(status.st_mode):
                    pending.append((*at, entry))
                    continue
                text = (folder.read(entry, 4096) or b"").decode("ascii", "replace").strip()
                if COMMIT.fullmatch(text) and ref_problem("/".join((*at, entry))) is None:
                    refs["/".join((*at, entry))] = text
    return refs, commits


def _installed_hub() -> str | None:
    """Return huggingface_hub's version without importing it; None if it is not to be seen."""
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder or "."):
                match = re.fullmatch(r"huggingface_hub-(\d[\w.]*)\.dist-info", name)
                if match:
                    return match.group(1)
    return None
