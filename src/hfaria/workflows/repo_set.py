"""A manifest's repos and what is locked for each: where `hfaria lock` and `preload` begin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hfaria.project.lock_file import load_lock, lock_path_of
from hfaria.project.manifest_file import load_manifest
from hfaria.rules.listing_digest import digest_of_files
from hfaria.rules.lock import Lock, LockedRepo
from hfaria.workflows.repo_pull import PullRequest, RepoPull

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hfaria.hub.client import HubClient
    from hfaria.redact import Secret
    from hfaria.report.naming import NamingReporter
    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.manifest import Manifest, WantedRepo
    from hfaria.settings import Settings
    from hfaria.workflows.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class RepoSet:
    """A manifest with its lock; ``lock`` is empty where there is none yet."""

    path: Path
    manifest: Manifest
    lock_path: Path
    lock: Lock
    has_lock: bool

    def with_lock(self, lock: Lock) -> RepoSet:
        """Return the same repos with another lock."""
        return replace(self, lock=lock, has_lock=True)

    def settings_for(self, wanted: WantedRepo, settings: Settings) -> Settings:
        """Return the settings with the endpoints that the manifest names for a repo, if any."""
        if not wanted.endpoints:
            return settings
        named_by = f"`{self.path}`, endpoints of `{wanted.spec.label}`"
        named = [(text, named_by) for text in wanted.endpoints]
        return replace(settings, endpoints=settings.endpoints_named(named))


def read_repo_set(path: Path) -> RepoSet:
    """Read a manifest and the lock beside it."""
    lock_path = lock_path_of(path)
    lock = load_lock(lock_path)
    return RepoSet(path, load_manifest(path), lock_path, lock or Lock(), has_lock=lock is not None)


def pull_of(
    wanted: WantedRepo,
    *,
    commit_hash: str | None,
    locked: LockedRepo | None,
    token: Secret | None,
    settings: Settings,
    reporter: NamingReporter,
    client: HubClient,
) -> RepoPull:
    """Return the pull of a wanted repo at a commit, held to what is locked."""
    selection = wanted.selection
    request = PullRequest(
        wanted.spec, selection, token=token, commit_hash=commit_hash, locked=locked
    )
    return RepoPull(
        request,
        settings=settings,
        reporter=reporter,
        client=client,
    )


def lock_repo(wanted: WantedRepo, catalogue: Catalogue, files: Sequence[RemoteFile]) -> LockedRepo:
    """Return the lock's entry for what was listed and selected just now."""
    return LockedRepo(
        spec=wanted.spec,
        commit_hash=catalogue.listing.commit_hash,
        digest=digest_of_files(files),
        files=len(files),
        size=sum(file.size for file in files),
        endpoint=catalogue.endpoint.url,
        locked_at=datetime.now(timezone.utc).replace(microsecond=0),
        include=wanted.include,
        exclude=wanted.exclude,
        variant=wanted.variant,
    )


def as_locked(wanted: WantedRepo, locked: LockedRepo) -> WantedRepo:
    """Return the repo with the selection that was locked."""
    return replace(wanted, include=locked.include, exclude=locked.exclude, variant=locked.variant)
