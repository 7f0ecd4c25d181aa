"""ModelScope, another hub with an API of its own: which of its files are those of a listing.

It is a source of bytes alone. What it says of a repo is believed only where size and sha256 are
what the Hub's listing has, so it can't change what is pulled, and it never gets the token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hfaria.errors import MalformedListing, NotAHub, RepoNotFound
from hfaria.rules.spec import RepoType
from hfaria.rules.transfers import Holdings

if TYPE_CHECKING:
    from huggingface_hub.utils import httpx

    from hfaria.hub.client import HubClient
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.listing import Listing
    from hfaria.rules.spec import RepoSpec

_BRANCH = "master"  # what ModelScope calls the main one
_PAGE = 100
_MOST_PAGES = 1000
_OK, _NOT_FOUND = 200, 404
_HAS_REPOS = frozenset({RepoType.MODEL, RepoType.DATASET})


def modelscope_holdings(
    client: HubClient, spec: RepoSpec, endpoint: Endpoint, listing: Listing
) -> Holdings:
    """Ask which files of ``listing`` the endpoint has, bit for bit, under the same repo id.

    Raises `RepoNotFound`, `NotAHub`, `MalformedListing` or `RequestFailed`.
    """
    if spec.repo_type not in _HAS_REPOS:
        raise RepoNotFound(f"{endpoint.host} has no {spec.plural}")
    wanted = {file.sha256: file.size for file in listing.files if file.sha256 is not None}
    paths: dict[str, str] = {}
    for entry in _entries(client, spec, endpoint):
        sha256, size, path = entry.get("Sha256"), entry.get("Size"), entry.get("Path")
        if not isinstance(sha256, str) or not isinstance(path, str):
            continue  # a folder
        if sha256 in wanted and wanted[sha256] == size:
            paths.setdefault(sha256, _file_path(spec, path))
    return Holdings(paths)


def _entries(client: HubClient, spec: RepoSpec, endpoint: Endpoint) -> list[dict[str, Any]]:
    repo = f"api/v1/{spec.plural}/{quote(spec.repo_id)}/repo"
    asked = f"Revision={_BRANCH}&Recursive=true"
    if spec.repo_type is RepoType.MODEL:  # all in one answer
        return _files(client, spec, endpoint, f"{repo}/files?{asked}")
    entries: list[dict[str, Any]] = []
    for number in range(1, _MOST_PAGES + 1):
        page = _files(
            client, spec, endpoint, f"{repo}/tree?{asked}&PageNumber={number}&PageSize={_PAGE}"
        )
        entries += page
        if len(page) < _PAGE:
            break
    return entries


def _files(
    client: HubClient, spec: RepoSpec, endpoint: Endpoint, path: str
) -> list[dict[str, Any]]:
    response = client.send("GET", endpoint.join(path), endpoint=endpoint)
    if response.status_code == _NOT_FOUND:
        raise RepoNotFound(f"{endpoint.host} has no {spec.repo_type.value} `{spec.repo_id}`")
    document = _json(response, endpoint)
    content = document.get("Data") if isinstance(document, dict) else None
    if response.status_code != _OK or not isinstance(content, dict):
        raise NotAHub(
            f"{endpoint.host} does not answer as ModelScope does (HTTP {response.status_code})"
        )
    files = content.get("Files")
    if not isinstance(files, list) or not all(isinstance(entry, dict) for entry in files):
        raise MalformedListing(f"{endpoint.host} does not list `{spec.repo_id}` as a list")
    return files


def _json(response: httpx.Response, endpoint: Endpoint) -> object:
    try:
        document: object = response.json()
    except (ValueError, UnicodeDecodeError, RecursionError) as exc:
        raise NotAHub(f"{endpoint.host} answers with something that is no JSON") from exc
    return document


def _file_path(spec: RepoSpec, path: str) -> str:
    repo = f"api/v1/{spec.plural}/{quote(spec.repo_id)}/repo"
    return f"{repo}?Revision={_BRANCH}&FilePath={quote(path, safe='')}"
