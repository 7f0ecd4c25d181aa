"""What an endpoint's refusal can mean, in the user's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.errors import (
    AccessDenied,
    EntryNotFound,
    GatedRepo,
    HubError,
    LeftEndpoint,
    NotAHub,
    RepoNotFound,
    RevisionNotFound,
)
from hfaria.redact import redact_url

if TYPE_CHECKING:
    from huggingface_hub.utils import httpx

    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.spec import RepoSpec

_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404


def refuse(
    response: httpx.Response, spec: RepoSpec, endpoint: Endpoint, *, carried_token: bool
) -> HubError:
    """Return the error that an answer other than 200 stands for.

    Shapes: the Hub's ``X-Error-Code`` as huggingface_hub's `hf_raise_for_status` reads it.
    """
    code = response.headers.get("x-error-code", "")
    said = response.headers.get("x-error-message", "")
    status = response.status_code
    repo = f"`{spec.label}`"
    page = endpoint.join(spec.page_path)
    if response.is_redirect:
        target = redact_url(str(response.url.join(response.headers.get("location", ""))))
        target = target.partition("?")[0]
        return LeftEndpoint(f"{endpoint.host} sends the request on to {target}")
    if code == "RevisionNotFound":
        return RevisionNotFound(
            f"{repo} has no revision `{spec.revision}` at {endpoint.host}",
            hint="check the branch, tag or commit; a mirror may be behind",
        )
    if code == "EntryNotFound":
        return EntryNotFound(f"{repo} lacks the file at {endpoint.host}")
    if code == "GatedRepo":
        return gated(spec, page=page, has_token=carried_token)
    if "disabled" in said.lower() and status == _FORBIDDEN:
        return AccessDenied(f"{repo} is disabled at {endpoint.host}", hint=said)
    if code == "RepoNotFound" or status in {_UNAUTHORIZED, _NOT_FOUND}:
        return _hidden(response, spec, endpoint, carried_token=carried_token)
    if status == _FORBIDDEN:
        return AccessDenied(
            f"{endpoint.host} denies access to {repo} (HTTP 403{': ' if said else ''}{said})",
            hint="a token with read access may be needed: `hf auth login`",
        )
    return NotAHub(f"{endpoint.host} answers HTTP {status} where a Hub would list {repo}")


def gated(spec: RepoSpec, *, page: str, has_token: bool) -> GatedRepo:
    """Return the error for a gated repo: either no token, or its owner has not been let in."""
    if has_token:
        return GatedRepo(
            f"`{spec.label}` is gated, and your token's account has no access to it yet",
            hint=f"accept its licence (or wait for the approval) at {page}, then rerun",
        )
    return GatedRepo(
        f"`{spec.label}` is gated: it needs a token",
        hint=f"accept its licence at {page}, then `hf auth login` (or set HF_TOKEN) and rerun",
    )


def _hidden(
    response: httpx.Response, spec: RepoSpec, endpoint: Endpoint, *, carried_token: bool
) -> HubError:
    repo = f"`{spec.label}`"
    if "x-error-code" not in response.headers and "json" not in response.headers.get(
        "content-type", ""
    ):
        return NotAHub(
            f"{endpoint.host} answers HTTP {response.status_code} without naming a reason: "
            "it may not be a Hub"
        )
    if carried_token:
        return RepoNotFound(
            f"no {spec.repo_type.value} {repo} at {endpoint.host} that your token may see",
            hint="check the spelling and `--repo-type`; if it is private, the token's account or "
            "its scope lacks access",
        )
    return RepoNotFound(
        f"no public {spec.repo_type.value} {repo} at {endpoint.host}: missing, private or gated",
        hint="check the spelling and `--repo-type`; if it is private or gated, "
        "`hf auth login` (or set HF_TOKEN) and rerun",
    )
