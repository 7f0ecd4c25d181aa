"""Open what most workflows start from: the Hub's client, the destination, the listing."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hfaria import __version__
from hfaria.cache.filesystem import has_symlinks, nearest_existing
from hfaria.cache.hub_cache import HubCache
from hfaria.cache.local_dir import LocalDir
from hfaria.hub.client import HubClient, Timeouts
from hfaria.hub.token import token_source
from hfaria.rules.layout import LocalDirLayout, RepoLayout
from hfaria.rules.retry import RetryPolicy
from hfaria.workflows.catalogue import Catalogue, Cataloguer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfaria.cache.store import Store
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.listing import Listing
    from hfaria.rules.lock import LockedRepo
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings


@contextmanager
def open_client(
    settings: Settings, reporter: Reporter, token: Secret | None
) -> Iterator[HubClient]:
    """Open a client that shows the token to whom it may be shown, and to nobody else."""
    client = HubClient(
        trusted=settings.trusted,
        token_source=token_source(token, may_use_stored=settings.may_use_stored_token),
        user_agent=f"hfaria/{__version__}",
        ca_bundle=settings.ca_bundle,
        proxies=settings.proxies,
        timeouts=Timeouts.within(settings.patience_seconds),
        on_bad_token=lambda host: reporter.warn(
            f"the token is not accepted by {host}; going on without it"
        ),
    )
    try:
        yield client
    finally:
        client.close()


def open_cache(spec: RepoSpec, settings: Settings, *, may_link_hard: bool = True) -> HubCache:
    """Return the repo's place in the cache; makes nothing."""
    cache_dir = settings.cache_dir
    existing = nearest_existing(cache_dir)
    can_link = settings.allow_symlinks and (
        not os.access(existing, os.W_OK) or has_symlinks(existing)
    )
    layout = RepoLayout(cache_dir, spec.folder_name)
    return HubCache(layout, use_symlinks=can_link, may_link_hard=may_link_hard)


def open_store(
    spec: RepoSpec,
    settings: Settings,
    local_dir: Path | None = None,
    *,
    may_link_hard: bool = True,
) -> Store:
    """Return the place that a repo goes to; makes nothing."""
    if local_dir is not None:
        return LocalDir(LocalDirLayout(local_dir.expanduser()))
    return open_cache(spec, settings, may_link_hard=may_link_hard)


@contextmanager
def open_cataloguer(
    spec: RepoSpec,
    *,
    store: Store,
    client: HubClient,
    settings: Settings,
    reporter: Reporter,
) -> Iterator[Cataloguer]:
    """Open who asks for listings."""
    policy = RetryPolicy.for_patience(settings.patience_seconds)
    cataloguer = Cataloguer(client, spec, store, settings, policy, reporter)
    try:
        yield cataloguer
    finally:
        cataloguer.close()


def find_catalogue(
    cataloguer: Cataloguer, settings: Settings, locked: LockedRepo | None = None
) -> Catalogue:
    """Return the listing: a stored one where the commit is told, else what endpoints say.

    Offline, what is ``locked`` needs none: the entries in the cache tell whether they are it.
    """
    known = cataloguer.known()
    if known is not None:
        return known
    if settings.is_offline and locked is not None:
        listing = _listing_of_entries(locked, settings.cache_dir)
        if listing is not None:
            return Catalogue(listing, settings.endpoint)
    return cataloguer.offline() if settings.is_offline else cataloguer.ask()


def _listing_of_entries(locked: LockedRepo, cache_dir: Path) -> Listing | None:
    from hfaria.cache.inventory import read_repo  # noqa: PLC0415 - rarely needed
    from hfaria.rules.held import listing_as_locked  # noqa: PLC0415

    repo = read_repo(cache_dir, locked.spec)
    for snapshot in () if repo is None else repo.snapshots:
        if snapshot.commit_hash == locked.commit_hash:
            return listing_as_locked(locked, snapshot.entries)
    return None


def list_repo(
    spec: RepoSpec, *, settings: Settings, reporter: Reporter, token: Secret | None = None
) -> Catalogue:
    """Return a repo's listing; writes nothing."""
    store = open_cache(spec, settings)
    with (
        open_client(settings, reporter, token) as client,
        open_cataloguer(
            spec, store=store, client=client, settings=settings, reporter=reporter
        ) as cataloguer,
    ):
        return find_catalogue(cataloguer, settings)
