"""Get the listing: from the cache where it is known, else from the right endpoint."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hfaria.errors import (
    AccessDenied,
    EndpointUnreachable,
    GatedRepo,
    HubError,
    RepoNotFound,
    StaleMirror,
)
from hfaria.hub.answers import gated
from hfaria.hub.listing import list_history
from hfaria.rules.endpoints import Api
from hfaria.rules.spec import is_commit
from hfaria.rules.staleness import Lag, ListingTrust, Settled, Stale, measure_lag, newest
from hfaria.rules.words import Candidate, Head, Word, authority, candidates, verdict
from hfaria.workflows.first_words import COMPARING_SECONDS, FirstWords
from hfaria.workflows.lines import Race, Switchboard
from hfaria.workflows.listings import Lister
from hfaria.workflows.route_finding import RouteFinder, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.cache.store import Store
    from hfaria.hub.client import HubClient
    from hfaria.report.reporter import Reporter
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.listing import Listing
    from hfaria.rules.retry import RetryPolicy
    from hfaria.rules.spec import RepoSpec
    from hfaria.rules.transfers import Route
    from hfaria.settings import Settings


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A listing, what it is worth, and who said what about it.

    No ``head`` means that no endpoint was asked: commit and listing were known here.
    """

    listing: Listing
    endpoint: Endpoint
    trust: ListingTrust = ListingTrust.STORED
    head: Head | None = None
    words: tuple[Word, ...] = ()
    lacking: tuple[tuple[Endpoint, Listing, int], ...] = ()
    sources: str = ""
    """The endpoints that are asked for bytes before any other, as messages name them."""

    @property
    def listed_by(self) -> str | None:
        """Who listed it in this run."""
        return None if self.trust is ListingTrust.STORED else self.endpoint.url

    @property
    def needs_token(self) -> bool:
        """Whether its bytes are refused to anonymous requests."""
        return self.head is not None and self.head.needs_token


