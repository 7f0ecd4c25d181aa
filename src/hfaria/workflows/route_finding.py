"""Find out which endpoints can give a listing's bytes, and which of them each has."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from hfaria.errors import HfariaError, RevisionNotFound
from hfaria.hub.failed_requests import RequestFailed
from hfaria.hub.listing import resolve_head
from hfaria.hub.modelscope import modelscope_holdings
from hfaria.rules.endpoints import Api
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.sizes import count
from hfaria.rules.spec import DEFAULT_REVISION
from hfaria.rules.staleness import holdings_at
from hfaria.rules.transfers import Route
from hfaria.workflows.lines import Race

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from concurrent.futures import Future

    from hfaria.hub.client import HubClient
    from hfaria.report.reporter import Reporter
    from hfaria.rules.endpoints import ConfiguredEndpoint, Endpoint
    from hfaria.rules.listing import Listing
    from hfaria.rules.spec import RepoSpec
    from hfaria.rules.transfers import Holdings
    from hfaria.rules.words import Word
    from hfaria.workflows.lines import Switchboard
    from hfaria.workflows.listings import Lister

_LONGEST_LOOK_SECONDS = 5.0
_TRIES = 2


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of an endpoint before its holdings are asked for; no word: not asked."""

    configured: ConfiguredEndpoint
    word: Word | None


@dataclass(frozen=True, slots=True)
class RouteFinder:
    """Makes routes on behalf of one pull."""

    client: HubClient
    spec: RepoSpec
    trusted: Collection[Endpoint]
    reporter: Reporter
    switchboard: Switchboard
    lister: Lister

    def find(
        self,
        sources: Sequence[Source],
        listing: Listing,
        *,
        needs_token: bool,
        partial_listings: dict[Endpoint, Listing],
    ) -> tuple[Route, ...]:
        """Return the routes to the bytes of ``listing``, in order.

        Who is at another commit is asked what it has of this one; all such at once, and not for
        long. ``partial_listings`` are of those that have the commit, but not all of its files.
        """
        routes: dict[Endpoint, Route] = {}
        asked: dict[Future[Holdings | None], Route] = {}
        over = threading.Event()
        for source in sources:
            route = self._route(source, needs_token=needs_token)
            if route is None:
                continue
            endpoint = source.configured.endpoint
            if endpoint in partial_listings:
                holdings = holdings_at(self.spec, partial_listings[endpoint], listing)
                route = replace(route, holdings=holdings)
            else:
                question = self._question(source, listing, over)
                if question is not None:
                    asked[self.switchboard.line(source.configured).ask(question)] = route
                    continue
            routes[endpoint] = route
        routes |= self._answers(asked, listing, over)
        order = [source.configured.endpoint for source in sources]
        found = [routes[endpoint] for endpoint in order if endpoint in routes]
        return tuple(sorted(found, key=lambda route: route.is_fallback))

    def _route(self, source: Source, *, needs_token: bool) -> Route | None:
        """Return the route as far as the first word tells it, or None if it is no source."""
        configured, word = source.configured, source.word
        endpoint = configured.endpoint
        is_hub = endpoint.api is Api.HUB
        if is_hub and needs_token and endpoint not in self.trusted:
            return None
        down = None
        if word is not None and word.head is None:
            if not word.may_pass and not isinstance(word.error, RevisionNotFound):
                return None
            down = _why_down(word)
        takes_for_closed = word is not None and word.head is not None and word.head.needs_token
        if takes_for_closed and endpoint not in self.trusted:
            return None
        return Route(
            endpoint,
            is_private=is_hub and needs_token,
            is_fallback=configured.is_fallback,
            connections=configured.connections,
            down=down,
        )

    def _question(
        self, source: Source, listing: Listing, over: threading.Event
    ) -> Callable[[], Holdings | None] | None:
        configured, word = source.configured, source.word
        if configured.endpoint.api is Api.MODELSCOPE:
            return partial(
                modelscope_holdings, self.client, self.spec, configured.endpoint, listing
            )
        if word is None or word.may_pass:
            return None
        if word.head is not None and word.head.commit_hash == listing.commit_hash:
            return None
        return partial(self._holdings_behind, configured, word, listing, over)

    def _holdings_behind(
        self, configured: ConfiguredEndpoint, word: Word, listing: Listing, over: threading.Event
    ) -> Holdings | None:
        """Ask one that is at another commit what it has of this; runs in its line.

        Some only keep an old answer about the branch, and have the commit all the same: None.
        """
        endpoint = configured.endpoint
        if word.head is None:  # it lacks the commit or branch; its main one will be near
            pinned = replace(self.spec, revision=DEFAULT_REVISION)
            commit_hash = resolve_head(self.client, pinned, endpoint).commit_hash
        else:
            pinned = replace(self.spec, revision=listing.commit_hash)
            try:
                resolve_head(self.client, pinned, endpoint)
            except RevisionNotFound:
                commit_hash = word.head.commit_hash
            else:
                return None
        theirs = self.lister.list_all(configured, commit_hash, over, tries=_TRIES)
        return holdings_at(self.spec, theirs, listing)

    def _answers(
        self, asked: dict[Future[Holdings | None], Route], listing: Listing, over: threading.Event
    ) -> dict[Endpoint, Route]:
        routes: dict[Endpoint, Route] = {}
        left = dict(asked)
        for future in Race(asked, time.monotonic() + _LONGEST_LOOK_SECONDS, over):
            route = left.pop(future)
            host = route.endpoint.host
            try:
                holdings = future.result()
            except HfariaError as exc:
                self.reporter.note(f"no bytes from {host}: {exc.message}")
                continue
            if holdings is not None:
                has = sum(1 for file in listing.files if file.blob_name in holdings.paths)
                if not has:
                    self.reporter.note(f"no bytes from {host}: it has none of these files")
                    continue
                self.reporter.note(f"{host} has {has} of {count(len(listing.files), 'file')}")
            routes[route.endpoint] = replace(route, holdings=holdings)
        for route in left.values():
            self.reporter.note(f"no bytes from {route.endpoint.host}: it did not say what it has")
        return routes


def _why_down(word: Word) -> Failure | None:
    if isinstance(word.error, RequestFailed):
        return word.error.failure
    return Failure(Reason.TIMEOUT) if word.may_pass else None
