"""Receipts of whole imports, beside the cache."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.errors import DESTINATION, BundleError
from hfaria.bundle.importer.folders import Folder
from hfaria.bundle.importer.format import receipt_code
from hfaria.bundle.importer.placing import read_ref
from hfaria.bundle.importer.store import RepoStore

if TYPE_CHECKING:
    from hfaria.bundle.importer.work import Import

RECEIPT_FORMAT = "hfaria-receipt/1"
RECEIPT_FOLDER = "hfaria-receipts"


def read_receipts(cache: str) -> list[dict[str, Any]]:
    """Return the receipts of earlier imports that can be read."""
    receipts = []
    parent = os.path.dirname(os.path.realpath(cache))
    with contextlib.suppress(OSError, BundleError):
        root = Folder.root(parent, fault=DESTINATION)
        with root, root.child(RECEIPT_FOLDER) as folder:
            for name in folder.names():
                with contextlib.suppress(ValueError, RecursionError, BundleError):
                    document = json.loads(folder.read(name, 1 << 24) or b"")
                    if isinstance(document, dict):
                        receipts.append(document)
    return receipts


def write_receipt(work: Import) -> str:
    """Note a whole import beside the cache; return the code that is typed back."""
    bundle, code = work.bundle, receipt_code(work.bundle.set_id)
    refs = []
    for repo in work.repos:
        with RepoStore(work.cache, repo, make=False) as store:
            named = [name for name, to in repo.refs.items() if read_ref(store, name) == to]
        refs += [f"{repo.folder} {name}" for name in named]
    document = {
        "format": RECEIPT_FORMAT,
        "set_id": bundle.set_id,
        "created": bundle.created,
        "imported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "signature": work.signature.status,
        "key": work.signature.key,
        "code": code,
        "refs": sorted(refs),
        "commits": sorted(f"{repo.folder} {commit}" for repo, commit in work.placed),
    }
    parent = os.path.dirname(os.path.realpath(work.cache.path))
    try:
        with Folder.root(parent, fault=DESTINATION) as folder, folder.made(RECEIPT_FOLDER) as at:
            name = f"{bundle.short_id}.json"
            at.write(name + ".new", json.dumps(document, indent=1, sort_keys=True).encode("ascii"))
            at.replace(name + ".new", at, name)
    except OSError as exc:
        work.console.say(f"note: no receipt was written in {parent}: {exc.strerror}")
    return code
