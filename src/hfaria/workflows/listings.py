"""List a commit: at two endpoints at once where two have it, so that one vouches for the other."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from hfaria.errors import HubError
from hfaria.hub.listing import list_page
from hfaria.rules.listing import Listing, RemoteFile, make_listing
from hfaria.rules.sizes import count
from hfaria.rules.staleness import settle
from hfaria.workflows.first_words import COMPARING_SECONDS
from hfaria.workflows.lines import Race
from hfaria.workflows.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.hub.client import HubClient
    from hfaria.report.reporter import Reporter
    from hfaria.rules.endpoints import ConfiguredEndpoint, Endpoint
    from hfaria.rules.retry import RetryPolicy
    from hfaria.rules.spec import RepoSpec
    from hfaria.rules.staleness import Settled
    from hfaria.rules.words import Candidate
    from hfaria.workflows.lines import Switchboard

_TRIES_BESIDE_OTHERS = 3
_TRIES_WITHOUT_END = 1_000_000  # patience ends it


@dataclass(frozen=True, slots=True)
class Lister:
    """Lists commits on behalf of one pull."""

    client: HubClient
    spec: RepoSpec
    origin: Endpoint
    policy: RetryPolicy
    reporter: Reporter
    switchboard: Switchboard

    def settle(self, holders: Sequence[Candidate], *, is_last: bool) -> Settled:
        """List the commit that the holders have, and return the listing that counts.

        The origin's and the first one's are compared, or those of the first two, before any byte
        is fetched; whoever is slow is waited for only a little once one listing is here. A failing
        endpoint is asked again for as long as patience lasts if it ``is_last``.

        Raises `InconsistentListing` when two disagree, and the first one's error when none lists.
        """
        ordered = sorted(holders, key=lambda each: each.endpoint != self.origin)
        asked, others = ordered[:2], ordered[2:]
        tries = _TRIES_WITHOUT_END if is_last and not others else _TRIES_BESIDE_OTHERS
        futures = {
            self.switchboard.line(each.configured).ask(
                partial(self.list_all, each.configured, each.head.commit_hash, tries=tries)
            ): each
            for each in asked
        }
        listings: list[tuple[Endpoint, Listing]] = []
        errors: list[HubError] = []
        race = Race(futures)
        for future in race:
            endpoint = futures[future].endpoint
            try:
                listings.append((endpoint, future.result()))
            except HubError as exc:
                errors.append(exc)
                continue
            race.until = time.monotonic() + COMPARING_SECONDS
        if not listings:
            if not others:
                raise errors[0]
            self._pass_over(errors)
            return self.settle(others, is_last=is_last)
        self._pass_over(errors)
        ranks = [each.endpoint for each in ordered]
        settled = settle(sorted(listings, key=lambda each: ranks.index(each[0])), self.origin)
        for endpoint, _, missing in settled.lacking:
            files = count(len(settled.listing.files), "file")
            self.reporter.note(
                f"{endpoint.host} leaves out {missing} of {files}: what "
                f"{settled.endpoint.host} lists counts"
            )
        return settled

    def list_all(self, configured: ConfiguredEndpoint, commit_hash: str, *, tries: int) -> Listing:
        """Read all pages of a commit's listing; runs in the endpoint's line."""
        endpoint = configured.endpoint
        line = self.switchboard.line(configured)
        policy = replace(self.policy, tries=tries)
        files: list[RemoteFile] = []
        seen: set[str] = set()
        url: str | None = None
        pinned = replace(self.spec, revision=commit_hash)
        while True:
            page, url = patiently(
                partial(list_page, self.client, pinned, commit_hash, endpoint, url),
                policy=policy,
                reporter=self.reporter,
                sleep=line.pause,
            )
            files += page
            if url is None:
                return make_listing(commit_hash, files)
            if url in seen:
                raise HubError(f"the listing at {endpoint.host} goes round in a circle")
            seen.add(url)

    def _pass_over(self, errors: Sequence[HubError]) -> None:
        for error in errors:
            self.reporter.note(f"passed over: {error.message}")
