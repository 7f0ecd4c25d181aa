"""Lock a manifest's repos: each at a commit, with a digest over what is selected of it."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.errors import HubError, UsageError
from hfaria.project.lock_file import store_lock
from hfaria.report.naming import NamingReporter
from hfaria.rules.listing_changes import ListingChanges, compare_files
from hfaria.rules.lock import Lock, LockedRepo, LockOutdated, make_lock
from hfaria.rules.manifest import title_of
from hfaria.workflows.access import open_client
from hfaria.workflows.repo_set import RepoSet, as_locked, lock_repo, pull_of, read_repo_set

if TYPE_CHECKING:
    from pathlib import Path

    from hfaria.hub.client import HubClient
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.manifest import WantedRepo
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings
    from hfaria.workflows.repo_pull import RepoPull


@dataclass(frozen=True, slots=True)
class LockRequest:
    """What is to be locked.

    ``upgrade``: move to what the revisions name now; only the repos ``named``, if any are.
    ``may_write``: False compares manifest and lock, and asks nobody.
    ``keeps_endpoints``: those of the settings count, whatever the manifest says.
    """

    manifest: Path
    upgrade: bool = False
    named: tuple[str, ...] = ()
    may_write: bool = True
    keeps_endpoints: bool = False
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class LockChange:
    """What became of one repo's entry; without ``after`` it is gone, without ``before`` new.

    ``files`` says what is different, if both listings could be had; ``bytes_to_fetch`` what this
    machine's cache lacks of it.
    """

    spec: RepoSpec
    before: LockedRepo | None
    after: LockedRepo | None
    files: ListingChanges | None = None
    bytes_to_fetch: int = 0

    @property
    def is_change(self) -> bool:
        """Whether the entry is another one now."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class LockReceipt:
    """The lock as it is now, and what became of each repo that was looked at."""

    path: Path
    lock: Lock
    changes: tuple[LockChange, ...]
    is_written: bool

    @property
    def digest(self) -> str:
        """The one digest over all repos."""
        return self.lock.digest_of(repo.spec for repo in self.lock.repos)


def lock(request: LockRequest, *, settings: Settings, reporter: Reporter) -> LockReceipt:
    """Bring the lock up to date with its manifest, and write it if it changed.

    Without an upgrade, a repo that is locked stays at its commit. All repos are locked, or the file
    stays as it is and the first one's error is raised.
    """
    repos = read_repo_set(request.manifest)
    if not request.may_write:
        check_agreement(repos)
        return LockReceipt(repos.lock_path, repos.lock, (), is_written=False)
    moving = _moving(request, repos)
    with open_client(settings, reporter, request.token) as client:
        locker = _Locker(request, repos, settings, reporter, client)
        changes = [
            locker.lock(wanted, is_moving=wanted.spec in moving) for wanted in repos.manifest.repos
        ]
    kept = {change.spec for change in changes}
    changes += [
        LockChange(locked.spec, locked, None)
        for locked in repos.lock.repos
        if locked.spec not in kept
    ]
    made = make_lock(change.after for change in changes if change.after is not None)
    is_written = store_lock(repos.lock_path, made)
    return LockReceipt(repos.lock_path, made, tuple(changes), is_written)


def check_agreement(repos: RepoSet) -> None:
    """Raise `LockOutdated` unless every repo is locked as the manifest wants it, and no other."""
    if not repos.has_lock:
        raise LockOutdated(f"there is no `{repos.lock_path}`", hint="`hfaria lock` makes it")
    lines = repos.lock.disagreements(repos.manifest.repos)
    if lines:
        more = f", and {len(lines) - 1} more" if len(lines) > 1 else ""
        raise LockOutdated(f"`{repos.lock_path}` and its manifest disagree: {lines[0]}{more}")


def _moving(request: LockRequest, repos: RepoSet) -> frozenset[RepoSpec]:
    if not request.upgrade:
        return frozenset()
    if not request.named:
        return frozenset(wanted.spec for wanted in repos.manifest.repos)
    moving: set[RepoSpec] = set()
    for name in request.named:
        found = repos.manifest.named(name)
        if not found:
            raise UsageError(f"`{repos.path}` names no `{name}`")
        moving |= {wanted.spec for wanted in found}
    return frozenset(moving)


@dataclass(frozen=True, slots=True)
class _Locker:
    """Asks about one repo after the other."""

    request: LockRequest
    repos: RepoSet
    settings: Settings
    reporter: Reporter
    client: HubClient

    def lock(self, wanted: WantedRepo, *, is_moving: bool) -> LockChange:
        """Return the repo's entry as it should be; nobody is asked about one that is right."""
        before = self.repos.lock.find(wanted.spec)
        if before is not None and not is_moving and before.has_selection_of(wanted):
            return LockChange(wanted.spec, before, before)
        stays_at = before.commit_hash if before is not None and not is_moving else None
        with closing(self._pull(wanted, stays_at)) as pull:
            catalogue = pull.catalogue()
            plan = pull.plan(catalogue)
        after = lock_repo(wanted, catalogue, plan.files)
        if before is None:
            return LockChange(wanted.spec, before, after, None, plan.bytes_to_fetch)
        if after.holds_the_same_as(before):
            return LockChange(wanted.spec, before, before)
        old = self._files_of(wanted, before)
        changes = None if old is None else compare_files(old, plan.files)
        return LockChange(wanted.spec, before, after, changes, plan.bytes_to_fetch)

    def _files_of(self, wanted: WantedRepo, locked: LockedRepo) -> tuple[RemoteFile, ...] | None:
        """Return what was locked, or None if its commit is not listed any more."""
        pull = self._pull(as_locked(wanted, locked), locked.commit_hash, locked)
        with closing(pull), suppress(HubError):
            return pull.select(pull.catalogue())
        return None

    def _pull(
        self, wanted: WantedRepo, commit_hash: str | None, locked: LockedRepo | None = None
    ) -> RepoPull:
        settings = self.settings
        if not self.request.keeps_endpoints:
            settings = self.repos.settings_for(wanted, settings)
        return pull_of(
            wanted,
            commit_hash=commit_hash,
            locked=locked,
            token=self.request.token,
            settings=settings,
            reporter=NamingReporter(self.reporter, title_of(wanted.spec)),
            client=self.client,
        )
