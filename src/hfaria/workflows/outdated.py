"""Outdated: compare the refs of the cache with what they name upstream now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hfaria.errors import HubError, RepoNotFound, RevisionNotFound
from hfaria.workflows.access import open_cache, open_cataloguer, open_client
from hfaria.workflows.verify import find_repos

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.hub.client import HubClient
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """A cached ref and what it names upstream; without a ``theirs``, the ``error`` says why."""

    spec: RepoSpec
    ours: str
    theirs: str | None = None
    endpoint: str | None = None
    error: HubError | None = None

    @property
    def is_outdated(self) -> bool:
        """Whether upstream names another commit."""
        return self.theirs is not None and self.theirs != self.ours

    @property
    def is_gone(self) -> bool:
        """Whether there is nothing of that name upstream, or nothing for us."""
        return isinstance(self.error, RepoNotFound | RevisionNotFound)


def compare(
    specs: Sequence[RepoSpec],
    *,
    settings: Settings,
    reporter: Reporter,
    token: Secret | None = None,
) -> tuple[Comparison, ...]:
    """Ask, for every ref of the named repos, or of all, which commit it names upstream."""
    refs = [
        (replace(repo.spec, revision=ref), commit)
        for repo in find_repos(specs, settings.cache_dir)
        for ref, commit in sorted(repo.refs.items())
    ]
    if not refs:
        return ()
    with (
        open_client(settings, reporter, token) as client,
        ThreadPoolExecutor(min(_AT_ONCE, len(refs)), "hfaria-compare") as pool,
    ):
        asked = [pool.submit(_compare, *each, client, settings, reporter) for each in refs]
        return tuple(each.result() for each in asked)


def _compare(
    spec: RepoSpec, ours: str, client: HubClient, settings: Settings, reporter: Reporter
) -> Comparison:
    store = open_cache(spec, settings)
    try:
        with open_cataloguer(
            spec, store=store, client=client, settings=settings, reporter=reporter
        ) as cataloguer:
            found = cataloguer.head()
    except HubError as exc:
        return Comparison(spec, ours, error=exc)
    finally:
        client.leave()
    return Comparison(spec, ours, found.head.commit_hash, found.endpoint.host)
