"""Get the listing: from the cache where it is known, else from the right endpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from hfaria.errors import (
    AccessDenied,
    EndpointUnreachable,
    GatedRepo,
    HubError,
    RepoNotFound,
)
from hfaria.hub.answers import gated
from hfaria.hub.listing import Head, list_page, resolve_head
from hfaria.rules.listing import Listing, RemoteFile, make_listing
from hfaria.rules.spec import is_commit
from hfaria.rules.transfers import Route
from hfaria.workflows.patience import patiently

if TYPE_CHECKING:
    from hfaria.cache.store import Store
    from hfaria.hub.client import HubClient
    from hfaria.report.reporter import Reporter
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.retry import RetryPolicy
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings

_FIRST_TRIES = 3


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A listing, and the routes by which its bytes can be fetched.

    No ``head`` means that no endpoint was asked: commit and listing were known here.
    """

    listing: Listing
    endpoint: Endpoint
    head: Head | None = None

    @property
    def routes(self) -> tuple[Route, ...]:
        """Endpoints to ask for bytes, in order."""
        return (Route(self.endpoint, is_private=self.head is not None and self.head.needs_token),)


@dataclass(frozen=True, slots=True)
class Cataloguer:
    """Asks for listings on behalf of one pull."""

    client: HubClient
    spec: RepoSpec
    store: Store
    settings: Settings
    policy: RetryPolicy
    reporter: Reporter

    def known(self) -> Catalogue | None:
        """Return the listing of a pull by commit whose tree file is here: no request at all."""
        if not is_commit(self.spec.revision):
            return None
        listing = self.store.read_listing(self.spec.revision)
        return None if listing is None else Catalogue(listing, self.settings.endpoint)

    def offline(self) -> Catalogue:
        """Return what the cache knows of the revision, or say that it doesn't."""
        commit_hash = (
            self.spec.revision
            if is_commit(self.spec.revision)
            else self.store.read_ref(self.spec.revision)
        )
        listing = None if commit_hash is None else self.store.read_listing(commit_hash)
        if listing is None:
            raise EndpointUnreachable(
                f"offline, and `{self.spec.label}` at `{self.spec.revision}` is not in the cache",
                hint="unset HF_HUB_OFFLINE to go online, or name the right `--dest`",
            )
        return Catalogue(listing, self.settings.endpoint)

    def ask(self) -> Catalogue:
        """Resolve the revision at the endpoint and list its commit there.

        What needs a token is asked for at the origin, unless the user trusts the endpoint.
        """
        endpoint = self.settings.endpoint
        try:
            head = self._head(endpoint)
        except (AccessDenied, RepoNotFound) as exc:
            if not self._may_go_to_origin(endpoint):
                raise self._explained(exc, endpoint) from exc
            endpoint, head = self._at_origin(endpoint)
        else:
            if head.needs_token and endpoint not in self.settings.trusted:
                if not self._may_go_to_origin(endpoint):
                    raise self._needs_token()
                endpoint, head = self._at_origin(endpoint)
        if head.needs_token and self.client.token is None:
            raise self._needs_token()
        listing = self.store.read_listing(head.commit_hash) or self._list(endpoint, head)
        return Catalogue(listing, endpoint, head)

    def _needs_token(self) -> GatedRepo:
        page = self.settings.origin.join(self.spec.page_path)  # only there is a licence accepted
        return gated(self.spec, page=page, has_token=False)

    def _may_go_to_origin(self, endpoint: Endpoint) -> bool:
        is_elsewhere = endpoint not in self.settings.trusted
        return is_elsewhere and self.client.token is not None

    def _explained(self, exc: HubError, endpoint: Endpoint) -> HubError:
        if isinstance(exc, GatedRepo) and self.client.token is None:
            return self._needs_token()
        is_clear = not isinstance(exc, RepoNotFound)  # such as a disabled repo
        if is_clear or endpoint in self.settings.trusted or self.client.token is not None:
            return exc
        exc.hint = (
            f"if it is private or gated, it needs a token (`hf auth login`, HF_TOKEN), which goes "
            f"to {self.settings.origin.host} only; else check the spelling and `--repo-type`"
        )
        return exc

    def _at_origin(self, mirror: Endpoint) -> tuple[Endpoint, Head]:
        origin = self.settings.origin
        self.reporter.note(f"{mirror.host} can't serve what needs a token; asking {origin.host}")
        try:
            return origin, self._head(origin)
        except EndpointUnreachable as exc:
            raise EndpointUnreachable(
                f"`{self.spec.label}` needs the token, which goes to the origin only, and "
                f"{exc.message}",
                hint="reach the origin, or trust the mirror with the token: `--trust-endpoint`",
            ) from exc

    def _head(self, endpoint: Endpoint) -> Head:
        # The first word from an endpoint: a wrong name should not keep the user for minutes.
        return patiently(
            lambda: resolve_head(self.client, self.spec, endpoint),
            policy=replace(self.policy, tries=_FIRST_TRIES),
            reporter=self.reporter,
        )

    def _list(self, endpoint: Endpoint, head: Head) -> Listing:
        files: list[RemoteFile] = []
        seen: set[str] = set()
        url: str | None = None
        pinned = replace(self.spec, revision=head.commit_hash)
        while True:
            page, url = patiently(
                partial(list_page, self.client, pinned, head.commit_hash, endpoint, url),
                policy=self.policy,
                reporter=self.reporter,
            )
            files += page
            if url is None:
                return make_listing(head.commit_hash, files)
            if url in seen:
                raise HubError(f"the listing at {endpoint.host} goes round in a circle")
            seen.add(url)
