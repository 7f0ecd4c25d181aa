"""Edit a manifest where its lock has to follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.project.lock_file import load_lock, lock_path_of, store_lock
from hfaria.project.manifest_edit import remove_repo
from hfaria.rules.lock import make_lock

if TYPE_CHECKING:
    from pathlib import Path

    from hfaria.rules.manifest import WantedRepo


def remove(manifest: Path, name: str) -> tuple[WantedRepo, ...]:
    """Remove the repo that ``name`` means from a manifest and its lock; returns it."""
    lock_path = lock_path_of(manifest)
    lock = load_lock(lock_path)  # before anything is changed: it may not be readable
    removed = remove_repo(manifest, name)
    specs = {repo.spec for repo in removed}
    if lock is not None:
        store_lock(lock_path, make_lock(each for each in lock.repos if each.spec not in specs))
    return removed
