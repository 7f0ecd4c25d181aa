"""Find out, before any byte is fetched, whether the token opens a gated or private repo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.hub.answers import refuse

if TYPE_CHECKING:
    from hfaria.hub.client import HubClient
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.plan import Transfer
    from hfaria.rules.spec import RepoSpec

_DENIALS = frozenset({401, 403})


def check_access(
    client: HubClient, spec: RepoSpec, commit_hash: str, transfer: Transfer, endpoint: Endpoint
) -> None:
    """Ask for one file's head, and raise `AccessDenied` or `RepoNotFound` if that is refused.

    A gated repo lists its files to everybody, so only its bytes tell whether they may be had.
    """
    url = endpoint.join(spec.resolve_path(commit_hash, transfer.path))
    response = client.send("HEAD", url, endpoint=endpoint)
    if response.status_code in _DENIALS:
        carried = client.carries_token(url)
        raise refuse(response, spec, endpoint, carried_token=carried)
