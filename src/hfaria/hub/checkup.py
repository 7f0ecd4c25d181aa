"""Check one endpoint from the name up to the bytes of a file, in steps that build on each other."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hfaria.errors import EndpointUnreachable, ExitCode, HfariaError, HubError, LeftEndpoint
from hfaria.hub import wire
from hfaria.hub.answers import refuse
from hfaria.hub.client import redirect_target
from hfaria.hub.listing import ask_head, list_page, read_head
from hfaria.hub.modelscope import modelscope_holdings
from hfaria.hub.trust import trust
from hfaria.rules.checkup import LAST_STEP, Check, fail, is_failure, ok, warn
from hfaria.rules.diagnosis import ClockReading
from hfaria.rules.endpoints import Api, Endpoint, same_host
from hfaria.rules.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from huggingface_hub.utils import httpx

    from hfaria.hub.client import HubClient
    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.proxies import Proxy
    from hfaria.rules.spec import RepoSpec

STEP_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}
_OK, _PARTIAL, _BAD_TOKEN = 200, 206, 401
_DENIALS = frozenset({401, 403})
_NETWORK_HINT = "try another network, or name another endpoint with `--endpoint`"
_NO_COMMIT = "0" * 40


@dataclass(slots=True)
class EndpointCheckup:
    """One endpoint and one repo. ``proxy`` is what requests to it go through."""

    client: HubClient
    spec: RepoSpec
    endpoint: Endpoint
    proxy: Proxy | None = None
    engine_ca_bundle: Path | None = None
    readings: list[ClockReading] = field(default_factory=list)
    """Filled while the steps run: what the server's clock said."""
    _commit_hash: str = ""

    def steps(self) -> Iterator[Check]:
        """Yield findings as they come; what comes after a failure can't be tried.

        Each step begins with what holds if nothing more is heard of it.
        """
        parts = urlsplit(self.endpoint.url)
        names = ["dns", "tcp"] if self.proxy is None else ["proxy"]
        names += ["tls"] if parts.scheme == "https" and self.proxy is None else []
        names += ["hub"]
        names += [LAST_STEP] if self.endpoint.api is Api.HUB else []
        for name in names:
            yield self._failed(name, f"{self.endpoint.host}: no answer in time")
            try:
                check = getattr(self, f"_check_{name}")()
            except HfariaError as exc:
                failed = self._failed(name, exc.message, _remedy(exc))
                check = replace(failed, exit_code=exc.exit_code)
            yield check
            if is_failure(check):
                return

    def _failed(self, name: str, text: str, remedy: str | None = None) -> Check:
        return fail(name, text, exit_code=ExitCode.HUB, subject=self.endpoint.host, remedy=remedy)

    def _fine(self, name: str, text: str) -> Check:
        return ok(name, text, subject=self.endpoint.host)

    def _address(self, url: str) -> tuple[str, int]:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)

    def _check_dns(self) -> Check:
        host, port = self._address(self.endpoint.url)
        addresses = wire.look_up(host, port)
        if addresses == (host,):
            return self._fine("dns", f"{host} is an address")
        more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
        return self._fine("dns", f"{host} is {addresses[0]}{more}")

    def _check_tcp(self) -> Check:
        host, port = self._address(self.endpoint.url)
        seconds = wire.connect(host, port, seconds=STEP_SECONDS)
        return self._fine(
            "tcp", f"{wire.named(host, port)} accepts connections, {_milliseconds(seconds)}"
        )

    def _check_proxy(self) -> Check:
        proxy = self.proxy
        if proxy is None:
            raise AssertionError("no step of one that is reached directly")
        try:
            wire.connect(proxy.host, proxy.port, seconds=STEP_SECONDS)
        except HubError as exc:
            raise HubError(
                f"the proxy on the way to {self.endpoint.host}: {exc.message}",
                hint="correct HTTPS_PROXY, ALL_PROXY or the endpoint's `proxy`, or exempt the host "
                "with NO_PROXY",
            ) from exc
        return self._fine("proxy", f"{self.endpoint.host} is reached through {proxy}")

    def _check_tls(self) -> Check:
        host, port = self._address(self.endpoint.url)
        bundle = self.client.ca_bundle
        ours = "the system's trust" if bundle is None else f"`{bundle}`"
        trusts = {"hfaria": trust(bundle)}
        if self.engine_ca_bundle is not None:
            trusts["the engine"] = trust(self.engine_ca_bundle)
        trusting = wire.shake_hands(host, port, trusts, seconds=STEP_SECONDS)
        if len(trusting) == len(trusts):
            how = ours if bundle is not None else f"{ours}; the engine: `{self.engine_ca_bundle}`"
            return self._fine("tls", f"the certificate of {host} is trusted ({how})")
        lacking = next(name for name in trusts if name not in trusting)
        return self._failed(
            "tls",
            f"the certificate of {host} is trusted by {trusting[0]}, not by {lacking}",
            "name one CA bundle for both: SSL_CERT_FILE, or `ca_bundle` in the config file",
        )

    def _check_hub(self) -> Check:
        endpoint, spec = self.endpoint, self.spec
        if endpoint.api is Api.MODELSCOPE:
            modelscope_holdings(self.client, spec, endpoint, Listing(_NO_COMMIT, ()))
            return self._fine("hub", f"{endpoint.host} has `{spec.label}`, by ModelScope's API")
        response = ask_head(self.client, spec, endpoint)
        self._read_clock(response)
        head = read_head(response, self.client, spec, endpoint)
        self._commit_hash = head.commit_hash
        return self._fine(
            "hub",
            f"{endpoint.host} has `{spec.label}` at {spec.revision}: commit "
            f"{head.commit_hash[:12]}",
        )

    def _check_bytes(self) -> Check:
        client, endpoint = self.client, self.endpoint
        files, _ = list_page(client, self.spec, self._commit_hash, endpoint, None)
        largest = max(files, key=lambda file: file.size, default=None)
        if largest is None or not largest.size:
            return self._fine("bytes", f"`{self.spec.label}` has none to try with")
        url = endpoint.join(self.spec.resolve_path(self._commit_hash, largest.path))
        response = client.send("HEAD", url, endpoint=endpoint)
        if response.status_code in _DENIALS:
            raise refuse(response, self.spec, endpoint, carried_token=client.carries_token(url))
        source = endpoint
        if response.is_redirect:
            url = redirect_target(response, endpoint)
            parts = urlsplit(url)
            if parts.scheme not in _PORTS:
                raise LeftEndpoint(f"{endpoint.host} leads to what is no web address")
            source = Endpoint(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
            self._check_engine_trusts(source)
        return self._one_byte(url, source, largest)

    def _check_engine_trusts(self, source: Endpoint) -> None:
        """See that the engine, which goes there too, trusts the host; raises if it doesn't."""
        if self.engine_ca_bundle is None or self.proxy is not None:
            return
        if urlsplit(source.url).scheme == "https":
            host, port = self._address(source.url)
            wire.shake_hands(
                host, port, {"the engine": trust(self.engine_ca_bundle)}, seconds=STEP_SECONDS
            )

    def _one_byte(self, url: str, source: Endpoint, file: RemoteFile) -> Check:
        started = time.monotonic()
        # An endpoint's own proxy is for what it leads to, too.
        has_own = self.endpoint in self.client.proxies.by_endpoint
        answer = self.client.stream(
            url, endpoint=self.endpoint if has_own else source, headers={"range": "bytes=0-0"}
        )
        with answer as response:
            seconds = time.monotonic() - started
            status, headers = response.status_code, response.headers
            answered_at = str(response.url)
        host = source.host if same_host(answered_at, url) else urlsplit(answered_at).netloc
        whose = "its own" if host == self.endpoint.host else f"from {host}"
        if status == _PARTIAL and headers.get("content-range") == f"bytes 0-0/{file.size}":
            return self._fine(
                "bytes", f"{self.endpoint.host}: bytes are {whose}, {_milliseconds(seconds)}"
            )
        length = headers.get("content-length", "")
        if status == _OK and (not length.isdigit() or int(length) == file.size):
            return warn(
                "bytes",
                f"{host} ignores ranges: an interrupted file begins again",
                subject=self.endpoint.host,
                remedy="name another endpoint first; `hfaria mirrors` compares them",
            )
        if status in {_OK, _PARTIAL}:
            return self._failed(
                "bytes",
                f"{host} answers with something else than `{file.path}`",
                "a login page may stand in between: open a web page in a browser",
            )
        return self._failed(
            "bytes",
            f"{host} refuses the bytes: HTTP {status}",
            "if other hosts work, name another endpoint with `--endpoint`",
        )

    def _read_clock(self, response: httpx.Response) -> None:
        try:
            said = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
            age = float(response.headers.get("age", "0"))  # how long a cache has kept the answer
        except (TypeError, ValueError, OverflowError):
            return
        self.readings.append(ClockReading(self.endpoint.host, said + age - time.time()))


def check_token(client: HubClient, origin: Endpoint, came_from: str) -> Check:
    """Ask the origin whose the token is; the token itself is in no finding."""
    if client.token is None:
        return ok("token", "none, and public repos need none")
    url = origin.join("api/whoami-v2")
    try:
        response = client.send("GET", url, endpoint=origin)
    except HfariaError as exc:
        return warn("token", f"{came_from}, not checked: {exc.message}", remedy=_remedy(exc))
    if response.status_code == _OK:
        return ok("token", f"{came_from}, accepted by {origin.host}{_owner(response)}")
    if response.status_code == _BAD_TOKEN:
        return warn(
            "token",
            f"{came_from}, not accepted by {origin.host}: public repos only",
            remedy="make a new one at "
            f"{origin.join('settings/tokens')}, then `hf auth login`; or unset it",
        )
    return warn("token", f"{came_from}, not checked: HTTP {response.status_code}")


def _remedy(exc: HfariaError) -> str | None:
    # The usual one sends the user here.
    return _NETWORK_HINT if exc.hint == EndpointUnreachable.hint else exc.hint


def _owner(response: httpx.Response) -> str:
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return ""
    name = document.get("name") if isinstance(document, dict) else None
    return f" as `{name[:40]}`" if isinstance(name, str) else ""


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
