"""Take a content that is there as a file: elsewhere in the cache, or on the stick."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from hfaria.bundle.importer.folders import copy_file, digest_file
from hfaria.bundle.importer.format import PACK_PATH, piece_count
from hfaria.bundle.importer.reading import BadPiece, StickGone
from hfaria.bundle.importer.work import Import, Want, are_right, digests_for

if TYPE_CHECKING:
    from hfaria.bundle.importer.cache import Place
    from hfaria.bundle.importer.store import RepoStore

LINKED_BYTES = 1 << 20  # smaller ones are copied between repos, not linked


def take_from_elsewhere(work: Import, store: RepoStore, want: Want) -> bool:
    """Link or copy a content that another repo, or another revision, of the cache holds."""
    for place in work.elsewhere.get(want.etag, ()):
        if work.cache.size_at(place) != want.size:
            continue
        if place not in work.verified and not is_right_at(work, place, want):
            continue
        staging, name = store.staged(), f"{want.sha256}.copy"
        staging.unlink(name)
        with work.cache.folder(place.folders) as folder:
            is_linked = False
            if work.cache.filesystem.has_hardlinks and want.size >= LINKED_BYTES:
                with contextlib.suppress(OSError):
                    folder.link(place.name, staging, name)
                    is_linked = True
            if not is_linked:
                copy_file(folder, place.name, staging, name, want.size)
        staging.replace(name, store.destination(), want.etag)
        return True
    return False


def is_right_at(work: Import, place: Place, want: Want) -> bool:
    """Tell whether what lies there has the digests that it should have; remember it if so."""
    digests = digests_for(want)
    with work.cache.folder(place.folders) as folder, folder.open(place.name) as file:
        digest_file(file, digests, want.size)
    is_right = are_right(digests, want)
    if is_right:
        work.verified.add(place)
    return is_right


def take_whole(work: Import, store: RepoStore, want: Want) -> bool:
    """Rename or link a file of the bundle into the cache, if both are on one filesystem."""
    for bag, held in work.sources[want.sha256]:
        is_file = held.length == want.size and not PACK_PATH.fullmatch(held.path)
        if not is_file or not work.is_beside(bag):
            continue
        digests = digests_for(want)
        try:
            count = piece_count(want.size, work.bundle.piece_size)
            for number in range(count):
                for view in bag.read_piece(held, number, work.bundle.piece_size, stop=count):
                    for digest in digests:
                        digest.update(view)
                    work.console.step(len(view))
        except (BadPiece, StickGone):
            return False
        status = os.fstat(bag.open(held.path).fileno())
        if not are_right(digests, want) or status.st_size != want.size:
            return False
        names = held.path.split("/")
        name = f"{want.sha256}.whole"
        staging = store.staged()
        staging.unlink(name)
        with bag.root.descend(names[:-1]) as folder:
            if work.options.mode == "link":
                folder.link(names[-1], staging, name)
            else:
                folder.rename(names[-1], staging, name)
        found = staging.status(name)
        if found is None or (found.st_ino, found.st_dev) != (status.st_ino, status.st_dev):
            raise staging.refuse(name, "not the file that was read")
        bag.close()
        staging.replace(name, store.destination(), want.etag)
        work.note(store, want)
        return True
    return False
