"""Make each whole revision visible, then its listing, and refs last."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hfaria.bundle.importer.errors import shown
from hfaria.bundle.importer.names import collision, portable_problem
from hfaria.bundle.importer.placing import place_revision, read_ref, tidy, write_ref, write_tree
from hfaria.bundle.importer.receipts import read_receipts
from hfaria.bundle.importer.signatures import VALID
from hfaria.bundle.importer.values import Revision, files_of

if TYPE_CHECKING:
    from hfaria.bundle.importer.store import RepoStore
    from hfaria.bundle.importer.work import Import


def publish(work: Import, store: RepoStore) -> None:
    """Make each whole revision visible, then its listing, and refs last."""
    lock = work.repo_lock(store)
    try:
        pending: dict[str, int] = {}
        for file in files_of(store.repo):
            pending[file.etag] = pending.get(file.etag, 0) + 1
        placed, changed = set(), False
        for revision in store.repo.revisions.values():
            if not all(store.is_here(revision.commit, file) for file in revision.files):
                continue
            problem = _name_problem(work, revision)
            if problem is not None:
                work.unplaceable.append(f"{problem}: revision {revision.commit[:8]} skipped")
                continue
            if not store.is_complete(revision):
                place_revision(store, revision, pending)
                changed = True
            write_tree(store, revision)
            placed.add(revision.commit)
        if changed and hasattr(os, "sync"):
            os.sync()  # before a ref relies on it
        refs = {name: to for name, to in store.repo.refs.items() if to in placed}
        for name, commit in sorted(refs.items()):
            _set_ref(work, store, name, commit)
        work.placed += [(store.repo, commit) for commit in sorted(placed)]
        if len(placed) == len(store.repo.revisions):
            tidy(store)
    finally:
        lock.release()


def _name_problem(work: Import, revision: Revision) -> str | None:
    paths = [file.path for file in revision.files]
    if work.cache.filesystem.has_windows_names:
        for path in paths:
            problem = portable_problem(path)
            if problem is not None:
                return f"this machine's filesystem cannot hold {shown(path)} ({problem})"
    both = collision(paths) if work.cache.filesystem.ignores_case else None
    if both is not None:
        return f"this machine's filesystem cannot tell {shown(both[0])} from {shown(both[1])}"
    return None


def _set_ref(work: Import, store: RepoStore, name: str, commit: str) -> None:
    """Set a ref that is absent. One that names another commit is moved only for a reason."""
    current = read_ref(store, name)
    if current == commit:
        return
    if current is None or _may_move(work, store, name):
        write_ref(store, name, commit)
        before = "new" if current is None else f"was {shown(current[:8])[1:-1]}"
        work.moved.append(f"refs/{name} of {store.repo.label} -> {commit[:8]} ({before})")
    else:
        work.kept.append(
            f"refs/{name} of {store.repo.label} stays at {shown(current[:8])[1:-1]} "
            f"(bundle: {commit[:8]}); use --update-refs to move it"
        )


def _may_move(work: Import, store: RepoStore, name: str) -> bool:
    """Whether a ref may be moved: it was asked for, or signed and not an old set replayed."""
    if work.options.update_refs:
        return True
    if work.signature.status != VALID:
        return False
    ref = f"{store.repo.folder} {name}"
    return all(
        receipt.get("created", "") < work.bundle.created
        for receipt in read_receipts(work.cache.path)
        if ref in receipt.get("refs", ())
    )