@dataclass(slots=True)
class Cataloguer:
    """Asks for listings on behalf of one pull."""

    client: HubClient
    spec: RepoSpec
    store: Store
    settings: Settings
    policy: RetryPolicy
    reporter: Reporter
    _switchboard: Switchboard = field(default_factory=Switchboard)
    _first_words: FirstWords = field(init=False)
    _lister: Lister = field(init=False)

    def __post_init__(self) -> None:
        self._first_words = FirstWords(
            self.client, self.spec, self.settings, self.policy, self.reporter, self._switchboard
        )
        self._lister = Lister(
            self.client,
            self.spec,
            self.settings.origin,
            self.policy,
            self.reporter,
            self._switchboard,
        )

    def close(self) -> None:
        """Wait for nobody any more."""
        self._switchboard.close()

    # --- without a request -----------------------------------------------------------------------

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

    # --- asking ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Ask what `ask` will ask first, without waiting for the answers."""
        if self.settings.stale is not Stale.ACCEPT:
            self.client.warm_up()  # so that the question is out before anything else is imported
            self._first_words.begin(needed=self._needed())

    def ask(self) -> Catalogue:
        """Resolve the revision and list its commit, at those endpoints whose word counts.

        All are asked at once, and the first in order that has the repo is preferred; who is behind,
        or can't be used, is said. What needs a token is asked for at the origin, unless the user
        trusts another endpoint with it.
        """
        chosen, found, words = self._agree()
        chosen, settled = self._list(chosen, found, words)
        return Catalogue(
            settled.listing,
            settled.endpoint,
            settled.trust,
            chosen.head,
            words,
            settled.lacking,
            sources=self._sources(found),
        )

    def head(self) -> Candidate:
        """Resolve the revision, as `ask` does, and list nothing."""
        chosen, _, _ = self._agree()
        return chosen

    def _agree(self) -> tuple[Candidate, tuple[Candidate, ...], tuple[Word, ...]]:
        """Return whose commit counts, who else has something, and what everybody said."""
        words = self._ask_for_words()
        found = candidates(words)
        leading = authority(words, self.settings.trusted)
        if not found or (leading is not None and isinstance(leading.error, AccessDenied)):
            raise self._refusal(words)
        head = leading.head if leading is not None and leading.head is not None else found[0].head
        if head.needs_token:
            found = self._with_token(words, found)
        else:
            found = tuple(each for each in found if not each.head.needs_token)
            self._say_who_is_passed_over(words)
        return self._choose(found, words), found, words

    def routes(self, catalogue: Catalogue) -> tuple[Route, ...]:
        """Return the endpoints to ask for bytes, in order, with what is known of their holdings."""
        words = {word.endpoint: self._first_words.late_word(word) for word in catalogue.words}
        finder = RouteFinder(
            self.client,
            self.spec,
            self.settings.trusted,
            self.reporter,
            self._switchboard,
            self._lister,
        )
        return finder.find(
            [Source(each, words.get(each.endpoint)) for each in self.settings.endpoints],
            catalogue.listing,
            needs_token=catalogue.needs_token,
            partial_listings={endpoint: listing for endpoint, listing, _ in catalogue.lacking},
        )

    def _sources(self, found: Sequence[Candidate]) -> str:
        able = {each.endpoint for each in found}
        hosts = [
            each.endpoint.host
            for each in self.settings.endpoints
            if each.endpoint.api is Api.MODELSCOPE or each.endpoint in able
            if not (each.is_fallback and len(able) > 1)
        ]
        return " and ".join([*([", ".join(hosts[:-1])] if hosts[:-1] else []), *hosts[-1:]])

    def _ask_for_words(self) -> tuple[Word, ...]:
        if self.settings.stale is Stale.ACCEPT:
            return self._first_words.in_turn()
        return self._first_words.at_once(needed=self._needed())

    def _needed(self) -> set[Endpoint]:
        """Return those without whose word the user's policy about stale mirrors can't be kept."""
        settings = self.settings
        needed = set()
        if settings.stale is not None and not is_commit(self.spec.revision):
            needed.add(settings.origin)
        if settings.stale is Stale.FAIL:
            needed.add(settings.endpoint)
        return needed

    def _say_who_is_passed_over(self, words: Sequence[Word]) -> None:
        for word in words:
            if word.head is not None:
                continue
            if word.endpoint == self.settings.origin and isinstance(word.error, RepoNotFound):
                # It may have been taken down there, for a reason.
                self.reporter.warn(f"{word.reason}; going on with what others have")
            else:
                self.reporter.note(f"passed over: {word.reason}")

    # --- which commit ----------------------------------------------------------------------------

    def _choose(self, found: Sequence[Candidate], words: Sequence[Word]) -> Candidate:
        """Return whose commit is pulled, under the user's policy about mirrors that are behind."""
        stale, origin, preferred = self.settings.stale, self.settings.origin, found[0]
        if stale is Stale.ACCEPT or is_commit(self.spec.revision):
            return preferred
        best = newest(found, origin)
        if stale is Stale.ORIGIN and best.endpoint != origin:
            reason = next(word.reason for word in words if word.endpoint == origin)
            raise EndpointUnreachable(
                f"`--stale origin` wants the origin's word, and {reason}",
                hint="reach the origin, or leave `--stale` out",
            )
        if stale is Stale.FAIL and len(found) == 1 and preferred.endpoint != origin:
            raise StaleMirror(
                f"nobody can tell whether {preferred.endpoint.host} is behind: no other answers",
                hint="`--stale accept` takes its commit",
            )
        if preferred.head.commit_hash == best.head.commit_hash:
            return best
        said = f"{preferred.endpoint.host} is {self._lag(preferred, best)} {best.endpoint.host}"
        if stale is Stale.FAIL:
            raise StaleMirror(said)
        commit_hash = best.head.commit_hash[:12]
        self.reporter.note(f"{said}; pulling {commit_hash}")
        return best

    def _lag(self, behind: Candidate, ahead: Candidate) -> Lag:
        """Ask how far one is behind the other; without an answer in time, say less."""
        future = self._switchboard.line(ahead.configured).ask(
            partial(list_history, self.client, self.spec, ahead.head.commit_hash, ahead.endpoint)
        )
        for answered in Race([future], until=time.monotonic() + COMPARING_SECONDS):
            try:
                history, is_whole = answered.result()
            except HubError:
                break
            return measure_lag(behind.head, ahead.head, history, is_whole=is_whole)
        return measure_lag(behind.head, ahead.head, (), is_whole=False)

    # --- which listing ---------------------------------------------------------------------------

    def _list(
        self, chosen: Candidate, found: Sequence[Candidate], words: Sequence[Word]
    ) -> tuple[Candidate, Settled]:
        """List the chosen commit; if nobody does, and the user has no say, the next newest."""
        commit_hash = chosen.head.commit_hash
        stored = self.store.read_listing(commit_hash)
        holders = [each for each in found if each.head.commit_hash == commit_hash]
        if stored is not None:
            return chosen, self._confirmed(stored, chosen, holders)
        others = [each for each in found if each.head.commit_hash != commit_hash]
        is_last = not others or self.settings.stale is not None
        if self.settings.stale is Stale.ACCEPT:
            holders = [chosen]
        try:
            hopes = self._hopes(chosen, words)
            return chosen, self._lister.settle(holders, hopes=hopes, is_last=is_last)
        except HubError as exc:
            if is_last:
                raise
            self.reporter.note(f"passed over: {exc.message}")
        return self._list(newest(others, self.settings.origin), others, words)

    def _hopes(self, chosen: Candidate, words: Sequence[Word]) -> tuple[Candidate, ...]:
        """Return those that could not be asked, and may have the chosen commit."""
        if self.settings.stale is Stale.ACCEPT:
            return ()
        return tuple(
            Candidate(word.configured, chosen.head)
            for word in words
            if word.head is None and word.may_pass
            if not chosen.head.needs_token or word.endpoint in self.settings.trusted
        )

    def _confirmed(
        self, stored: Listing, chosen: Candidate, holders: Sequence[Candidate]
    ) -> Settled:
        """Compare what an earlier pull kept with the origin's, where mirrors are used at all."""
        origin = self.settings.origin
        by_origin = next((each for each in holders if each.endpoint == origin), None)
        uses_mirrors = any(each.endpoint != origin for each in self.settings.endpoints)
        confirmed = None
        if by_origin is not None and uses_mirrors and self.settings.stale is not Stale.ACCEPT:
            confirmed = self._lister.confirm(stored, by_origin)
        return confirmed or Settled(chosen.endpoint, stored, ListingTrust.STORED)

    # --- who may have it -------------------------------------------------------------------------

    def _with_token(
        self, words: Sequence[Word], found: Sequence[Candidate]
    ) -> tuple[Candidate, ...]:
        """Return those that may see the token, or say why there is none."""
        if self.client.token is None:
            raise self._needs_token()
        origin = self.settings.origin
        able = tuple(each for each in found if each.endpoint in self.settings.trusted)
        if able:
            unable = [w.endpoint.host for w in words if w.endpoint not in self.settings.trusted]
            self._say_who_is_passed_over([w for w in words if w.endpoint in self.settings.trusted])
            if unable:
                hosts = " and ".join(unable)
                self.reporter.note(
                    f"{hosts} can't serve what needs a token; asking {able[0].endpoint.host}"
                )
            return able
        if not self.settings.uses_origin:
            raise AccessDenied(
                f"`{self.spec.label}` needs the token, which goes to {origin.host} only, and "
                "`--no-origin` leaves that out",
                hint="leave out `--no-origin`, or trust the mirror with the token: "
                "`--trust-endpoint`",
            )
        said = self._first_words.again(next(word for word in words if word.endpoint == origin))
        if said.head is not None:
            return (Candidate(said.configured, said.head),)
        if said.is_refusal and said.error is not None:
            raise said.error
        raise EndpointUnreachable(
            f"`{self.spec.label}` needs the token, which goes to the origin only, and "
            f"{said.reason}",
            hint="reach the origin, or trust the mirror with the token: `--trust-endpoint`",
        )

    def _needs_token(self) -> GatedRepo:
        page = self.settings.origin.join(self.spec.page_path)  # only there is a licence accepted
        return gated(self.spec, page=page, has_token=False)

    def _refusal(self, words: Sequence[Word]) -> HubError:
        """Return the error for a repo that nobody has for us, with what to do about it."""
        error = verdict(words, self.settings.trusted)
        if isinstance(error, GatedRepo) and self.client.token is None:
            return self._needs_token()
        is_clear = not isinstance(error, RepoNotFound)  # such as a disabled repo
        said_by = next((word.endpoint for word in words if word.error is error), None)
        if is_clear or said_by is None or said_by in self.settings.trusted:
            return error
        origin = self.settings.origin.host
        if not self.settings.uses_origin:
            what = f"leave out `--no-origin`: the token goes to {origin} only"
        elif self.client.token is None:
            what = f"it needs a token (`hf auth login`, HF_TOKEN), which goes to {origin} only"
        else:
            what = f"only {origin} can tell, which gets the token"
        error.hint = f"if it is private or gated, {what}; else check the spelling and `--repo-type`"
        return error
