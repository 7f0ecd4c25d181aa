"""Adopt: take what another tool fetched into the cache, and fetch the rest."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hfaria.cache.adoption import look_at, remove_moved
from hfaria.cache.pull_lock import hold_pull_lock
from hfaria.errors import RevisionNotFound, UsageError
from hfaria.rules.receipt import PartialPull
from hfaria.rules.selection import Selection
from hfaria.rules.sizes import count
from hfaria.rules.spec import RepoSpec, RepoType, is_commit
from hfaria.workflows.access import list_repo, open_cache
from hfaria.workflows.pull import Preview, PullRequest, preview, pull

if TYPE_CHECKING:
    from pathlib import Path

    from hfaria.cache.hub_cache import HubCache
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.adoption import Folder
    from hfaria.rules.listing import Listing, RemoteFile
    from hfaria.rules.receipt import Receipt
    from hfaria.settings import Settings
    from hfaria.workflows.catalogue import Catalogue


class Way(enum.Enum):
    """How a file gets into the cache."""

    LINK = "link"
    """The same file by two names; copied where that can't be."""
    MOVE = "move"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class AdoptRequest:
    """What is asked about one folder; what is None is taken from its bookkeeping."""

    root: Path
    repo_id: str | None = None
    repo_type: RepoType | None = None
    revision: str | None = None
    way: Way = Way.LINK
    fetch_all: bool = False
    """Fetch the whole repo, not only what was wanted in the folder."""
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Adoption:
    """What became of one folder."""

    folder: Folder
    files_found: int
    removed: int
    receipt: Receipt


def adopt(request: AdoptRequest, *, settings: Settings, reporter: Reporter) -> Adoption:
    """Take a folder's files into the cache, each by its digest, and fetch what is missing.

    Nothing of the folder is removed before all that could be is published; unfinished transfers
    of aria2 are taken away from it, to be continued. Raises what a pull raises; after `PartialPull`
    and after a crash, the same call goes on.
    """
    work = _begin(request, settings, reporter)
    store = open_cache(work.request.spec, settings)
    try:
        with hold_pull_lock(store):
            store.prepare(work.listing, None)  # so that the pull need not list again
        receipt = pull(work.request, settings=settings, reporter=reporter)
    except PartialPull as exc:
        _remove(request, work, exc.receipt, store)
        raise
    removed = _remove(request, work, receipt, store)
    return Adoption(work.folder, work.files_found, removed, receipt)


def pull_over(
    spec: RepoSpec,
    selection: Selection,
    folder: Path,
    *,
    to_cache: bool,
    settings: Settings,
    reporter: Reporter,
    token: Secret | None = None,
) -> Receipt:
    """Pull with what lies in a folder, into that folder or into the cache.

    Files that are right are kept, or linked; unfinished transfers of aria2 are continued.
    """
    folder = folder.resolve()
    found = (
        look_at(folder, cache_dir=settings.cache_dir if to_cache else folder, may_link=True)
        if folder.is_dir()
        else None
    )
    request = PullRequest(
        spec, selection, local_dir=None if to_cache else folder, folder=found, token=token
    )
    return pull(request, settings=settings, reporter=reporter)


def preview_adoption(
    request: AdoptRequest, *, settings: Settings, reporter: Reporter
) -> tuple[Folder, Preview]:
    """Return what `adopt` would do; writes nothing."""
    work = _begin(request, settings, reporter)
    return work.folder, preview(work.request, settings=settings, reporter=reporter)


@dataclass(frozen=True, slots=True)
class _Work:
    folder: Folder
    listing: Listing
    request: PullRequest
    files_found: int


