"""Reading request paths as the Hub's protocol has them, quoting and all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from loopback_hub.records import Kind
    from loopback_hub.repos import RepoType

RouteName = Literal[
    "info",
    "tree",
    "refs",
    "paths-info",
    "whoami",
    "treesize",
    "resolve",
    "cached",
    "cdn",
    "commits",
    "ms-files",
    "ms-file",
    "unknown",
]

_TYPES: dict[str, RepoType] = {
    "models": "model",
    "datasets": "dataset",
    "spaces": "space",
    "kernels": "kernel",
}
_API_WORDS: dict[str, RouteName] = {
    "revision": "info",
    "tree": "tree",
    "refs": "refs",
    "paths-info": "paths-info",
    "treesize": "treesize",
    "commits": "commits",
}


@dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for. ``path`` is a file's or, for listings, a folder's."""

    name: RouteName
    repo_type: RepoType = "model"
    repo_id: str | None = None
    revision: str | None = None
    path: str = ""
    blob: str | None = None

    @property
    def kind(self) -> Kind:
        """The kind requests are counted and matched by."""
        if self.name == "resolve":
            return "resolve"
        if self.name in {"cached", "cdn", "ms-file"}:
            return "bytes"
        return "other" if self.name == "unknown" else "api"


UNKNOWN = Route("unknown")


def parse_route(raw_path: str) -> Route:
    """Read the still quoted path of a request to the origin or a mirror, prefix removed."""
    parts = raw_path.lstrip("/").split("/")
    if parts[0] == "api":
        return _parse_api(parts[1:])
    repo_type: RepoType = "model"
    if parts[0] in _TYPES and parts[0] != "models":
        repo_type = _TYPES[parts[0]]
        parts = parts[1:]
    for at in (1, 2):
        if len(parts) > at + 2 and parts[at] == "resolve":
            repo_id = unquote("/".join(parts[:at]))
            return _file_route("resolve", repo_type, repo_id, parts[at + 1 :])
    return UNKNOWN


def parse_cdn_route(raw_path: str) -> Route:
    """Read the path of a signed URL."""
    parts = raw_path.strip("/").split("/")
    if len(parts) < 4 or parts[0] != "repos" or parts[1] not in _TYPES:
        return UNKNOWN
    repo_id = unquote("/".join(parts[2:-1]))
    return Route("cdn", _TYPES[parts[1]], repo_id, blob=parts[-1])


def cdn_path(repo_type: RepoType, repo_id: str, blob: str) -> str:
    """Return the path under which the CDN holds a blob."""
    return f"/repos/{repo_type}s/{quote(repo_id)}/{blob}"


def cached_path(repo_type: RepoType, repo_id: str, commit_id: str, path: str) -> str:
    """Return the path a plain file's resolve redirects to."""
    return f"/api/resolve-cache/{repo_type}s/{quote(repo_id)}/{commit_id}/{quote(path, safe='')}"


def _parse_api(parts: list[str]) -> Route:
    if parts[0] == "whoami-v2":
        return Route("whoami")
    if parts[0] == "resolve-cache" and len(parts) > 4 and parts[1] in _TYPES:
        at = 3 if len(parts) == 5 else 4
        repo_id = unquote("/".join(parts[2:at]))
        return _file_route("cached", _TYPES[parts[1]], repo_id, parts[at:])
    if parts[0] not in _TYPES or len(parts) < 2:
        return UNKNOWN
    repo_type, rest = _TYPES[parts[0]], [part for part in parts[1:] if part]
    for at in (1, 2):
        if len(rest) > at and rest[at] in _API_WORDS:
            name = _API_WORDS[rest[at]]
            revision = unquote(rest[at + 1]) if len(rest) > at + 1 else None
            path = unquote("/".join(rest[at + 2 :]))
            return Route(name, repo_type, unquote("/".join(rest[:at])), revision, path)
    if len(rest) > 2:
        return UNKNOWN
    return Route("info", repo_type, unquote("/".join(rest)))


def _file_route(name: RouteName, repo_type: RepoType, repo_id: str, rest: list[str]) -> Route:
    return Route(name, repo_type, repo_id, unquote(rest[0]), unquote("/".join(rest[1:])))
