"""Find out where the bytes of a file really come from, without following there."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hfaria.hub.client import RequestFailed, redirect_target, retry_after_seconds
from hfaria.redact import redact_url
from hfaria.rules.failures import Failure, Reason, failure_from_status
from hfaria.rules.transfers import Location

if TYPE_CHECKING:
    from hfaria.hub.client import HubClient
    from hfaria.rules.plan import Transfer
    from hfaria.rules.spec import RepoSpec
    from hfaria.rules.transfers import Route

_OK = 200


def source_url(spec: RepoSpec, commit_hash: str, transfer: Transfer, route: Route) -> str:
    """Return the URL at the route's endpoint that leads to the transfer's bytes."""
    if route.holdings is not None:
        return route.endpoint.join(route.holdings.paths[transfer.blob_name])
    return route.endpoint.join(spec.resolve_path(commit_hash, transfer.path))


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
    url = source_url(spec, commit_hash, transfer, route)
    try:
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
    answered_at = str(response.request.url)
    if not response.is_redirect and response.status_code != _OK:
        return failure_from_status(
            response.status_code,
            at_cdn=False,
            detail=response.headers.get("x-error-message", ""),
            retry_after_seconds=retry_after_seconds(response.headers),
        )
    headers = response.headers
    linked_size = headers.get("x-linked-size")
    size = linked_size or (None if response.is_redirect else headers.get("content-length"))
    etag = (headers.get("x-linked-etag") or "").removeprefix("W/").strip('"')
    if etag and transfer.is_lfs and etag != transfer.blob_name:
        return Failure(Reason.WRONG_CONTENT, f"{endpoint.host} has other content for it")
    if size is not None and size.isdigit() and int(size) != transfer.size:
        if "html" in headers.get("content-type", ""):
            return Failure(Reason.WRONG_CONTENT, f"{endpoint.host} answers with a web page")
        return Failure(Reason.WRONG_LENGTH, f"{endpoint.host} has {size} bytes for it")
    if not response.is_redirect:
        return Location(answered_at, needs_token=route.is_private)
    target = redirect_target(response, endpoint)
    if urlsplit(target).scheme not in {"http", "https"}:
        return Failure(Reason.REFUSED, f"{endpoint.host} leads to {redact_url(target)}")
    return Location(target, is_signed=True)
