"""Remove what an unfinished set left on sticks and in caches, and nothing that is not its own."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from hfaria.bundle.copying import stick_errors
from hfaria.bundle.finishing import TAG_FILES
from hfaria.bundle.importer.format import HUB_FOLDER, JOURNAL_NAME, POOL_FOLDER
from hfaria.bundle.importer.hub_format import STAGING
from hfaria.bundle.journal import Journal
from hfaria.bundle.writer import files_below

_STAGED = (".part", ".pieces", ".small", ".copy")

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hfaria.bundle.importer.values import Bundle


def remove_unfinished(
    places: Iterable[Path], set_id: str
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the folders that are gone, and those that stay: finished, or with others' files."""
    removed: list[Path] = []
    kept: list[Path] = []
    name = re.compile(rf"hfb-{set_id[:8]}-s\d+")
    for place in places:
        with stick_errors(place):
            for bag in sorted(place.iterdir()):
                if not name.fullmatch(bag.name) or bag.is_symlink() or not bag.is_dir():
                    continue
                (removed if _remove(bag, set_id) else kept).append(bag)
    return tuple(removed), tuple(kept)


def _remove(bag: Path, set_id: str) -> bool:
    journal = Journal.read(bag)
    if journal is None or journal.set_id != set_id:
        return False
    for path in list(files_below(bag)):
        is_payload = path.startswith((f"{HUB_FOLDER}/", f"{POOL_FOLDER}/"))
        if is_payload or path.removesuffix(".tmp") in TAG_FILES:
            (bag / path).unlink()
    for folder, _, _ in os.walk(bag, topdown=False):
        if folder != str(bag):
            with suppress(OSError):  # not empty: somebody else's
                os.rmdir(folder)  # noqa: PTH106
    if {path.name for path in bag.iterdir()} != {JOURNAL_NAME}:
        return False
    journal.path.unlink()
    bag.rmdir()
    return True


def drop_partials(cache_dir: Path, bundle: Bundle) -> int:
    """Remove what imports of a set have staged in a cache; return the bytes that this frees."""
    freed = 0
    for repo in bundle.repos:
        staging = cache_dir / repo.folder / STAGING
        if (cache_dir / repo.folder).is_symlink() or staging.is_symlink() or not staging.is_dir():
            continue
        for sha256 in bundle.objects:
            for suffix in _STAGED:
                path = staging / f"{sha256}{suffix}"
                with suppress(FileNotFoundError):
                    status = path.lstat()
                    path.unlink()
                    freed += getattr(status, "st_blocks", 0) * 512  # by POSIX; partials have holes
        with suppress(OSError):  # another set's partials are there
            staging.rmdir()
    return freed
