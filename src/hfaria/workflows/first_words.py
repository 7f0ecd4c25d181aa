"""Ask the endpoints for a repo's head: all at once, or in turn; wait out a total outage.

What is judged, `rules/words.py` judges; here are the threads, the time and the notes.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from hfaria.errors import EndpointUnreachable, HubError
from hfaria.hub.failed_requests import RequestFailed
from hfaria.hub.listing import resolve_head
from hfaria.hub.name_service import says_no_such_host
from hfaria.report.reporter import SilentReporter
from hfaria.rules.endpoints import KNOWN_MIRRORS, ORIGIN_URL, Api
from hfaria.rules.retry import TRIES_WITHOUT_END, Attempts
from hfaria.rules.sizes import format_seconds
from hfaria.rules.words import Word, is_outage
from hfaria.workflows.lines import Race
from hfaria.workflows.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from concurrent.futures import Future

    from hfaria.hub.client import HubClient
    from hfaria.report.reporter import Reporter
    from hfaria.rules.endpoints import ConfiguredEndpoint, Endpoint
    from hfaria.rules.retry import RetryPolicy
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings
    from hfaria.workflows.lines import Switchboard

COMPARING_SECONDS = 2.0
"""How long others are waited for once somebody has answered."""
_AFTER_A_REFUSAL_SECONDS = 15.0
_TRIES = 1
_TRIES_WHEN_NEEDED = 3
_ROUND_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 10.0
_SAY_AGAIN_SECONDS = 300.0
# A name that comes with hfaria is right: if nobody knows it, the network is at fault.
_SURE_HOSTS = frozenset(
    {ORIGIN_URL.partition("://")[2], *(mirror.host for mirror in KNOWN_MIRRORS.values())}
)


@dataclass(slots=True)
class FirstWords:
    """Asks for heads on behalf of one pull."""

    client: HubClient
    spec: RepoSpec
    settings: Settings
    policy: RetryPolicy
    reporter: Reporter
    switchboard: Switchboard
    _late: dict[Endpoint, Future[Word]] = field(default_factory=dict)
    _said: str = ""
    _said_at: float = 0.0

    def in_turn(self) -> tuple[Word, ...]:
        """Ask one after the other until somebody has what anybody may have."""

        def ask() -> tuple[Word, ...]:
            words: list[Word] = []
            for configured in self._hubs():
                word = self._ask(configured, tries=_TRIES).result()
                words.append(word)
                if self._settles(word):
                    break
            return tuple(words)

        return self._through_an_outage(ask)

    def begin(self, *, needed: Collection[Endpoint] = ()) -> None:
        """Ask all, and wait for nobody yet."""
        for configured in self._hubs():
            if configured.endpoint not in self._late:
                tries = _TRIES_WHEN_NEEDED if configured.endpoint in needed else _TRIES
                self._late[configured.endpoint] = self._ask(configured, tries=tries)

    def at_once(self, *, needed: Collection[Endpoint] = ()) -> tuple[Word, ...]:
        """Ask all, and wait for the slow ones only a little once somebody has answered.

        Those of ``needed`` are waited for in any case.
        """
        return self._through_an_outage(partial(self._gather, frozenset(needed)))

    def again(self, word: Word) -> Word:
        """Ask an endpoint once more, without whose word nothing can begin."""
        if not word.may_pass:
            return word
        return self._ask(word.configured, tries=_TRIES_WHEN_NEEDED).result()

    def late_word(self, word: Word) -> Word:
        """Return what an endpoint that was silent has said since then, if it did."""
        future = self._late.get(word.endpoint)
        return future.result() if future is not None and future.done() else word

    def _hubs(self) -> Iterable[ConfiguredEndpoint]:
        return (each for each in self.settings.endpoints if each.endpoint.api is Api.HUB)

    def _gather(self, needed: frozenset[Endpoint]) -> tuple[Word, ...]:
        asked = {each.endpoint: each for each in self._hubs()}
        self.begin(needed=needed)
        words: dict[Endpoint, Word] = {}
        limit: float | None = None
        race = Race(self._late.values())
        for future in race:
            word = future.result()
            words[word.endpoint] = word
            del self._late[word.endpoint]
            if words.keys() == asked.keys():
                break
            now = time.monotonic()
            if self._settles(word):
                soon = now + COMPARING_SECONDS
                limit = soon if limit is None else min(limit, soon)
            elif word.is_refusal and limit is None:
                limit = now + _AFTER_A_REFUSAL_SECONDS
            elif word.may_pass:
                # It may be back before another one has even said that it is not.
                again = self._ask(word.configured, tries=_TRIES, after_seconds=_PAUSE_SECONDS)
                self._late[word.endpoint] = again
                race.add(again)
            race.until = limit if words.keys() >= (needed & asked.keys()) else None
        silent = {each: Word(asked[each], may_pass=True) for each in self._late}
        return tuple({**silent, **words}[each] for each in asked)

    def _settles(self, word: Word) -> bool:
        """Tell whether a pull could begin with this word alone."""
        if word.head is None:
            return False
        needs_other = word.head.needs_token and word.endpoint not in self.settings.trusted
        return not needs_other or self.client.token is None

    def _ask(
        self, configured: ConfiguredEndpoint, *, tries: int, after_seconds: float = 0.0
    ) -> Future[Word]:
        line = self.switchboard.line(configured)
        return line.ask(partial(self._word, configured, tries, after_seconds))

    def _word(self, configured: ConfiguredEndpoint, tries: int, after_seconds: float) -> Word:
        """Ask one endpoint; runs in its line's thread."""
        endpoint = configured.endpoint
        line = self.switchboard.line(configured)
        line.pause(after_seconds)
        policy = replace(
            self.policy,
            tries=tries,
            patience_seconds=min(self.policy.patience_seconds, _ROUND_SECONDS),
        )
        try:
            head = patiently(
                partial(resolve_head, self.client, self.spec, endpoint),
                policy=policy,
                reporter=SilentReporter(),
                sleep=line.pause,
            )
        except RequestFailed as exc:
            if says_no_such_host(exc) and endpoint.host not in _SURE_HOSTS:
                return Word(configured, error=_no_such_host(endpoint))
            return Word(configured, error=exc, may_pass=not exc.failure.reason.is_final_here)
        except HubError as exc:
            return Word(configured, error=exc)
        return Word(configured, head)

    # --- outages ---------------------------------------------------------------------------------

    def _through_an_outage(self, ask: Callable[[], tuple[Word, ...]]) -> tuple[Word, ...]:
        """Ask again for as long as patience lasts, if nobody said anything of the repo.

        Whoever starts a pull in the evening, while the line is down, wants it done in the morning.
        """
        longest = min(self.policy.longest_wait_seconds, _LONGEST_WAIT_SECONDS)
        policy = replace(self.policy, tries=TRIES_WITHOUT_END, longest_wait_seconds=longest)
        rounds = Attempts(policy, started_at=time.monotonic())
        while True:
            words = ask()
            if not is_outage(words):
                return words
            named = _soonest_allowed(words)
            wait = rounds.wait_after_failure(time.monotonic(), named)
            if wait is None:
                return words
            self._say_wait(named, words)
            time.sleep(wait)

    def _say_wait(self, named: float, words: Iterable[Word]) -> None:
        """Say what is waited for: once, when the reason changes, and every few minutes.

        A time that all endpoints named is said each time.
        """
        reason = "; ".join(word.reason for word in words)
        now = time.monotonic()
        is_news = reason != self._said or now - self._said_at >= _SAY_AGAIN_SECONDS
        if named:
            self.reporter.note(f"waiting {format_seconds(named)}: {reason}")
        elif is_news:
            patience = self.policy.patience_seconds
            limit = "" if patience == math.inf else f" for up to {format_seconds(patience)}"
            self.reporter.note(f"waiting{limit}: {reason}")
        if is_news:
            self._said, self._said_at = reason, now


def _soonest_allowed(words: Iterable[Word]) -> float:
    """Return in how many seconds the first of the endpoints wants to be asked again."""
    named = [
        word.error.failure.retry_after_seconds or 0.0
        for word in words
        if word.may_pass and isinstance(word.error, RequestFailed)
    ]
    return min(named, default=0.0)


def _no_such_host(endpoint: Endpoint) -> EndpointUnreachable:
    return EndpointUnreachable(
        f"there is no host {endpoint.host}", hint="check the spelling of the endpoint"
    )
