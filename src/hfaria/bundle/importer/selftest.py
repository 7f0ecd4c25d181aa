"""Try all of it in a scratch folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from typing import Any

from hfaria.bundle.importer.canonical import canonical, set_id_of
from hfaria.bundle.importer.console import Console
from hfaria.bundle.importer.ed25519 import ed25519_is_valid
from hfaria.bundle.importer.errors import BundleError
from hfaria.bundle.importer.format import (
    BUNDLE_FORMAT,
    BUNDLE_NAME,
    PIECE_SIZE,
    STICK_FORMAT,
    STICK_NAME,
    pool_path,
)
from hfaria.bundle.importer.importing import import_bundle
from hfaria.bundle.importer.options import Options


def selftest() -> None:
    """Make a small bundle, import it twice, and let wrong ones be refused."""
    # RFC 8032, section 7.1, test 2
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    _expect(ed25519_is_valid(public, b"\x72", signature))
    _expect(not ed25519_is_valid(public, b"\x73", signature))
    # One is brought in as small contents are, one piece by piece.
    files = {"config.json": b"{}", "sub/model.safetensors": bytes(range(256)) * 8000}
    rows, objects, ranges = [], {}, []
    scratch = tempfile.mkdtemp(prefix="hfaria-selftest-")
    try:
        bag, cache = os.path.join(scratch, "bag"), os.path.join(scratch, "hub")
        for path, content in sorted(files.items()):
            sha256 = hashlib.sha256(content).hexdigest()
            rows.append([path, sha256, sha256, len(content)])
            objects[sha256] = {"size": len(content), "git_sha1": None}
            at = pool_path(sha256, 0)
            os.makedirs(os.path.dirname(os.path.join(bag, at)), exist_ok=True)
            with open(os.path.join(bag, at), "wb") as file:
                file.write(content)
            ranges.append(
                {"sha256": sha256, "off": 0, "len": len(content), "path": at, "pieces": [sha256]}
            )
        commit = "1" * 40
        revision = {"complete": True, "filter": None, "files": rows}
        repo: dict[str, Any] = {"type": "model", "id": "self/test", "license": None, "gated": False}
        repo.update(refs={"main": commit}, revisions={commit: revision})
        document: dict[str, Any] = {"repos": [repo], "objects": objects, "requires": []}
        document.update(
            set_id=set_id_of(document),
            format=BUNDLE_FORMAT,
            created="2026-01-01T00:00:00Z",
            tool={"name": "hfaria", "version": "selftest"},
            source={"endpoint": "https://example.invalid"},
            piece_size=PIECE_SIZE,
            capabilities=[],
            base={"kind": "none", "id": None},
        )
        content = canonical(document)
        stick = {"format": STICK_FORMAT, "set_id": document["set_id"], "stick": 1, "of": 1}
        stick.update(stick_uuid="x", fs="", finalised="2026-01-01T00:00:00Z", ranges=ranges)
        stick["bundle_sha256"] = hashlib.sha256(content).hexdigest()
        for name, text in ((BUNDLE_NAME, content), (STICK_NAME, canonical(stick))):
            with open(os.path.join(bag, name), "wb") as file:
                file.write(text)
        console = Console(is_quiet=True)
        for _ in range(2):
            _, error = import_bundle([bag], Options(cache, reserve=0), console)
            _expect(error is None)
        for path, expected in files.items():
            snapshot = os.path.join(cache, "models--self--test", "snapshots", commit)
            with open(os.path.join(snapshot, *path.split("/")), "rb") as file:
                _expect(file.read() == expected)
        with open(os.path.join(bag, BUNDLE_NAME), "wb") as file:
            file.write(content.replace(b"config.json", b"../../etc/x"))
        try:
            import_bundle([bag], Options(cache, reserve=0), console)
        except BundleError as exc:
            _expect(exc.code == "E-PATH")
        else:
            raise RuntimeError("the selftest failed: a path out of the cache was taken")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _expect(is_so: object) -> None:
    if not is_so:
        raise RuntimeError("the selftest failed")
