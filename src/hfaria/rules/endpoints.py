"""Endpoints, and the token firewall: which request may carry the token."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from hfaria.errors import InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

ORIGIN_URL = "https://huggingface.co"


class Api(enum.Enum):
    """What an endpoint speaks: the Hub's protocol, or ModelScope's, which gives bytes only."""

    HUB = "hub"
    MODELSCOPE = "modelscope"


MODELSCOPE_PREFIX = "modelscope+"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A base URL that we ask, without a trailing slash; may have a path prefix."""

    url: str
    api: Api = Api.HUB

    def join(self, path: str) -> str:
        """Return the URL of ``path`` below this endpoint; a prefix of the endpoint is kept."""
        return f"{self.url}/{path.lstrip('/')}"

    def covers(self, url: str) -> bool:
        """Tell whether ``url`` is at this endpoint: scheme, host and port, below its prefix."""
        if not same_host(url, self.url):
            return False
        prefix = urlsplit(self.url).path
        path = urlsplit(url).path
        if prefix and not {".", ".."}.isdisjoint(unquote(path).split("/")):
            return False  # what is sent may have climbed out of the prefix
        return not prefix or path == prefix or path.startswith(f"{prefix}/")

    @property
    def host(self) -> str:
        """Host and port, as messages name the endpoint."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class ConfiguredEndpoint:
    """An endpoint in its place in the order, with how to talk to it.

    ``is_fallback``: nobody named it; it is the origin at the end of the order, whose bytes are
    used only where the named ones fail. ``connections`` caps those to it, over all transfers.
    ``proxy`` overrides the environment's; it may hold credentials, so it is never printed as is.
    """

    endpoint: Endpoint
    is_fallback: bool = False
    connections: int | None = None
    proxy: str | None = field(default=None, repr=False)


KNOWN_MIRRORS: Mapping[str, Endpoint] = MappingProxyType(
    {
        "hf-mirror": Endpoint("https://hf-mirror.com"),
        "modelscope": Endpoint("https://modelscope.cn", Api.MODELSCOPE),
    }
)
"""Public mirrors by their short names. None is used unless the user names it."""


def parse_endpoint(text: str, *, named_by: str) -> Endpoint:
    """Read an endpoint that ``named_by`` (a flag or variable) gave; raises `InvalidConfig`.

    ``modelscope+https://host`` is one that speaks ModelScope's API.
    """
    url = text.strip().rstrip("/")
    is_modelscope = url.startswith(MODELSCOPE_PREFIX)
    url = url.removeprefix(MODELSCOPE_PREFIX)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise InvalidConfig(f"{named_by}: `{text}` is not a URL") from exc
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InvalidConfig(
            f"{named_by}: `{text}` is not an http(s) URL",
            hint="an endpoint looks like https://huggingface.co or https://host/prefix",
        )
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise InvalidConfig(f"{named_by}: an endpoint has no user, password, query or fragment")
    # Hosts are compared without regard to case (RFC 3986, 3.2.2); paths are not.
    url = f"{parts.scheme}://{parts.netloc.lower()}{parts.path}"
    return Endpoint(url, Api.MODELSCOPE if is_modelscope else Api.HUB)


def same_host(url: str, other: str) -> bool:
    """Tell whether two URLs agree in scheme, host and port."""
    authority = _authority(url)
    return authority is not None and authority == _authority(other)


def may_carry_token(url: str, trusted: tuple[Endpoint, ...]) -> bool:
    """Decide for one request whether the token may go with it.

    ``trusted`` holds the origin and the endpoints that the user named as trusted. Everything else,
    a mirror, a CDN, the target of a redirect, gets none.
    """
    return any(endpoint.covers(url) for endpoint in trusted)


def _authority(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, _DEFAULT_PORTS[parts.scheme] if port is None else port
