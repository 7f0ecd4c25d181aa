"""Requests without a usable answer: what failed, at which endpoint, and whose move it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import socksio
from huggingface_hub.utils import httpx

from hfaria.errors import EndpointUnreachable, HfariaError
from hfaria.redact import redact
from hfaria.rules.failures import Failure, Reason

if TYPE_CHECKING:
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.proxies import Proxy

TRANSPORT_ERRORS = (httpx.HTTPError, socksio.ProtocolError)
"""What a request can raise; a SOCKS proxy that answers nonsense is told by the library below."""

PROXY_DENIES = 407

_ERRNO = re.compile(r"\[Errno -?\d+\] ")  # the system's number says nothing to a user
_PROXY_HINT = "check HTTPS_PROXY, ALL_PROXY and NO_PROXY, or the endpoint's `proxy` in the config"
# What httpx says of an HTTP proxy, and of a SOCKS proxy.
_DENIAL = re.compile(r"\b407\b|(?i:password|no acceptable methods)")


class RequestFailed(EndpointUnreachable):
    """A request that got no usable answer; ``failure`` says whether asking again may help."""

    def __init__(self, message: str, failure: Failure, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.failure = failure


def unreachable(exc: Exception, endpoint: Endpoint, proxy: Proxy | None = None) -> RequestFailed:
    """Translate a transport error: what failed, at which endpoint, and whose move it is.

    ``proxy`` is the one that the request went through.
    """
    text = _ERRNO.sub("", redact(str(exc))).rstrip(".") or type(exc).__name__
    way = _way(endpoint, proxy)
    hint = None if proxy is None else _PROXY_HINT
    if isinstance(exc, httpx.ConnectTimeout):
        failure = Failure(Reason.UNREACHABLE, "no connection in time")
        return RequestFailed(f"{way} can't be reached: no connection in time", failure, hint=hint)
    if isinstance(exc, httpx.TimeoutException):
        return out_of_time(endpoint)
    if "certificate" in text.lower():
        failure = Failure(Reason.UNTRUSTED)
        return RequestFailed(
            f"{endpoint.host}: TLS certificate not trusted",
            failure,
            hint="if your network has its own CA, name its bundle with SSL_CERT_FILE",
        )
    if isinstance(exc, (httpx.ProxyError, socksio.ProtocolError)):
        if proxy is not None and _DENIAL.search(text):
            return proxy_refusal(text, endpoint, proxy)
        failure = Failure(Reason.TRANSPORT, text)
        return RequestFailed(f"{way} gives no connection: {text}", failure, hint=_PROXY_HINT)
    if isinstance(exc, httpx.ConnectError):
        failure = Failure(Reason.UNREACHABLE, text)
        return RequestFailed(f"{way} can't be reached: {text}", failure, hint=hint)
    failure = Failure(Reason.TRANSPORT, text)
    return RequestFailed(f"the connection to {endpoint.host} was lost: {text}", failure, hint=hint)


def proxy_refusal(text: str, endpoint: Endpoint, proxy: Proxy) -> RequestFailed:
    """Return the error for a proxy that wants another name and password; waiting is no use."""
    failure = Failure(Reason.REFUSED, f"the proxy {proxy}: {text}")
    message = f"{_way(endpoint, proxy)} refuses its name and password ({text})"
    return RequestFailed(message, failure, hint=_PROXY_HINT)


def out_of_time(endpoint: Endpoint) -> RequestFailed:
    """Return the error for an answer that did not come, or did not end, in time."""
    return RequestFailed(f"{endpoint.host} did not answer in time", Failure(Reason.TIMEOUT))


def failure_of(error: HfariaError) -> Failure:
    """Read an error of this room as the scheduler's value."""
    if isinstance(error, RequestFailed):
        return error.failure
    return Failure(Reason.REFUSED, error.message)


def _way(endpoint: Endpoint, proxy: Proxy | None) -> str:
    return endpoint.host if proxy is None else f"{proxy}, the proxy on the way to {endpoint.host},"
