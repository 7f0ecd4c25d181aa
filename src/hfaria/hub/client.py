"""The guarded client: every request to an endpoint goes through `HubClient.send`.

It has a timeout for each step, decides for each request anew whether the token may go along, and
follows no redirect by itself. huggingface_hub's own `HfApi` is not used for requests: it sends
the token to any endpoint, follows a listing's ``Link`` to any host with it, and lists without a
timeout; its cure, a client factory, is a global that would change the caller's own use of it.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub.utils import httpx

from hfaria.errors import (
    LeftEndpoint,
    NotAHub,
)
from hfaria.hub.failed_requests import (
    PROXY_DENIES,
    TRANSPORT_ERRORS,
    RequestFailed,
    out_of_time,
    proxy_refusal,
    unreachable,
)
from hfaria.hub.limits import read_allowance, retry_after_seconds
from hfaria.hub.pace import Pace
from hfaria.hub.trust import trust
from hfaria.redact import redact_url
from hfaria.rules.endpoints import may_carry_token, same_host
from hfaria.rules.failures import Failure, Reason, failure_from_status
from hfaria.rules.proxies import Proxies, Proxy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from hfaria.hub.limits import Allowance
    from hfaria.redact import Secret
    from hfaria.rules.endpoints import Endpoint

LARGEST_ANSWER = 64 * 2**20
"""Bytes of an answer that is read whole; a listing's page of 1,000 entries has less than 1 MiB."""

