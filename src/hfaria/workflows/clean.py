"""Clean: find what no reader needs, and remove it when told to."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import Timeout
from huggingface_hub.utils import WeakFileLock

from hfaria.cache.files import store_errors
from hfaria.cache.hub_cache import HubCache
from hfaria.cache.inventory import read_repo
from hfaria.cache.pull_lock import hold_pull_lock
from hfaria.errors import AlreadyRunning
from hfaria.rules.inventory import Leftover, LeftoverKind, RepoOnDisk
from hfaria.rules.layout import RepoLayout
from hfaria.workflows.verify import find_repos

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hfaria.rules.spec import RepoSpec

_REMOVABLE = {
    LeftoverKind.PARTIAL,
    LeftoverKind.STAGED,
    LeftoverKind.QUARANTINE,
    LeftoverKind.FOREIGN,
    LeftoverKind.ORPHAN,
}


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What can go from one repo's folder, or went; ``busy`` says who holds on to it."""

    repo: RepoOnDisk
    leftovers: tuple[Leftover, ...]
    busy: str | None = None

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(leftover.size for leftover in self.leftovers)


def find_leftovers(
    specs: Sequence[RepoSpec], *, cache_dir: Path, keep_partials: bool
) -> tuple[Cleaning, ...]:
    """Return what `clean` would remove, repo by repo; changes nothing."""
    found = (
        Cleaning(repo, _removable(repo, keep_partials=keep_partials))
        for repo in find_repos(specs, cache_dir)
    )
    return tuple(each for each in found if each.leftovers)


def clean(found: Sequence[Cleaning]) -> tuple[Cleaning, ...]:
    """Remove what was found and still is of no use, and return what went.

    Of a repo that is pulled at this moment nothing is touched, nor what another tool has locked.
    Raises `StoreError`; what went by then has gone, and the rest is as it was.
    """
    return tuple(map(_clean, found))


def _removable(repo: RepoOnDisk, *, keep_partials: bool) -> tuple[Leftover, ...]:
    kinds = _REMOVABLE - ({LeftoverKind.PARTIAL} if keep_partials else set())
    return tuple(leftover for leftover in repo.leftovers if leftover.kind in kinds)


def _clean(found: Cleaning) -> Cleaning:
    spec = found.repo.spec
    layout = RepoLayout(found.repo.folder.parent, spec.folder_name)
    try:
        with hold_pull_lock(HubCache(layout)):
            # Seen again under the lock: a pull may have ended since, and used what was left over.
            now = read_repo(layout.cache_dir, spec)
            still = set() if now is None else {each.path for each in now.leftovers}
            shown = [each for each in found.leftovers if each.path in still]
            removed = tuple(_remove(layout, shown))
            _tidy(layout)
    except AlreadyRunning:
        return Cleaning(found.repo, (), busy="a pull of it is running")
    busy = None if len(removed) == len(shown) else "another tool is writing there"
    return Cleaning(found.repo, removed, busy)


def _remove(layout: RepoLayout, leftovers: Sequence[Leftover]) -> Iterator[Leftover]:
    for leftover in leftovers:
        path = leftover.path
        with store_errors("removing"):
            lock_name = path.name.partition(".")[0]
            if path.parent == layout.blobs and not _is_free(layout, lock_name):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        yield leftover


def _is_free(layout: RepoLayout, blob_name: str) -> bool:
    """Tell whether nobody fetches the blob: huggingface_hub holds its lock until it is linked."""
    path = layout.blob_lock(blob_name)
    if not path.exists():
        return True
    lock = WeakFileLock(path, timeout=0.01)
    try:
        lock.__enter__()
    except Timeout:
        return False
    lock.__exit__(None, None, None)
    return True


def _tidy(layout: RepoLayout) -> None:
    workspace = layout.workspace
    for folder in (
        workspace.partials,
        workspace.staging,
        workspace.quarantine,
        workspace.mending,
        workspace.root,
    ):
        with suppress(OSError):
            folder.rmdir()
