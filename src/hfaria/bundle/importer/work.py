"""One import: its sticks and its cache, and what has come of it so far."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from hfaria.bundle.importer.bags import Bag, sources_of
from hfaria.bundle.importer.cache import Cache, Place
from hfaria.bundle.importer.errors import DESTINATION, INTEGRITY, BundleError
from hfaria.bundle.importer.format import PACK_PATH
from hfaria.bundle.importer.hub_format import STAGING, git_blob_sha1
from hfaria.bundle.importer.values import Repo, select_repos

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.bundle.importer.console import Console
    from hfaria.bundle.importer.locks import Lock
    from hfaria.bundle.importer.options import Options
    from hfaria.bundle.importer.signatures import Signature
    from hfaria.bundle.importer.store import RepoStore

LOCK_PATIENCE_SECONDS = 600.0


class Want(NamedTuple):
    """A content that a repo of the cache lacks."""

    etag: str
    sha256: str
    size: int


class Import:
    """What the parts of an import share. What must outlive it is in the cache, never on a stick."""

    def __init__(
        self, bags: Sequence[Bag], options: Options, signature: Signature, console: Console
    ) -> None:
        self.bags = bags
        self.bundle = bags[0].bundle
        self.options = options
        self.signature = signature
        self.console = console
        self.cache = Cache(
            options.cache, make=not options.is_dry_run, allow_symlinks=options.allow_symlinks
        )
        self.repos = select_repos(self.bundle, options.repos)
        self.sources = sources_of(bags)
        self.elsewhere: dict[str, list[Place]] = {}
        self.verified: set[Place] = set()
        self.bad: dict[str, set[int]] = {}
        self.gone: tuple[Bag, str] | None = None
        self.unplaceable: list[str] = []
        self.placed: list[tuple[Repo, str]] = []
        self.moved: list[str] = []
        self.kept: list[str] = []
        self.bytes_needed = 0

    def is_over(self) -> bool:
        """Whether the stick is gone."""
        return self.gone is not None

    def found_elsewhere(self, want: Want) -> Place | None:
        """Return where else in the cache a content lies, or None."""
        for place in self.elsewhere.get(want.etag, ()):
            if self.cache.size_at(place) == want.size:
                return place
        return None

    def is_beside(self, bag: Bag) -> bool:
        """Tell whether a stick and the cache are on one filesystem."""
        with contextlib.suppress(OSError):
            return os.stat(bag.path).st_dev == os.stat(self.cache.path).st_dev
        return False

    def repo_lock(self, store: RepoStore) -> Lock:
        """Take the lock for what is staged under fixed names in a repo."""
        lock = self.cache.lock(store.repo.folder, "hfaria-import.lock")
        since = time.monotonic()
        while not lock.take():
            if time.monotonic() - since > LOCK_PATIENCE_SECONDS:
                message = f"another import of {store.repo.label} does not end"
                raise BundleError("E-BUSY", DESTINATION, message, "wait for it, or stop it")
            time.sleep(0.05)
        return lock

    def note(self, store: RepoStore, want: Want) -> None:
        """Remember a content that was published, for other repos; with `move`, free the stick."""
        self.bad.pop(want.sha256, None)
        kind = "blobs" if self.cache.filesystem.has_symlinks else STAGING
        folders = (
            (store.repo.folder, kind) if kind == "blobs" else (store.repo.folder, kind, "ready")
        )
        place = Place(folders, want.etag)
        self.elsewhere.setdefault(want.etag, []).insert(0, place)
        self.verified.add(place)
        if self.options.mode == "move":
            for bag, held in self.sources.get(want.sha256, ()):
                if not PACK_PATH.fullmatch(held.path):
                    bag.remove(held.path)


def digests_for(want: Want) -> list[Any]:
    """Return what to feed a content to: sha256 and, where its ETag is one, git's digest."""
    git = [git_blob_sha1(want.size)] if len(want.etag) == 40 else []
    return [hashlib.sha256(), *git]


def are_right(digests: Sequence[Any], want: Want) -> bool:
    """Tell whether the digests are those that a content should have."""
    expected = (want.sha256, want.etag)
    return all(digest.hexdigest() == name for digest, name in zip(digests, expected))


def wrong_etag(want: Want) -> BundleError:
    """Return the refusal of bytes that have another git id than the bundle names them by."""
    message = f"the bytes of blob {want.etag} have another git id; nothing was made of them"
    return BundleError("E-ETAG", INTEGRITY, message, "the bundle was altered")
