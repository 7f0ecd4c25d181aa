"""Find out where the bytes of a file really come from, without following there."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hfaria.hub.client import redirect_target
from hfaria.hub.failed_requests import RequestFailed
from hfaria.hub.limits import retry_after_seconds
from hfaria.redact import redact_url
from hfaria.rules.endpoints import Api, same_host
from hfaria.rules.failures import Failure, Reason, failure_from_status
from hfaria.rules.transfers import Location

if TYPE_CHECKING:
    from huggingface_hub.utils import httpx

    from hfaria.hub.client import HubClient
    from hfaria.rules.plan import Transfer
    from hfaria.rules.spec import RepoSpec
    from hfaria.rules.transfers import Route

_OK, _PARTIAL = 200, 206


def source_url(spec: RepoSpec, commit_hash: str, transfer: Transfer, route: Route) -> str:
    """Return the URL at which the route's endpoint is asked for a transfer's bytes.

    An endpoint that is behind has them at a commit of its own, another hub at a path of its own:
    its holdings say where. Such a route must have the blob.
    """
    if route.holdings is None:
        return route.endpoint.join(spec.resolve_path(commit_hash, transfer.path))
    return route.endpoint.join(route.holdings.paths[transfer.blob_name])


def locate(
    client: HubClient,
    spec: RepoSpec,
    commit_hash: str,
    transfer: Transfer,
    route: Route,
    *,
    silence_seconds: float | None = None,
) -> Location | Failure:
    """Ask the route's endpoint where the bytes are: a HEAD, stopping at the first other host.

    The answer's size and ETag are compared with the listing where it has them, so that a login
    page or another file at the same place is noticed before it is fetched.
    """
    endpoint = route.endpoint
    if not route.has(transfer.blob_name):
        return Failure(Reason.NOT_FOUND, f"{endpoint.host} does not have it")
    url = source_url(spec, commit_hash, transfer, route)
    try:
        if endpoint.api is Api.MODELSCOPE:
            return _locate_by_get(client, url, transfer, route, silence_seconds)
        # The courtesy header by which huggingface_hub 1.32 and later count a download once.
        response = client.send(
            "HEAD",
            url,
            endpoint=endpoint,
            headers={"X-HF-Download-Counter": "1"},
            silence_seconds=silence_seconds,
        )
    except RequestFailed as exc:
        return exc.failure
    if not response.is_redirect and response.status_code != _OK:
        return _failure(response, at_cdn=False)
    answered = response.headers
    etag = (answered.get("x-linked-etag") or "").removeprefix("W/").strip('"')
    if etag and transfer.is_lfs and etag != transfer.blob_name:
        return Failure(Reason.WRONG_CONTENT, f"{endpoint.host} has other content for it")
    linked_size = answered.get("x-linked-size")
    size = linked_size or (None if response.is_redirect else answered.get("content-length"))
    failure = _other_size(response, size, transfer, route)
    if failure is not None:
        return failure
    if not response.is_redirect:
        return Location(str(response.request.url), needs_token=route.is_private)
    target = redirect_target(response, endpoint)
    if urlsplit(target).scheme not in {"http", "https"}:
        return Failure(Reason.REFUSED, f"{endpoint.host} leads to {redact_url(target)}")
    return Location(target, is_signed=True)


def _locate_by_get(
    client: HubClient,
    url: str,
    transfer: Transfer,
    route: Route,
    silence_seconds: float | None,
) -> Location | Failure:
    """Ask for one byte and see who answers: ModelScope's API promises an answer to GET alone."""
    asked = client.stream(
        url,
        endpoint=route.endpoint,
        headers={"range": "bytes=0-0"},
        silence_seconds=silence_seconds,
    )
    with asked as response:
        found = str(response.url)
        if response.status_code not in {_OK, _PARTIAL}:
            return _failure(response, at_cdn=not same_host(found, url))
        headers = response.headers
        size = headers.get("content-length")
        if response.status_code == _PARTIAL:
            size = headers.get("content-range", "").rpartition("/")[2]
        failure = _other_size(response, size, transfer, route)
        return failure or Location(found, is_signed=not same_host(found, url))


def _failure(response: httpx.Response, *, at_cdn: bool) -> Failure:
    return failure_from_status(
        response.status_code,
        at_cdn=at_cdn,
        detail=response.headers.get("x-error-message", ""),
        retry_after_seconds=retry_after_seconds(response.headers),
    )


def _other_size(
    response: httpx.Response, size: str | None, transfer: Transfer, route: Route
) -> Failure | None:
    if size is None or not size.isdigit() or int(size) == transfer.size:
        return None
    if "html" in response.headers.get("content-type", ""):
        return Failure(Reason.WRONG_CONTENT, f"{route.endpoint.host} answers with a web page")
    return Failure(Reason.WRONG_LENGTH, f"{route.endpoint.host} has {size} bytes for it")
