"""Make bundle.json, and say of what was made what planning and the pages need to know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from hfaria.bundle.importer.canonical import canonical, set_id_of
from hfaria.bundle.importer.format import (
    BUNDLE_FORMAT,
    CAPABILITIES,
    HUB_FOLDER,
    PIECE_SIZE,
    UNSAFE_SUFFIXES,
    in_place_path,
    pool_path,
)
from hfaria.bundle.importer.hub_format import tree_file
from hfaria.bundle.importer.names import collision, in_place_problem
from hfaria.bundle.importer.values import Prerequisite, Repo
from hfaria.rules.bundle_plan import Entry, Format, Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hfaria.bundle.importer.values import Bundle

FORMAT = Format(PIECE_SIZE, in_place_path, pool_path)
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)^---\s*$", re.DOTALL | re.MULTILINE)
_LICENCE = re.compile(
    r"^license(?:_name)?:[ \t]*[\"']?([A-Za-z0-9][A-Za-z0-9._+ -]{0,79})", re.MULTILINE
)
_GATED = re.compile(r"^extra_gated_\w+:", re.MULTILINE)


class Base(NamedTuple):
    """What the target is said to have: sizes by blob name, with the repo where it is known."""

    kind: str
    base_id: str | None
    blobs: Mapping[str, tuple[int, str | None]]


NO_BASE = Base("none", None, {})


class Card(NamedTuple):
    """What a repo's model card says of itself; nothing of it is verified."""

    license: str | None
    is_gated: bool


def read_card(text: str) -> Card:
    """Read the front matter of a README.md. The name of an "other" licence counts."""
    found = _FRONT_MATTER.match(text)
    front = found.group(1) if found else ""
    names = [name.strip() for name in _LICENCE.findall(front)]
    named = [name for name in names if name != "other"] or names
    return Card(named[0] if named else None, bool(_GATED.search(front)))


def bundle_text(
    repos: Sequence[Repo], base: Base, *, created: str, endpoint: str, version: str
) -> bytes:
    """Return bundle.json of these repos, less what the target has by ``base``."""
    sizes: dict[str, int] = {}
    git_names: dict[str, str] = {}
    names: dict[str, set[str]] = {}
    for repo in repos:
        for revision in repo.revisions.values():
            for file in revision.files:
                sizes[file.sha256] = file.size
                names.setdefault(file.sha256, set()).add(file.etag)
                if file.etag != file.sha256:
                    git_names[file.sha256] = file.etag
    requires = [
        Prerequisite(sha256, size, *there)
        for sha256, size in sorted(sizes.items())
        if (there := _at_target(names[sha256], size, base)) is not None
    ]
    absent = {item.sha256 for item in requires}
    document = {
        "format": BUNDLE_FORMAT,
        "created": created,
        "tool": {"name": "hfaria", "version": version},
        "source": {"endpoint": endpoint},
        "piece_size": PIECE_SIZE,
        "capabilities": sorted(CAPABILITIES),
        "repos": [_repo_document(repo) for repo in repos],
        "objects": {
            sha256: {"size": size, "git_sha1": git_names.get(sha256)}
            for sha256, size in sizes.items()
            if sha256 not in absent
        },
        "requires": [
            {"sha256": item.sha256, "size": item.size, "etag": item.etag, "from": item.origin}
            for item in requires
        ],
        "base": {"kind": base.kind, "id": base.base_id},
    }
    return canonical({**document, "set_id": set_id_of(document)})


def _at_target(names: Iterable[str], size: int, base: Base) -> tuple[str, str | None] | None:
    for name in sorted(names):
        known = base.blobs.get(name)
        if known is not None and known[0] == size:
            return name, known[1]
    return None


def _repo_document(repo: Repo) -> dict[str, object]:
    return {
        "type": repo.repo_type,
        "id": repo.repo_id,
        "license": repo.license,
        "gated": repo.is_gated,
        "refs": repo.refs,
        "revisions": {
            commit: {
                "complete": revision.is_complete,
                "filter": revision.patterns,
                "files": [list(file) for file in revision.files],
            }
            for commit, revision in repo.revisions.items()
        },
    }


def base_of_bundle(bundle: Bundle) -> Base:
    """Return what a machine has that imported this bundle: what it carried and what it needed."""
    blobs: dict[str, tuple[int, str | None]] = {
        item.etag: (item.size, item.origin) for item in bundle.requires.values()
    }
    for repo in bundle.repos:
        for revision in repo.revisions.values():
            for file in revision.files:
                if file.sha256 in bundle.objects:
                    blobs[file.etag] = (file.size, f"{repo.repo_type}:{repo.repo_id}")
    return Base("set", bundle.set_id, blobs)


def plan_revisions(bundle: Bundle) -> tuple[Revision, ...]:
    """Return the bundle's revisions as planning wants them."""
    return tuple(
        Revision(
            repo.folder,
            revision.commit,
            f"{repo.repo_id} at {revision.commit[:12]}",
            tuple(Entry(file.path, file.sha256, file.size) for file in revision.files),
            is_default=_is_default(repo, revision.commit),
            obstacle=in_place_obstacle(
                repo.folder, [file.path for file in revision.files], bundle.repos
            ),
        )
        for repo in bundle.repos
        for revision in repo.revisions.values()
    )


def _is_default(repo: Repo, commit: str) -> bool:
    return repo.refs.get("main", commit) == commit


def in_place_obstacle(folder: str, paths: Sequence[str], repos: Iterable[Repo]) -> str | None:
    """Return why a revision can't lie in place on a stick that any system may read, or None."""
    for path in paths:
        problem = in_place_problem(path, folder)
        if problem:
            return f"{path!a}: {problem}"
        if "%" in path:
            return f"{path!a}: BagIt and sha256sum disagree about % in names"
    both = collision(list(paths))
    if both:
        return f"{both[0]!a} and {both[1]!a} differ only in case"
    same = [repo.folder for repo in repos if repo.folder.casefold() == folder.casefold()]
    if len(same) > 1 and folder != min(same):
        return f"{folder} and {min(same)} differ only in case"
    return None


def unsafe_counts(paths: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Count files of formats that can run code when they are loaded, by suffix."""
    counts: dict[str, int] = {}
    for path in paths:
        for suffix in UNSAFE_SUFFIXES:
            if path.lower().endswith(suffix):
                counts[suffix] = counts.get(suffix, 0) + 1
    return tuple(sorted(counts.items()))


def hub_texts(bundle: Bundle, in_place: Iterable[str]) -> dict[str, bytes]:
    """Return the refs and listings that revisions in place come with, by path below the bag.

    A ref to a revision that is not in place would make cache scanners drop the repo. A listing
    belongs to a complete revision only: readers would take a shortened one for all there is.
    """
    keys = frozenset(in_place)
    texts: dict[str, bytes] = {}
    for repo in bundle.repos:
        base = f"{HUB_FOLDER}/{repo.folder}"
        here = {
            commit: revision
            for commit, revision in repo.revisions.items()
            if f"{repo.folder}/{commit}" in keys
        }
        for commit, revision in here.items():
            if revision.is_complete:
                texts[f"{base}/trees/{commit}.json"] = tree_file(revision)
        taken: list[str] = []
        for name, commit in sorted(repo.refs.items()):
            if commit in here and not collision([*taken, name]):
                taken.append(name)
                texts[f"{base}/refs/{name}"] = commit.encode("ascii")
    return texts
