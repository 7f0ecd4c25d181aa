"""Resolve a revision to a commit, and page through the listing of that commit."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hfaria.errors import LeftEndpoint, MalformedListing, NotAHub
from hfaria.hub.answers import refuse
from hfaria.rules.endpoints import Endpoint, same_host
from hfaria.rules.listing import RemoteFile, check_file
from hfaria.rules.spec import RepoType, is_commit
from hfaria.rules.staleness import HistoryEntry
from hfaria.rules.words import Head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub.utils import httpx

    from hfaria.hub.client import HubClient
    from hfaria.rules.spec import RepoSpec

_OK = 200

# What each type's API can be asked for (the `Expand…Property_T` types of huggingface_hub 2.4.0).
_EXPAND = {
    RepoType.MODEL: ("sha", "gated", "private", "lastModified"),
    RepoType.DATASET: ("sha", "gated", "private", "lastModified"),
    RepoType.SPACE: ("sha", "private", "lastModified"),
    RepoType.KERNEL: (),
}


def resolve_head(client: HubClient, spec: RepoSpec, endpoint: Endpoint) -> Head:
    """Ask ``endpoint`` which commit the revision names now: one request.

    Raises `RepoNotFound`, `RevisionNotFound`, `AccessDenied`, `NotAHub` or `RequestFailed`.
    """
    return read_head(ask_head(client, spec, endpoint), client, spec, endpoint)


def ask_head(client: HubClient, spec: RepoSpec, endpoint: Endpoint) -> httpx.Response:
    """Ask for what `read_head` reads."""
    url = endpoint.join(spec.head_path())
    # Without `expand` the answer names every file, which the tree lists anyway.
    query = "&".join(f"expand={name}" for name in _EXPAND[spec.repo_type])
    response = client.send("GET", f"{url}?{query}" if query else url, endpoint=endpoint)
    if response.status_code == 400:  # noqa: PLR2004 - a repo type or mirror that can't expand
        response = client.send("GET", url, endpoint=endpoint)
    return response


def read_head(
    response: httpx.Response, client: HubClient, spec: RepoSpec, endpoint: Endpoint
) -> Head:
    """Read the answer to `ask_head`, or raise what it stands for."""
    document = _json(response, spec, endpoint, client)
    commit_hash = document.get("sha") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(commit_hash, str):
        raise NotAHub(f"{endpoint.host} does not answer as a Hub does about `{spec.label}`")
    if not is_commit(commit_hash):
        raise MalformedListing(f"{endpoint.host} names `{commit_hash[:60]}` as a commit")
    return Head(
        commit_hash,
        is_gated=not (document.get("gated") is None or document.get("gated") is False),
        is_private=document.get("private") is True,
        last_modified=_moment(document.get("lastModified")),
    )


def list_history(
    client: HubClient, spec: RepoSpec, commit_hash: str, endpoint: Endpoint
) -> tuple[list[HistoryEntry], bool]:
    """Return the newest commits up to ``commit_hash``, newest first, and whether that is all.

    One page of the Hub's `/commits`, which holds 50 of them.
    """
    url = endpoint.join(spec.history_path(commit_hash))
    response = client.send("GET", url, endpoint=endpoint)
    entries = _json(response, spec, endpoint, client)
    if not isinstance(entries, list):
        raise MalformedListing(f"{endpoint.host} does not list commits as a list")
    history = [
        HistoryEntry(entry["id"], _moment(entry.get("date")))
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    ]
    return history, "next" not in response.links


def list_page(
    client: HubClient, spec: RepoSpec, commit_hash: str, endpoint: Endpoint, url: str | None
) -> tuple[list[RemoteFile], str | None]:
    """Return the files of one page, checked, and the URL of the next page.

    ``url`` is None for the first page. A ``Link`` to another host is refused: a mirror that hands
    out the origin's links would carry the listing, and a token, away from where it was asked.
    """
    if url is None:
        url = endpoint.join(spec.tree_path(commit_hash)) + "?recursive=true&expand=false"
    response = client.send("GET", url, endpoint=endpoint)
    entries = _json(response, spec, endpoint, client)
    if not isinstance(entries, list):
        raise MalformedListing(f"{endpoint.host} does not list `{spec.label}` as a list")
    following = response.links.get("next", {}).get("url")
    if following is not None:
        following = str(response.url.join(following))
        if not same_host(following, endpoint.url):
            elsewhere = Endpoint(following).host
            raise LeftEndpoint(
                f"the listing at {endpoint.host} goes on at another host ({elsewhere})"
            )
    return list(_files(entries, endpoint)), following


def _files(entries: list[Any], endpoint: Endpoint) -> Iterator[RemoteFile]:
    for entry in entries:
        try:
            kind = entry["type"]
            if kind != "file":
                continue
            lfs = entry.get("lfs")
            file = RemoteFile(
                path=_text(entry["path"]),
                size=_number(entry["size"]),
                git_oid=_text(entry["oid"]),
                sha256=None if lfs is None else _text(lfs["oid"]).removeprefix("sha256:"),
                xet_hash=xet_hash if isinstance(xet_hash := entry.get("xetHash"), str) else None,
            )
            pointer_size = None
            if lfs is not None:
                pointer_size = lfs.get("pointerSize")
                if _number(lfs["size"]) != file.size:
                    raise MalformedListing(
                        f"{endpoint.host} gives `{file.path}` two sizes: "
                        f"{file.size} and {lfs['size']}"
                    )
        except (KeyError, TypeError, AttributeError) as exc:
            raise MalformedListing(
                f"{endpoint.host} lists an entry without what every entry has ({exc})"
            ) from exc
        yield check_file(file, pointer_size=pointer_size)


def _json(
    response: httpx.Response, spec: RepoSpec, endpoint: Endpoint, client: HubClient
) -> dict[str, Any] | list[Any] | None:
    if response.status_code != _OK:
        carried = client.carries_token(str(response.request.url))
        raise refuse(response, spec, endpoint, carried_token=carried)
    kind = response.headers.get("content-type", "")
    try:
        document: dict[str, Any] | list[Any] | None = response.json()
    except (ValueError, UnicodeDecodeError, RecursionError) as exc:
        what = "a web page" if "html" in kind else "something that is no JSON"
        raise NotAHub(f"{endpoint.host} answers with {what}: not a Hub, or a login page") from exc
    return document


def _moment(value: object) -> datetime | None:
    """Read a time as the Hub writes it, `2024-01-02T03:04:05.000Z`; None if it is none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text belongs")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} where a number belongs")
    return value