_MOST_REDIRECTS = 5
_FAREWELL_LENGTH, _FAREWELL_SECONDS = 1 << 16, 2.0
_RETRY_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_BAD_TOKEN = 401


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of each step of a request, in seconds."""

    connect: float = 15.0
    read: float = 30.0
    whole: float = 300.0
    """For an answer that is read whole; one that drips would never end otherwise."""

    @staticmethod
    def within(seconds: float) -> Timeouts:
        """Return limits that leave time for a second try within so many seconds."""
        usual = Timeouts()
        return Timeouts(min(usual.connect, seconds / 2), min(usual.read, seconds / 2))


class TokenSource(Protocol):
    """Where the token comes from; asked at the first request that may carry it."""

    def __call__(self) -> Secret | None:
        """Return the token, or None for an anonymous user."""


@dataclass(slots=True)
class HubClient:
    """Sends requests to endpoints. Threads may share it.

    ``trusted`` are the endpoints that may see the token: the origin, and those the user named.
    """

    trusted: tuple[Endpoint, ...]
    token_source: TokenSource
    user_agent: str
    ca_bundle: Path | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    on_bad_token: Callable[[str], None] = lambda _message: None
    on_allowance: Callable[[Endpoint, Allowance], None] = lambda _endpoint, _allowance: None
    proxies: Proxies = field(default_factory=Proxies)
    pace: Pace = field(default_factory=Pace)
    """What streamed bodies may take a second."""
    _local: threading.local = field(default_factory=threading.local)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _clients: list[httpx.Client] = field(default_factory=list)
    _trust: Future[ssl.SSLContext] = field(init=False)
    _token: Secret | None = None
    _token_is_known: bool = False
    _refused_at: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        # Reading a bundle takes as long as what else is done before the first request.
        pool = ThreadPoolExecutor(1, "hfaria-trust")
        self._trust = pool.submit(trust, self.ca_bundle)
        pool.shutdown(wait=False)

    def http(self, url: str, endpoint: Endpoint) -> httpx.Client:
        """Return this thread's connections by the way to ``url``, made at its first request there.

        A pool that all threads share costs each request a walk over all connections, under one
        lock: a third more CPU at 64 threads, measured.
        """
        proxy = self.proxies.find(url, endpoint)
        mine: dict[Proxy | None, httpx.Client] | None = getattr(self._local, "clients", None)
        if mine is None:
            mine = self._local.clients = {}
        if proxy not in mine:
            client = self._make_client(proxy)
            mine[proxy] = client
            with self._lock:
                self._clients.append(client)
        return mine[proxy]

    def _make_client(self, proxy: Proxy | None) -> httpx.Client:
        headers = {
            # In huggingface_hub's form; its own `build_hf_headers` takes 100 ms to look around.
            "user-agent": f"{self.user_agent}; hf_hub/{huggingface_hub.__version__}",
            "accept-encoding": "identity",  # sizes on the wire are sizes of files
        }
        return httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(self.timeouts.read, connect=self.timeouts.connect),
            follow_redirects=False,
            verify=self._trust.result(),
            proxy=self._way_through(proxy),
            trust_env=False,  # which proxy, is decided above
        )

    def _way_through(self, proxy: Proxy | None) -> httpx.Proxy | None:
        if proxy is None:
            return None
        # One that is reached by TLS is trusted as endpoints are.
        context = self._trust.result() if proxy.scheme == "https" else None
        return httpx.Proxy(proxy.reveal_url(), ssl_context=context)

    def warm_up(self) -> None:
        """Import what sends requests; two threads that import at once hold each other up."""
        httpx.HTTPTransport(verify=False, trust_env=False).close()

    def leave(self) -> None:
        """Close this thread's connections; those of a thread that ends would stay until `close`."""
        mine: dict[Proxy | None, httpx.Client] = getattr(self._local, "clients", {})
        self._local.clients = {}
        with self._lock:
            self._clients = [each for each in self._clients if each not in mine.values()]
        for client in mine.values():
            client.close()

    def close(self) -> None:
        """Close all connections, and let nobody wait for the pace any more."""
        self.pace.limit(None)
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()

    @property
    def token(self) -> Secret | None:
        """The user's token, looked up once."""
        if not self._token_is_known:
            self._token = self.token_source()
            self._token_is_known = True
        return self._token

    def carries_token(self, url: str) -> bool:
        """Tell whether a request to ``url`` would carry the token."""
        return (
            may_carry_token(url, self.trusted)
            and self.token is not None
            and _host_key(url) not in self._refused_at
        )

    def send(
        self,
        method: str,
        url: str,
        *,
        endpoint: Endpoint,
        headers: dict[str, str] | None = None,
        silence_seconds: float | None = None,
    ) -> httpx.Response:
        """Send a request and return the answer, whole.

        ``silence_seconds`` limits the wait for each of its pieces more narrowly than usual.

        Redirects are followed on the endpoint's own host only; one that leads away is returned as
        it is. A token that is not accepted is left out of the second try, since public repos need
        none. Raises `RequestFailed` when no answer came, or one that asks to come back later.
        """
        for _ in range(_MOST_REDIRECTS):
            response = self._send_once(
                method, url, endpoint, headers or {}, self.timeout(silence_seconds)
            )
            location = response.headers.get("location")
            if not response.is_redirect or location is None:
                return response
            target = redirect_target(response, endpoint)
            if not same_host(target, url):
                return response
            url = target
        raise LeftEndpoint(f"{endpoint.host} redirects in a circle ({redact_url(url)})")

    def _send_once(
        self,
        method: str,
        url: str,
        endpoint: Endpoint,
        headers: dict[str, str],
        timeout: httpx.Timeout,
    ) -> httpx.Response:
        carries_token = self.carries_token(url)
        response = self._exchange(method, url, endpoint, headers, timeout)
        if carries_token and self._drops_token(response, url, endpoint):
            response = self._exchange(method, url, endpoint, headers, timeout)
        if response.status_code in _RETRY_LATER:
            raise self._later(response, endpoint)
        return response

    def _drops_token(self, response: httpx.Response, url: str, endpoint: Endpoint) -> bool:
        """Leave the token out from now on, if the host of ``url`` says that it doesn't know it."""
        if response.status_code != _BAD_TOKEN or not says_bad_token(response):
            return False
        key = _host_key(url)
        with self._lock:
            is_new = key not in self._refused_at
            self._refused_at.add(key)
        if is_new:
            self.on_bad_token(urlsplit(url).netloc or endpoint.host)
        return True

    def _exchange(
        self,
        method: str,
        url: str,
        endpoint: Endpoint,
        headers: dict[str, str],
        timeout: httpx.Timeout,
    ) -> httpx.Response:
        deadline = time.monotonic() + self.timeouts.whole
        body = bytearray()
        try:
            with self.http(url, endpoint).stream(
                method, url, headers=self._with_token(url, headers), timeout=timeout
            ) as response:
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > LARGEST_ANSWER:
                        raise NotAHub(f"{endpoint.host} answers without end where a Hub is brief")
                    if time.monotonic() > deadline:
                        raise out_of_time(endpoint)
        except TRANSPORT_ERRORS as exc:
            raise unreachable(exc, endpoint, self.proxies.find(url, endpoint)) from exc
        self._refuse_proxy(response, endpoint)
        self.note_allowance(response, endpoint)
        # What is in the body is decoded by now, and as long as it is.
        framing = {b"content-encoding", b"transfer-encoding"}
        return httpx.Response(
            response.status_code,
            headers=[pair for pair in response.headers.raw if pair[0].lower() not in framing],
            content=bytes(body),
            request=response.request,
        )

    def _refuse_proxy(self, response: httpx.Response, endpoint: Endpoint) -> None:
        proxy = self.proxies.find(str(response.url), endpoint)
        if response.status_code == PROXY_DENIES and proxy is not None:
            response.close()
            raise proxy_refusal("HTTP 407", endpoint, proxy)

    def timeout(self, silence_seconds: float | None) -> httpx.Timeout:
        """Return the limits of one request, which may be narrower than the client's."""
        read = self.timeouts.read if silence_seconds is None else silence_seconds
        return httpx.Timeout(
            min(read, self.timeouts.read), connect=min(read, self.timeouts.connect)
        )

    def note_allowance(self, response: httpx.Response, endpoint: Endpoint) -> None:
        """Tell who wants to know what the answer's headers allow."""
        allowance = read_allowance(response.headers)
        if allowance is not None and same_host(str(response.url), endpoint.url):
            self.on_allowance(endpoint, allowance)

    def stream(
        self,
        url: str,
        *,
        endpoint: Endpoint,
        headers: dict[str, str],
        silence_seconds: float | None = None,
    ) -> StreamedAnswer:
        """Open a GET whose body is read piece by piece, following redirects as `send` does.

        The token goes only where it may; a redirect to another host is followed without it.
        """
        return StreamedAnswer(self, url, endpoint, headers, self.timeout(silence_seconds))

    def _with_token(self, url: str, headers: dict[str, str]) -> dict[str, str]:
        if self.carries_token(url) and self.token is not None:
            return {**headers, "authorization": f"Bearer {self.token.reveal()}"}
        return headers

    def _later(self, response: httpx.Response, endpoint: Endpoint) -> RequestFailed:
        failure = failure_from_status(
            response.status_code,
            at_cdn=False,
            retry_after_seconds=retry_after_seconds(response.headers),
        )
        return RequestFailed(f"{endpoint.host}: {failure}", failure)