def _begin(request: AdoptRequest, settings: Settings, reporter: Reporter) -> _Work:
    folder = look_at(
        request.root, cache_dir=settings.cache_dir, may_link=request.way is not Way.COPY
    )
    spec = _spec(request, folder)
    reporter.note(f"{request.root} is {folder.trace.kind}: {spec.label} at {spec.revision}")
    catalogue = _list(request, spec, folder, settings, reporter)
    listing = catalogue.listing
    found = folder.sources(listing.files)
    begun = folder.begun(listing.files)
    if not found and not begun:
        raise UsageError(
            f"nothing in `{request.root}` is in `{spec.label}` at {listing.commit_hash[:12]}",
            hint="name the right one with `--repo`, `--repo-type` and `--revision`; what was moved "
            "before is in the cache: `hfaria ls`",
        )
    files_found = sum(1 for file in listing.files if file.blob_name in found)
    if not folder.can_link and request.way is Way.LINK:
        reporter.note("the cache is on another disk: files are copied")
    ref = _ref(request, spec, folder, open_cache(spec, settings))
    return _Work(
        folder,
        listing,
        PullRequest(
            replace(spec, revision=ref or listing.commit_hash),
            _selection(request, folder, listing, found.keys() | begun.keys()),
            token=request.token,
            commit_hash=listing.commit_hash,
            folder=folder,
        ),
        files_found,
    )


def _spec(request: AdoptRequest, folder: Folder) -> RepoSpec:
    trace = folder.trace
    repo_id = request.repo_id or trace.repo_id
    if repo_id is None:
        raise UsageError(
            f"`{request.root}` is {trace.kind}, which doesn't tell its repo",
            hint="name it with `--repo namespace/name`",
        )
    kind = request.repo_type or (trace.repo_type if request.repo_id is None else None)
    revision = request.revision or trace.commit_hash or trace.branch
    return RepoSpec(repo_id, kind or RepoType.MODEL, revision)


def _list(
    request: AdoptRequest,
    spec: RepoSpec,
    folder: Folder,
    settings: Settings,
    reporter: Reporter,
) -> Catalogue:
    try:
        return list_repo(spec, settings=settings, reporter=reporter, token=request.token)
    except RevisionNotFound:
        if request.revision is not None or not is_commit(spec.revision):
            raise
        branch = folder.trace.branch
        reporter.warn(f"commit {spec.revision[:12]} is not upstream any more; taking `{branch}`")
        branched = replace(spec, revision=branch)
        return list_repo(branched, settings=settings, reporter=reporter, token=request.token)


def _selection(
    request: AdoptRequest, folder: Folder, listing: Listing, found: set[str]
) -> Selection:
    """Ask for what was wanted in the folder: the whole repo may be far more."""
    wanted = folder.trace.wanted or frozenset()
    names = tuple(
        file.path for file in listing.files if file.path in wanted or file.blob_name in found
    )
    is_all = request.fetch_all or folder.trace.wants_all or len(names) == len(listing.files)
    return Selection() if is_all else Selection(names=names)


def _ref(request: AdoptRequest, spec: RepoSpec, folder: Folder, store: HubCache) -> str | None:
    """Return which ref is to name the commit: without one, only who knows the commit finds it."""
    if request.revision is not None:
        return None if is_commit(request.revision) else request.revision
    branch = folder.trace.branch
    return branch if not is_commit(spec.revision) or store.read_ref(branch) is None else None


def _remove(request: AdoptRequest, work: _Work, receipt: Receipt, store: HubCache) -> int:
    if request.way is not Way.MOVE:
        return 0
    failed = {file.blob_name for file in work.listing.files if _has_failed(file, receipt)}
    commit_hash = work.listing.commit_hash
    return remove_moved(
        (
            (place, store.layout.pointer(commit_hash, file.path), file.blob_name)
            for file, place in work.folder.places(work.listing.files)
            if file.blob_name not in failed
        ),
        request.root,
    )


def _has_failed(file: RemoteFile, receipt: Receipt) -> bool:
    return any(failed.path == file.path for failed in receipt.failed)


def describe(adoption: Adoption) -> str:
    """Say how much of it was there."""
    folder, receipt = adoption.folder, adoption.receipt
    said = f"{folder.root}: {adoption.files_found} of {count(receipt.files, 'file')} found there"
    if folder.partials:
        said += f", {len(folder.partials)} unfinished"
    if adoption.removed:
        said += f", {adoption.removed} moved away"
    return said
