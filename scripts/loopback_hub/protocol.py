"""The Hub's protocol: from a route, a caller and a view of the repos to an answer.

Nothing here touches a socket or a clock.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlencode

from loopback_hub.access import refuse_files, refuse_repo, refuse_token
from loopback_hub.answers import (
    Answer,
    error_answer,
    file_answer,
    json_answer,
    redirect_answer,
    text_answer,
)
from loopback_hub.listings import (
    TreeOptions,
    describe,
    describe_commits,
    describe_refs,
    file_entry,
    tree_entries,
)
from loopback_hub.modelscope import answer_modelscope
from loopback_hub.routes import cached_path, cdn_path

if TYPE_CHECKING:
    from loopback_hub.config import HubConfig, SiteSpec
    from loopback_hub.records import TokenKind
    from loopback_hub.repos import Commit, RepoSpec, StoredFile
    from loopback_hub.routes import Route
    from loopback_hub.signing import Signer


@dataclass(frozen=True, slots=True)
class Question:
    """A request, read; with all an answer depends on.

    ``spec`` is the repo as this site has it, None where it has none.
    """

    site: SiteSpec
    url: str
    cdn_url: str
    method: str
    target: str
    route: Route
    query: str
    spec: RepoSpec | None
    token: TokenKind
    has_authorization: bool
    range: str | None
    body: str
    now: float
    config: HubConfig
    signer: Signer


def answer(question: Question) -> Answer:
    """Answer as the real thing does, without any fault."""
    if question.site.role == "cdn":
        return _answer_bytes(question)
    if question.site.role == "modelscope":
        return answer_modelscope(question)
    # A mirror has no accounts: to it everybody is anonymous.
    token = question.token if question.site.role == "origin" else "none"
    refusal = refuse_token(token)
    if refusal is not None:
        return refusal
    if question.route.name == "whoami":
        return _answer_whoami(token)
    if question.route.name == "unknown":
        return error_answer(404, None, "Sorry, we can't find the page you are looking for.")
    return _answer_repo(question, token)


def _answer_repo(question: Question, token: TokenKind) -> Answer:
    route, spec = question.route, question.spec
    refusal = refuse_repo(spec, token)
    if refusal is not None or spec is None:
        return refusal or error_answer(404, "RepoNotFound", "Repository not found")
    if route.name == "refs":
        return json_answer(describe_refs(spec, has_pull_requests="include_prs" in question.query))
    revision = route.revision or "main"
    commit = spec.find_commit(revision)
    if commit is None:
        return error_answer(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    if route.name in {"resolve", "cached"}:
        return refuse_files(spec, token) or _answer_file(question, spec, commit)
    return _answer_listing(question, spec, commit)


def _answer_whoami(token: TokenKind) -> Answer:
    if token == "none":
        return error_answer(401, None, "Invalid username or password.")
    access = {"accessToken": {"displayName": "loopback", "role": "read"}}
    return json_answer(
        {"type": "user", "name": token, "fullname": token, "orgs": [], "auth": access}
    )


def _answer_listing(question: Question, spec: RepoSpec, commit: Commit) -> Answer:
    query = parse_qs(question.query, keep_blank_values=True)
    name = question.route.name
    if name == "info":
        has_blobs = _is_true(query, "blobs")
        described = describe(spec, commit, has_blobs=has_blobs)
        if "expand" in query or "expand[]" in query:
            wanted = {*query.get("expand", []), *query.get("expand[]", []), "_id", "id"}
            described = {key: value for key, value in described.items() if key in wanted}
        return json_answer(described)
    if name == "commits":
        return json_answer(describe_commits(spec, commit))
    if name == "treesize":
        size = sum(f.size for f in commit.files if f.path.startswith(question.route.path))
        return json_answer({"path": f"/{question.route.path}", "size": size})
    if name == "paths-info":
        asked = _asked_paths(question.body)
        found = [file_entry(file) for file in commit.files if file.path in asked]
        return json_answer(found)
    return _answer_tree(question, spec, commit, query)


def _answer_tree(
    question: Question, spec: RepoSpec, commit: Commit, query: dict[str, list[str]]
) -> Answer:
    start = _cursor_offset(query.get("cursor", [""])[0])
    if spec.raw_tree is not None:
        text = spec.raw_tree[min(start, len(spec.raw_tree) - 1)]
        page = text_answer(text, "application/json; charset=utf-8")
        return _with_next(page, question, query, start + 1 if start + 1 < len(spec.raw_tree) else 0)
    options = TreeOptions(
        folder=question.route.path,
        is_recursive=_is_true(query, "recursive"),
        is_expanded=_is_true(query, "expand"),
        has_xet=question.config.announces_xet,
    )
    entries = tree_entries(commit, options)
    if entries is None:
        refusal = f"{question.route.path} does not exist on `{question.route.revision}`"
        return error_answer(404, "EntryNotFound", refusal)
    largest = question.config.page_size
    end = start + min(largest, int(query.get("limit", [str(largest)])[0]))
    page = json_answer(entries[start:end], X_Total_Count=str(len(entries)))
    return _with_next(page, question, query, end if end < len(entries) else 0)


def _with_next(
    page: Answer, question: Question, query: dict[str, list[str]], offset: int
) -> Answer:
    if not offset:
        return page
    cursor = urlsafe_b64encode(f"page:{offset}".encode()).decode()
    following = urlencode({**query, "cursor": [cursor]}, doseq=True)
    path = question.target.partition("?")[0]
    origin = question.url.removesuffix(question.site.prefix)
    return page.with_headers(Link=f'<{origin}{path}?{following}>; rel="next"')


def _answer_file(question: Question, spec: RepoSpec, commit: Commit) -> Answer:
    path = question.route.path
    file = commit.by_path.get(path)
    if file is None:
        refusal = error_answer(404, "EntryNotFound", "Entry not found")
        return refusal.with_headers(X_Repo_Commit=commit.commit_id)
    if not file.is_lfs:
        return _answer_plain(question, spec, commit, file)
    linked = {
        "X_Repo_Commit": commit.commit_id,
        "X_Linked_Size": str(file.size),
        "X_Linked_Etag": f'"{file.blob_name}"',
    }
    if question.config.announces_xet:
        refresh = f"{question.url}/api/{spec.repo_type}s/{quote(spec.repo_id)}/xet-read-token"
        linked["X_Xet_Hash"] = file.xet_hash
        linked["Link"] = f'<{refresh}/{commit.commit_id}>; rel="xet-auth"'
    if question.site.lfs_from == "self":
        return file_answer(file, question.range, **linked, ETag=f'"{file.blob_name}"')
    signed = question.signer.sign(
        cdn_path(spec.repo_type, spec.repo_id, file.blob_name),
        file_name=file.path,
        expires=int(question.now + question.config.url_lifetime_seconds),
    )
    return redirect_answer(302, f"{question.cdn_url}{signed}", **linked)


def _answer_plain(question: Question, spec: RepoSpec, commit: Commit, file: StoredFile) -> Answer:
    if question.route.name == "resolve":
        cached = cached_path(spec.repo_type, spec.repo_id, commit.commit_id, file.path)
        location = f"{question.site.prefix}{cached}"
        return redirect_answer(307, location, X_Repo_Commit=commit.commit_id)
    etag = f'"{file.blob_name}"'
    return file_answer(file, question.range, X_Repo_Commit=commit.commit_id, ETag=etag)


def _answer_bytes(question: Question) -> Answer:
    path = question.target.partition("?")[0]
    if question.has_authorization:
        refusal = "Only one auth mechanism allowed; only the query string should be specified"
        return _xml_refusal(400, "InvalidArgument", refusal)
    if not question.signer.is_valid(path, question.query, now=question.now):
        return _xml_refusal(403, "AccessDenied", "Request has expired or its signature is wrong")
    blob = question.route.blob or ""
    file = question.spec.blobs.get(blob) if question.spec is not None else None
    if file is None:
        return _xml_refusal(404, "NoSuchKey", "The specified key does not exist.")
    # The CDN's own ETag has nothing to do with the sha256.
    etag = hashlib.blake2b(blob.encode(), digest_size=16).hexdigest()
    return file_answer(file, question.range, ETag=f'"{etag}-2"', Cache_Control="public")


def _xml_refusal(status: int, code: str, message: str) -> Answer:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return text_answer(text, "application/xml", status)


def _is_true(query: dict[str, list[str]], name: str) -> bool:
    return query.get(name, ["false"])[0].lower() in {"true", "1"}


def _cursor_offset(cursor: str) -> int:
    if not cursor:
        return 0
    return int(urlsafe_b64decode(cursor).decode().partition(":")[2])


def _asked_paths(body: str) -> frozenset[str]:
    if body.startswith("{"):
        return frozenset(json.loads(body)["paths"])
    return frozenset(parse_qs(body).get("paths", []))
