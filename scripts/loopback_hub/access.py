"""Who may see what: the Hub's refusals, word for word where clients read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopback_hub.answers import Answer, error_answer

if TYPE_CHECKING:
    from loopback_hub.records import TokenKind
    from loopback_hub.repos import RepoSpec

GOOD_TOKEN = "hf_LoopbackGoodTokenForTestsOnly00001"
"""A token that may read every repo, private and gated."""
UNLICENSED_TOKEN = "hf_LoopbackNoLicenceTokenForTests0002"
"""A token of someone who accepted no licence and sees no private repo."""
TOKENS = (GOOD_TOKEN, UNLICENSED_TOKEN)


def token_kind(authorization: str | None) -> TokenKind:
    """Tell whose token a header carries."""
    if authorization is None:
        return "none"
    known: dict[str, TokenKind] = {
        f"Bearer {GOOD_TOKEN}": "good",
        f"Bearer {UNLICENSED_TOKEN}": "no-licence",
    }
    return known.get(authorization, "unknown")


def refuse_token(token: TokenKind) -> Answer | None:
    """Refuse a token nobody knows, whatever it was for."""
    if token != "unknown":
        return None
    return error_answer(401, None, "Invalid credentials in Authorization header")


def refuse_repo(spec: RepoSpec | None, token: TokenKind) -> Answer | None:
    """Refuse a repo that is missing, private or disabled; missing and private look alike."""
    if spec is None or (spec.private and token != "good"):
        if token == "none":
            return error_answer(401, "RepoNotFound", "Invalid username or password.")
        return error_answer(404, "RepoNotFound", "Repository not found")
    if spec.disabled:
        return error_answer(403, None, "Access to this resource is disabled.")
    return None


def refuse_files(spec: RepoSpec, token: TokenKind) -> Answer | None:
    """Refuse the files of a gated repo; its listing stays readable."""
    if spec.gated is None or token == "good":
        return None
    restricted = f"Access to {spec.repo_type} {spec.repo_id} is restricted"
    if token == "none":
        why = f"{restricted}. You must have access to it and be authenticated to access it."
        return error_answer(401, "GatedRepo", f"{why} Please log in.")
    return error_answer(403, "GatedRepo", f"{restricted} and you are not in the authorized list.")
