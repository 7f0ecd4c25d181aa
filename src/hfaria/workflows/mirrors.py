"""Mirrors: probe the configured endpoints for one repo, and say in which order to ask them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from hfaria import __version__
from hfaria.errors import EndpointUnreachable
from hfaria.hub.client import HubClient, Timeouts
from hfaria.hub.probe import (
    Asking,
    history_of,
    probe_bytes,
    probe_holdings,
    probe_listing,
)
from hfaria.hub.token import token_source
from hfaria.rules.endpoints import Api
from hfaria.rules.listing import Listing
from hfaria.rules.probe import Probe
from hfaria.rules.ranking import note_differing_bytes, rank
from hfaria.rules.sizes import count
from hfaria.rules.staleness import newest
from hfaria.rules.standing import History, Standing, standing_of
from hfaria.rules.words import Candidate
from hfaria.workflows.bounded import run_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.ranking import Ranked
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings
    from hfaria.workflows.bounded import Course

_T = TypeVar("_T")

# Together below 20 s, whatever happens.
_TIMEOUTS = Timeouts(connect=4.0, read=4.0, whole=6.0)
_LISTING_SECONDS = 7.0
_HISTORY_SECONDS = 2.5  # twice: for histories, and for what is no Hub
_BYTES_SECONDS = 7.0
_LONGEST_SAMPLE_SECONDS = 2.5
_FIRST_BYTE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """All endpoints in the order to ask them.

    ``newest`` is whose commit the others are compared with: the origin, or where it gave no answer
    the endpoint with the newest commit.
    """

    spec: RepoSpec
    ranked: tuple[Ranked, ...]
    newest: Probe | None

    @property
    def order(self) -> tuple[Endpoint, ...]:
        """Those that can serve the repo."""
        return tuple(ranked.probe.endpoint for ranked in self.ranked if ranked.place is not None)


def probe_mirrors(
    spec: RepoSpec, *, settings: Settings, token: Secret | None, reporter: Reporter
) -> MirrorReport:
    """Ask every configured endpoint about ``spec``; ends within 20 s."""
    if settings.is_offline:
        raise EndpointUnreachable(
            "offline: no endpoint is asked", hint="unset HF_HUB_OFFLINE to go online"
        )
    client = HubClient(
        trusted=settings.trusted,
        token_source=token_source(token, may_use_stored=settings.may_use_stored_token),
        user_agent=f"hfaria/{__version__}",
        ca_bundle=settings.ca_bundle,
        proxies=settings.proxies,
        timeouts=_TIMEOUTS,
        on_bad_token=lambda host: reporter.warn(
            f"the token is not accepted by {host}; going on without it"
        ),
    )
    with closing(client):
        asked = [
            Asking(client, spec, one.endpoint, is_origin=one.endpoint == settings.origin)
            for one in settings.endpoints
        ]
        reporter.note(f"asking {count(len(asked), 'endpoint')} about {spec.label}")
        hubs = [asking for asking in asked if asking.endpoint.api is Api.HUB]
        courses = run_bounded([probe_listing(asking) for asking in hubs], seconds=_LISTING_SECONDS)
        probes = _last_words(courses)
        best = _newest(settings, probes)
        probes = _with_standings(hubs, probes, best)
        probes = _with_other_apis(asked, probes)
        probes = _with_bytes(asked, probes)
    ranked = rank(note_differing_bytes(probes))
    return MirrorReport(spec, ranked, best)


def _newest(settings: Settings, probes: Sequence[Probe]) -> Probe | None:
    """Return the probe whose commit the others are compared with."""
    configured = {one.endpoint: one for one in settings.endpoints}
    by_endpoint = {probe.endpoint: probe for probe in probes}
    found = [
        Candidate(configured[probe.endpoint], probe.head)
        for probe in probes
        if probe.head is not None
    ]
    return by_endpoint[newest(found, settings.origin).endpoint] if found else None


def _with_standings(
    asked: Sequence[Asking], probes: Sequence[Probe], best: Probe | None
) -> list[Probe]:
    if best is None or best.head is None:
        return list(probes)
    heads = {
        probe.head.commit_hash: asking
        for asking, probe in zip(asked, probes, strict=True)
        if probe.head is not None
    }
    heads[best.head.commit_hash] = next(one for one in asked if one.endpoint == best.endpoint)
    histories: dict[str, History] = {}
    if len(heads) > 1:
        courses = run_bounded(
            [_once(partial(history_of, asking, commit)) for commit, asking in heads.items()],
            seconds=_HISTORY_SECONDS,
        )
        histories = {
            commit: course.items[0]
            for commit, course in zip(heads, courses, strict=True)
            if course.items
        }
    return [replace(probe, standing=_standing(probe, best, histories)) for probe in probes]


def _standing(probe: Probe, best: Probe, histories: Mapping[str, History]) -> Standing:
    if probe.head is None or best.head is None:
        return Standing()
    return standing_of(
        probe.head,
        best.head,
        history=histories.get(best.head.commit_hash, History()),
        own_history=histories.get(probe.head.commit_hash, History()),
    )


def _with_other_apis(asked: Sequence[Asking], hubs: Sequence[Probe]) -> list[Probe]:
    """Add the endpoints that are no Hubs, each asked what it has of a Hub's listing."""
    others = [asking for asking in asked if asking.endpoint.api is Api.MODELSCOPE]
    listed = next((probe for probe in hubs if probe.files and probe.head is not None), None)
    if listed is None or listed.head is None:
        problem = "no Hub gave a listing to compare its files with"
        found = [Probe(one.endpoint, is_origin=False, problem=problem) for one in others]
    else:
        listing = Listing(listed.head.commit_hash, listed.files)
        found = _last_words(
            run_bounded(
                [probe_holdings(asking, listing) for asking in others], seconds=_HISTORY_SECONDS
            )
        )
    by_endpoint = {probe.endpoint: probe for probe in (*hubs, *found)}
    return [by_endpoint[asking.endpoint] for asking in asked]


def _with_bytes(asked: Sequence[Asking], probes: Sequence[Probe]) -> list[Probe]:
    """Take the samples one after another: at once, they would share one line."""
    able = [probe for probe in probes if probe.can_serve]
    sampled: list[Probe] = []
    if not able:
        return list(probes)
    share = _BYTES_SECONDS / len(able)
    for asking, probe in zip(asked, probes, strict=True):
        if not probe.can_serve:
            sampled.append(probe)
            continue
        seconds = min(_LONGEST_SAMPLE_SECONDS, share / 2)
        course = run_bounded(
            [_after(probe, probe_bytes(asking, probe, seconds=seconds))],
            seconds=min(share, seconds + _FIRST_BYTE_SECONDS),
        )
        sampled += _last_words(course)
    return sampled


def _last_words(courses: Sequence[Course[Probe]]) -> list[Probe]:
    return [
        course.items[-1]
        if course.error is None
        # One endpoint's odd answer must not hide what the others said.
        else replace(course.items[-1], problem=f"a bug in hfaria: {course.error!r}")
        for course in courses
    ]


def _after(first: _T, rest: Iterator[_T]) -> Iterator[_T]:
    yield first
    yield from rest


def _once(call: partial[_T]) -> Iterator[_T]:
    yield call()
