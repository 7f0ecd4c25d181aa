"""Ask an endpoint about a repo in a few small requests, and for a part of its largest file.

Each function yields what is known so far, and more with each answer: whoever runs it may stop
waiting at any time and keep the last word.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hfaria.errors import EndpointUnreachable, GatedRepo, HfariaError, LeftEndpoint
from hfaria.hub.failed_requests import RequestFailed
from hfaria.hub.listing import ask_head, list_history, list_page, read_head
from hfaria.hub.modelscope import modelscope_holdings
from hfaria.rules.endpoints import Endpoint, same_host
from hfaria.rules.failures import failure_from_status
from hfaria.rules.probe import Probe, Sample
from hfaria.rules.standing import History

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub.utils import httpx

    from hfaria.hub.client import HubClient, StreamedAnswer
    from hfaria.rules.listing import Listing, RemoteFile
    from hfaria.rules.spec import RepoSpec

_MORE_HEADS = 3
_SAMPLE_SIZE = 4 << 20
_SHOW_SECONDS = 0.1
_OK, _PARTIAL, _UNAUTHORIZED, _FORBIDDEN = 200, 206, 401, 403
_LIMIT_HEADERS = ("ratelimit", "ratelimit-policy", "retry-after")


@dataclass(frozen=True, slots=True)
class Asking:
    """One endpoint, one repo, and whose token may go where."""

    client: HubClient
    spec: RepoSpec
    endpoint: Endpoint
    is_origin: bool = False


def probe_listing(asking: Asking) -> Iterator[Probe]:
    """Find out what the endpoint says of the repo: commit, listing, and how fast it answers."""
    client, spec, endpoint = asking.client, asking.spec, asking.endpoint
    probe = Probe(endpoint, asking.is_origin, problem="no answer in time")
    yield probe
    try:
        response = ask_head(client, spec, endpoint)
        probe = replace(
            probe,
            is_reachable=True,
            rate_limits=_limits("api", response),
            needs_login=_asks_for_login(response),
        )
        yield replace(probe, problem="no listing in time")
        head = read_head(response, client, spec, endpoint)
        probe = replace(probe, head=head, needs_login=head.needs_token)
        yield replace(probe, problem="no listing in time")
        files, following = list_page(client, spec, head.commit_hash, endpoint, None)
        probe = replace(
            probe,
            problem=None,
            sample=_largest(files, spec, head.commit_hash),
            files=tuple(files),
            keeps_listings=True if following is not None else None,
        )
        yield probe
        if following is None:
            probe = replace(probe, keeps_listings=_keeps_listings(asking, head.commit_hash))
        waits: list[float] = []
        for _ in range(_MORE_HEADS):
            started = time.monotonic()
            ask_head(client, spec, endpoint)
            waits.append(time.monotonic() - started)
            probe = replace(probe, latency_seconds=statistics.median(waits))
            yield probe
    except HfariaError as exc:
        if probe.problem is None:
            return  # the listing came: what failed later is no reason not to use it
        yield _refused(probe, exc)


def probe_holdings(asking: Asking, listing: Listing) -> Iterator[Probe]:
    """Find out which files of a Hub's ``listing`` an endpoint that speaks ModelScope's API has."""
    probe = Probe(asking.endpoint, is_origin=False, problem="no answer in time")
    yield probe
    started = time.monotonic()
    try:
        holdings = modelscope_holdings(asking.client, asking.spec, asking.endpoint, listing)
    except HfariaError as exc:
        yield _refused(probe, exc)
        return
    wanted = [file for file in listing.files if file.sha256 is not None]
    files = [file for file in wanted if file.blob_name in holdings.paths]
    probe = replace(
        probe,
        is_reachable=True,
        problem=None if files else "has none of the repo's LFS files as they are",
        latency_seconds=time.monotonic() - started,
        held=(len(files), len(wanted)),
    )
    if files:
        largest = max(files, key=lambda file: file.size)
        sample = Sample(
            largest.path, largest.size, largest.blob_name, holdings.paths[largest.blob_name]
        )
        probe = replace(probe, sample=sample)
    yield probe


def probe_bytes(asking: Asking, probe: Probe, *, seconds: float) -> Iterator[Probe]:
    """Fetch a part of the largest file by a range, for some ``seconds`` at most."""
    sample = probe.sample
    if sample is None or not sample.size:
        return
    yield replace(probe, problem="no bytes in time")
    start = sample.size // 3  # not at the start, which a cache may have kept for itself
    stop = min(sample.size, start + _SAMPLE_SIZE)
    url = asking.endpoint.join(sample.url_path)
    answer = asking.client.stream(
        url, endpoint=asking.endpoint, headers={"range": f"bytes={start}-{stop - 1}"}
    )
    try:
        with answer as response:
            probe = _judged(probe, response, url, start=start, stop=stop)
            yield probe if probe.problem else replace(probe, problem="no bytes in time")
            if probe.problem is None:
                yield from _measured(probe, answer, wanted=stop - start, seconds=seconds)
    except HfariaError as exc:
        yield _refused(probe, exc)


def history_of(asking: Asking, commit_hash: str) -> History:
    """Return the commit and its predecessors, or nothing where the endpoint doesn't tell."""
    try:
        entries, is_whole = list_history(asking.client, asking.spec, commit_hash, asking.endpoint)
    except HfariaError:
        return History()
    return History(tuple(entries), is_whole)


