"""Which proxy, if any, a request goes through: the environment's, or an endpoint's own."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from hfaria.errors import InvalidConfig
from hfaria.redact import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfaria.rules.endpoints import ConfiguredEndpoint, Endpoint

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_VARIABLES = {
    "http": ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"),
    "https": ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
}
_EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy; ``str`` is for messages, without the user's name and password."""

    scheme: str
    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: Secret | None = None

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS5; it resolves names itself then."""
        return self.scheme.startswith("socks")

    @property
    def is_plain(self) -> bool:
        """Whether it is an HTTP proxy reached without TLS, the only kind that aria2 can use."""
        return self.scheme == "http"

    def reveal_url(self) -> str:
        """Return the URL with name and password; call this only where it is used."""
        if self.username is None:
            return str(self)
        password = "" if self.password is None else self.password.reveal()
        user = f"{quote(self.username, safe='')}:{quote(password, safe='')}"
        return f"{self.scheme}://{user}@{self._authority}"

    @property
    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self._authority}"


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies by a URL's scheme, those of single endpoints, and who is reached without any.

    ``exempt`` is NO_PROXY: names with all below them, addresses, networks, or ``*``.
    """

    by_scheme: Mapping[str, Proxy] = field(default_factory=dict)
    by_endpoint: Mapping[Endpoint, Proxy] = field(default_factory=dict)
    exempt: tuple[str, ...] = ()

    def find(self, url: str, endpoint: Endpoint) -> Proxy | None:
        """Return the proxy to ``url``, where ``endpoint`` led; None is the direct way.

        An endpoint's own proxy is for all that it leads to. NO_PROXY is stronger than any.
        """
        parts = urlsplit(url)
        proxy = self.by_endpoint.get(endpoint) or self.by_scheme.get(parts.scheme)
        if proxy is None or _is_exempt(parts.hostname or "", parts.port, self.exempt):
            return None
        return proxy

    @property
    def need_bridge(self) -> bool:
        """Whether some way is none of aria2's, or two hosts may be reached by different ways."""
        all_of_them = (*self.by_scheme.values(), *self.by_endpoint.values())
        may_differ = bool(self.by_endpoint) or (bool(self.by_scheme) and bool(self.exempt))
        return may_differ or any(not proxy.is_plain for proxy in all_of_them)


def parse_proxy(text: str, *, named_by: str) -> Proxy:
    """Read a proxy's URL; one without a scheme is an HTTP proxy. Raises `InvalidConfig`.

    The message shows nothing of ``text``, which may hold a password.
    """
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    hint = "it looks like http://host:port or socks5h://host:port"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InvalidConfig(f"{named_by} is not the URL of a proxy", hint=hint) from exc
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise InvalidConfig(f"{named_by}: `{scheme}` proxies are not supported", hint=hint)
    if not parts.hostname:
        raise InvalidConfig(f"{named_by} is not the URL of a proxy", hint=hint)
    return Proxy(
        scheme,
        parts.hostname,
        port or _DEFAULT_PORTS[scheme],
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else Secret(unquote(parts.password)),
    )


def proxies_of(endpoints: Iterable[ConfiguredEndpoint]) -> dict[Endpoint, Proxy]:
    """Return the endpoints' own proxies."""
    return {
        each.endpoint: parse_proxy(each.proxy, named_by=f"the proxy of {each.endpoint.host}")
        for each in endpoints
        if each.proxy is not None
    }


def read_proxies(variables: Mapping[str, str], by_endpoint: Mapping[Endpoint, Proxy]) -> Proxies:
    """Read the proxies that the environment names, as curl and httpx do."""
    exempt = tuple(
        word.strip("[]").lower()
        for word in (variables.get("no_proxy") or variables.get("NO_PROXY") or "")
        .replace(",", " ")
        .split()
    )
    by_scheme: dict[str, Proxy] = {}
    for scheme, names in _VARIABLES.items():
        name = next((name for name in names if variables.get(name)), None)
        if name is not None:
            by_scheme[scheme] = parse_proxy(variables[name], named_by=name)
    return Proxies(by_scheme, by_endpoint, exempt)


def _is_exempt(host: str, port: int | None, exempt: tuple[str, ...]) -> bool:
    return any(_matches(host.lower(), port, entry) for entry in exempt)


def _matches(host: str, port: int | None, entry: str) -> bool:
    if entry == _EVERYTHING:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name, _, number = entry.partition(":")
        name = name.removeprefix("*").removeprefix(".")
        is_there = host == name or host.endswith(f".{name}")
        return is_there and (not number or number == str(port))
    name, _, number = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
    try:
        is_there = address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
    return is_there and (not number or number == str(port))
