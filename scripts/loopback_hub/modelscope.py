"""Another hub's API over the same repos: ModelScope's file lists and downloads."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from loopback_hub.answers import Answer, error_answer, file_answer, json_answer, redirect_answer
from loopback_hub.routes import UNKNOWN, Route, cdn_path

if TYPE_CHECKING:
    from loopback_hub.protocol import Question
    from loopback_hub.repos import Commit, RepoSpec, RepoType, StoredFile

_API = "api/v1/"
_BRANCH = "master"  # what ModelScope calls the main one
_TYPES: dict[str, RepoType] = {"models": "model", "datasets": "dataset"}
_LARGEST_PAGE = 100


def parse_modelscope_route(raw_path: str, query: str) -> Route:
    """Read the still quoted path of a request, prefix removed, and what its query names."""
    parts = raw_path.lstrip("/").removeprefix(_API).split("/")
    if not raw_path.lstrip("/").startswith(_API) or len(parts) < 4 or parts[0] not in _TYPES:
        return UNKNOWN
    repo_type, repo_id = _TYPES[parts[0]], unquote("/".join(parts[1:3]))
    asked = parse_qs(query)
    revision = asked.get("Revision", [_BRANCH])[0]
    rest = parts[3:]
    if rest == ["repo"]:
        path = asked.get("FilePath", [""])[0]
        return Route("ms-file", repo_type, repo_id, revision, path)
    if rest == (["repo", "files"] if repo_type == "model" else ["repo", "tree"]):
        return Route("ms-files", repo_type, repo_id, revision)
    return UNKNOWN


def answer_modelscope(question: Question) -> Answer:
    """Answer as ModelScope does; it knows the head of each repo alone."""
    route, spec = question.route, question.spec
    if route.name == "unknown":
        return error_answer(404, None, "page not found")
    if spec is None or spec.private or route.revision != _BRANCH:
        return _refusal(10010205001, "the repo does not exist")
    if question.method != "GET":
        return error_answer(405, None, "method not allowed")
    if route.name == "ms-file":
        return _answer_file(question, spec)
    return _answer_files(question, spec.head)


def _answer_files(question: Question, commit: Commit) -> Answer:
    files = [_file_entry(file) for file in commit.files]
    if question.route.repo_type == "model":
        return _success({"Files": [*_folder_entries(commit), *files]})
    asked = parse_qs(question.query)
    size = min(_LARGEST_PAGE, int(asked.get("PageSize", [f"{_LARGEST_PAGE}"])[0]))
    start = (int(asked.get("PageNumber", ["1"])[0]) - 1) * size
    pages = math.ceil(len(files) / size)
    page = files[start : start + size]
    return _success({"Files": page, "TotalCount": len(files), "TotalPage": pages})


def _answer_file(question: Question, spec: RepoSpec) -> Answer:
    file = spec.head.by_path.get(question.route.path)
    if file is None:
        return _refusal(10010205002, "the file does not exist")
    if question.site.lfs_from == "self" or not file.is_lfs:
        return file_answer(file, question.range, ETag=f'"ms-{file.blob_name[:16]}"')
    signed = question.signer.sign(
        cdn_path(spec.repo_type, spec.repo_id, file.blob_name),
        file_name=file.path,
        expires=int(question.now + question.config.url_lifetime_seconds),
    )
    return redirect_answer(302, f"{question.cdn_url}{signed}")


def _file_entry(file: StoredFile) -> dict[str, Any]:
    return {
        "Name": PurePosixPath(file.path).name,
        "Path": file.path,
        "Type": "blob",
        "Size": file.size,
        "Sha256": file.content.sha256,
        "IsLFS": file.is_lfs,
        "Mode": "33188",
        "Revision": "0" * 40,
    }


def _folder_entries(commit: Commit) -> list[dict[str, Any]]:
    folders = {str(parent) for file in commit.files for parent in PurePosixPath(file.path).parents}
    return [
        {"Name": PurePosixPath(path).name, "Path": path, "Type": "tree", "Size": 0, "Sha256": ""}
        for path in sorted(folders - {"."})
    ]


def _success(content: dict[str, Any]) -> Answer:
    return json_answer({"Code": 200, "Data": content, "Message": "success", "Success": True})


def _refusal(code: int, message: str) -> Answer:
    return json_answer(
        {"Code": code, "Data": None, "Message": message, "Success": False}, status=404
    )