def _measured(
    probe: Probe, answer: StreamedAnswer, *, wanted: int, seconds: float
) -> Iterator[Probe]:
    if probe.sample is None:
        return
    digest = hashlib.sha256()
    received = 0
    started = shown = time.monotonic()
    try:
        for piece in answer.pieces():
            received += len(piece)
            digest.update(piece)
            now = time.monotonic()
            if received >= wanted or now - started > seconds:
                break
            if now - shown > _SHOW_SECONDS:
                shown = now
                yield replace(probe, sample=_with(probe.sample, received, now - started))
    except RequestFailed:
        if received == 0:
            raise
    sample = _with(probe.sample, received, time.monotonic() - started)
    if received == 0:
        yield replace(probe, problem="an answer without bytes")
    elif received == wanted and probe.honours_ranges:
        yield replace(probe, sample=replace(sample, digest=digest.hexdigest()))
    else:
        yield replace(probe, sample=sample)


def _with(sample: Sample, received: int, seconds: float) -> Sample:
    return replace(sample, received=received, seconds=seconds)


def _judged(probe: Probe, response: httpx.Response, url: str, *, start: int, stop: int) -> Probe:
    """Read the head of the answer to a range, as a pull would."""
    answered_at = str(response.url)
    is_elsewhere = not same_host(answered_at, url)
    host = Endpoint(answered_at).host if is_elsewhere else None
    limits = (*probe.rate_limits, *(() if is_elsewhere else _limits("resolve", response)))
    probe = replace(probe, location_host=host, rate_limits=limits)
    status = response.status_code
    if status not in {_OK, _PARTIAL}:
        failure = failure_from_status(status, at_cdn=False)
        where = host or probe.endpoint.host
        refused = status in {_UNAUTHORIZED, _FORBIDDEN} and not is_elsewhere
        return replace(
            probe,
            problem=f"{where} refuses the bytes: {failure}",
            needs_login=True if refused else probe.needs_login,
        )
    sample = probe.sample
    size = 0 if sample is None else sample.size
    length = response.headers.get("content-length", "")
    if status == _PARTIAL:
        promised = f"bytes {start}-{stop - 1}/{size}"
        if response.headers.get("content-range", "").strip() != promised:
            return replace(probe, problem="answers with another range than was asked for")
        return replace(probe, honours_ranges=True)
    if response.headers.get("content-encoding", "identity") != "identity":
        return replace(probe, honours_ranges=False, problem="compresses what it was not asked to")
    if length.isdigit() and int(length) != size:
        what = "a web page" if "html" in response.headers.get("content-type", "") else "other bytes"
        return replace(probe, problem=f"answers with {what} where the file should be")
    return replace(probe, honours_ranges=False)


def _refused(probe: Probe, exc: HfariaError) -> Probe:
    # That there are other endpoints is known here.
    remedy = None if exc.hint == EndpointUnreachable.hint else exc.hint
    problem = exc.message.removeprefix(f"{probe.endpoint.host} ")
    probe = replace(probe, problem=problem, remedy=remedy)
    if isinstance(exc, RequestFailed):
        if exc.failure.retry_after_seconds is not None:
            wait = ("retry-after", f"{exc.failure.retry_after_seconds:.0f}")
            probe = replace(probe, rate_limits=(*probe.rate_limits, wait))
        return replace(probe, is_reachable=probe.is_reachable or exc.failure.status is not None)
    if isinstance(exc, GatedRepo):
        probe = replace(probe, needs_login=True)
    if isinstance(exc, LeftEndpoint) and probe.head is not None:
        probe = replace(probe, keeps_listings=False)
    return replace(probe, is_reachable=True)


def _asks_for_login(response: httpx.Response) -> bool | None:
    """Tell an endpoint that lets nobody in unnamed from a Hub that hides a repo."""
    is_refusal = response.status_code in {_UNAUTHORIZED, _FORBIDDEN}
    return True if is_refusal and "x-error-code" not in response.headers else None


def _keeps_listings(asking: Asking, commit_hash: str) -> bool | None:
    """Ask for a page of one entry, to see where the next page would be."""
    url = asking.endpoint.join(asking.spec.tree_path(commit_hash)) + "?recursive=true&limit=1"
    try:
        _, following = list_page(asking.client, asking.spec, commit_hash, asking.endpoint, url)
    except LeftEndpoint:
        return False
    return None if following is None else True


def _largest(files: list[RemoteFile], spec: RepoSpec, commit_hash: str) -> Sample | None:
    if not files:
        return None
    largest = max(files, key=lambda file: file.size)
    url_path = spec.resolve_path(commit_hash, largest.path)
    return Sample(largest.path, largest.size, largest.blob_name, url_path)


def _limits(kind: str, response: httpx.Response) -> tuple[tuple[str, str], ...]:
    told = [
        f"{name}: {response.headers[name]}" for name in _LIMIT_HEADERS if name in response.headers
    ]
    return ((kind, "; ".join(told)),) if told else ()
