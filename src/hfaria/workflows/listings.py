"""List a commit: at two endpoints at once where two have it, so that one vouches for the other."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from hfaria.errors import HubError
from hfaria.hub.listing import list_page
from hfaria.rules.listing import Listing, RemoteFile, make_listing
from hfaria.rules.retry import TRIES_WITHOUT_END
from hfaria.rules.sizes import count
from hfaria.rules.staleness import ListingTrust, Settled, compare, settle
from hfaria.workflows.first_words import COMPARING_SECONDS
from hfaria.workflows.lines import NotWanted, Race
from hfaria.workflows.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.hub.client import HubClient
    from hfaria.report.reporter import Reporter
    from hfaria.rules.endpoints import ConfiguredEndpoint, Endpoint
    from hfaria.rules.retry import RetryPolicy
    from hfaria.rules.spec import RepoSpec
    from hfaria.rules.words import Candidate
    from hfaria.workflows.lines import Switchboard

_TRIES_BESIDE_OTHERS = 3


@dataclass(frozen=True, slots=True)
class Lister:
    """Lists commits on behalf of one pull."""

    client: HubClient
    spec: RepoSpec
    origin: Endpoint
    policy: RetryPolicy
    reporter: Reporter
    switchboard: Switchboard

    def settle(
        self, holders: Sequence[Candidate], *, hopes: Sequence[Candidate] = (), is_last: bool
    ) -> Settled:
        """List the commit that the holders have, and return the listing that counts.

        The origin's and the first one's are compared, or those of the first two, before any byte
        is fetched; whoever is slow is waited for only a little once one listing is here. A failing
        endpoint is asked again for as long as patience lasts if it ``is_last``. ``hopes`` could not
        be asked whether they have the commit: beside a single holder they are asked, too, and not
        waited for once it has answered.

        Raises `InconsistentListing` when two disagree, and the first one's error when none lists.
        """
        ordered = sorted(holders, key=lambda each: each.endpoint != self.origin)
        asked, others = ordered[:2], ordered[2:]
        known = [each.endpoint for each in asked]
        if len(asked) == 1:
            asked += hopes
        tries = TRIES_WITHOUT_END if is_last and not others else _TRIES_BESIDE_OTHERS
        over = threading.Event()
        given_up_at = time.monotonic() + self.policy.patience_seconds
        futures = {
            self.switchboard.line(each.configured).ask(
                partial(self.list_all, each.configured, each.head.commit_hash, over, tries=tries)
            ): each
            for each in asked
        }
        listings: list[tuple[Endpoint, Listing]] = []
        errors: dict[Endpoint, HubError] = {}
        race = Race(futures, is_over=over)
        late = dict(futures)
        for future in race:
            endpoint = late.pop(future).endpoint
            try:
                listings.append((endpoint, future.result()))
            except HubError as exc:
                errors[endpoint] = exc
                if errors.keys() >= set(known):
                    race.until = given_up_at
                continue
            is_compared = any(each.endpoint in known for each in late.values())
            race.until = time.monotonic() + (COMPARING_SECONDS if is_compared else 0.0)
        if not listings and not others:
            raise next(errors[each] for each in known)
        for each in known:
            if each in errors:
                self.reporter.note(f"passed over: {errors[each].message}")
        if not listings:
            return self.settle(others, hopes=hopes, is_last=is_last)
        for late_one in [each.endpoint for each in late.values() if each.endpoint in known]:
            self.reporter.note(f"{late_one.host} did not list it in time to be compared")
        ranks = [each.endpoint for each in (*ordered, *hopes)]
        settled = settle(sorted(listings, key=lambda each: ranks.index(each[0])), self.origin)
        for endpoint, _, missing in settled.lacking:
            files = count(len(settled.listing.files), "file")
            self.reporter.note(
                f"{endpoint.host} leaves out {missing} of {files}: what "
                f"{settled.endpoint.host} lists counts"
            )
        return settled

    def confirm(self, stored: Listing, by_origin: Candidate) -> Settled | None:
        """List the commit at the origin, too, and return that; None if it is not here in time.

        What an earlier pull kept may be a mirror's word alone: with files left out, or worse.
        """
        over = threading.Event()
        question = partial(
            self.list_all, by_origin.configured, by_origin.head.commit_hash, over, tries=1
        )
        future = self.switchboard.line(by_origin.configured).ask(question)
        for answered in Race([future], time.monotonic() + COMPARING_SECONDS, over):
            try:
                listing = answered.result()
            except HubError:
                break
            found = compare(listing, stored)
            differing = (*found.altered, *found.extra, *found.missing)
            if differing:
                host = by_origin.endpoint.host
                self.reporter.warn(
                    f"the listing kept from earlier is not {host}'s, which counts: "
                    f"`{differing[0]}` differs{', …' if len(differing) > 1 else ''}"
                )
            return Settled(by_origin.endpoint, listing, ListingTrust.ORIGIN)
        return None

    def list_all(
        self,
        configured: ConfiguredEndpoint,
        commit_hash: str,
        over: threading.Event,
        *,
        tries: int,
    ) -> Listing:
        """Read all pages of a commit's listing; runs in the endpoint's line.

        Stops between two of them when ``over`` is set: nobody waits for the rest.
        """
        endpoint = configured.endpoint
        line = self.switchboard.line(configured)
        policy = replace(self.policy, tries=tries)
        files: list[RemoteFile] = []
        seen: set[str] = set()
        url: str | None = None
        pinned = replace(self.spec, revision=commit_hash)
        while not over.is_set():
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
        raise NotWanted