class StreamedAnswer:
    """A context manager around one streamed GET."""

    def __init__(
        self,
        client: HubClient,
        url: str,
        endpoint: Endpoint,
        headers: dict[str, str],
        timeout: httpx.Timeout,
    ) -> None:
        self._client = client
        self._timeout = timeout
        self._url = url
        self._endpoint = endpoint
        self._headers = headers
        self._response: httpx.Response | None = None

    def __enter__(self) -> httpx.Response:
        url = self._url
        for _ in range(_MOST_REDIRECTS):
            carries_token = self._client.carries_token(url)
            http = self._client.http(url, self._endpoint)
            request = http.build_request(
                "GET",
                url,
                headers=self._client._with_token(url, self._headers),  # noqa: SLF001
                timeout=self._timeout,
            )
            try:
                response = http.send(request, stream=True)
            except TRANSPORT_ERRORS as exc:
                raise self._unreachable(exc, url) from exc
            self._client._refuse_proxy(response, self._endpoint)  # noqa: SLF001
            self._client.note_allowance(response, self._endpoint)
            if carries_token and self._client._drops_token(response, url, self._endpoint):  # noqa: SLF001
                response.close()
                continue
            location = response.headers.get("location")
            if not response.is_redirect or location is None:
                self._response = response
                return response
            url = redirect_target(response, self._endpoint)
            try:
                _finish(response)
            except TRANSPORT_ERRORS as exc:
                raise self._unreachable(exc, url) from exc
        raise LeftEndpoint(f"{self._endpoint.host} redirects in a circle ({redact_url(url)})")

    def __exit__(self, *_: object) -> None:
        if self._response is not None:
            self._response.close()

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes; raises `RequestFailed` when the connection ends early.

        Not in pieces of one size: what had come of the last one would be lost with the connection.
        """
        if self._response is None:
            raise AssertionError("not entered")
        try:
            for piece in self._response.iter_raw():
                self._client.pace.take(len(piece))
                yield piece
        except TRANSPORT_ERRORS as exc:
            raise self._unreachable(exc, str(self._response.url)) from exc

    def _unreachable(self, exc: Exception, url: str) -> RequestFailed:
        proxy = self._client.proxies.find(url, self._endpoint)
        error = unreachable(exc, self._endpoint, proxy)
        if error.failure.reason is not Reason.UNREACHABLE or same_host(url, self._endpoint.url):
            return error
        # Where a redirect leads is out of reach: that says nothing of the endpoint.
        host = urlsplit(url).netloc
        is_silent = isinstance(exc, httpx.ConnectTimeout)
        reason = Reason.TIMEOUT if is_silent else Reason.TRANSPORT
        failure = Failure(reason, f"{host} can't be reached")
        return RequestFailed(f"{host}, where {self._endpoint.host} leads, is out of reach", failure)


def _finish(response: httpx.Response) -> None:
    """Read to the end, so that the connection serves the next request, unless that takes long."""
    deadline = time.monotonic() + _FAREWELL_SECONDS
    length = 0
    for piece in response.iter_raw():
        length += len(piece)
        if length > _FAREWELL_LENGTH or time.monotonic() > deadline:
            break
    response.close()


def redirect_target(response: httpx.Response, endpoint: Endpoint) -> str:
    """Return where a redirect leads; raises `LeftEndpoint` if that is nowhere."""
    try:
        return str(response.url.join(response.headers["location"]))
    except httpx.InvalidURL as exc:
        raise LeftEndpoint(f"{endpoint.host} redirects to what is no URL") from exc


def says_bad_token(response: httpx.Response) -> bool:
    """Tell a token that is not accepted from a repo that hides: the Hub's 401 names the former."""
    message = response.headers.get("x-error-message", "").lower()
    return "x-error-code" not in response.headers or "invalid credentials" in message


def _host_key(url: str) -> str:
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.host}:{parts.port}"
