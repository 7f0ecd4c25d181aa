"""Read bundle.json; refuse it whole if anything is not as hfaria writes it."""

from __future__ import annotations

import hashlib
import re

from hfaria.bundle.importer.canonical import (
    Fields,
    check_format,
    matched,
    parse_canonical,
    set_id_of,
)
from hfaria.bundle.importer.errors import USAGE, BundleError, malformed, shown
from hfaria.bundle.importer.format import (
    BUNDLE_FORMAT,
    BUNDLE_NAME,
    CAPABILITIES,
    COMMIT,
    ETAG,
    REPO_ID,
    REPO_TYPES,
    SHA256,
    UTC_TIME,
)
from hfaria.bundle.importer.names import path_problem, ref_problem
from hfaria.bundle.importer.values import (
    Bundle,
    FileEntry,
    Prerequisite,
    Repo,
    Revision,
    StoredObject,
)


def parse_bundle(content: bytes) -> Bundle:
    """Read and check bundle.json. Raises `BundleError`: E-FORMAT, E-PATH or E-NEWER."""
    document = parse_canonical(content, BUNDLE_NAME)
    check_format(document, BUNDLE_FORMAT, BUNDLE_NAME)
    fields = Fields(
        document,
        BUNDLE_NAME,
        "format set_id created tool source piece_size capabilities repos objects requires base",
    )
    unknown = [str(x) for x in fields.items("capabilities") if x not in tuple(CAPABILITIES)]
    if unknown:
        raise BundleError(
            "E-NEWER",
            USAGE,
            f"the bundle uses {shown(', '.join(unknown)[:80])}, which this importer does not know",
            "use the importer of a newer hfaria",
        )
    objects = {}
    for sha256, value in fields.mapping("objects").items():
        item = Fields(value, f"object {shown(sha256[:64])}", "size git_sha1")
        matched(SHA256, sha256, "the name of an object")
        objects[sha256] = StoredObject(
            item.take("size", int), item.optional_text("git_sha1", COMMIT)
        )
    requires = {}
    for value in fields.items("requires"):
        item = Fields(value, "a prerequisite", "sha256 size etag from")
        sha256 = item.text("sha256", SHA256)
        if sha256 in objects or sha256 in requires:
            raise malformed(f"prerequisite {sha256} is carried or comes twice")
        requires[sha256] = Prerequisite(
            sha256, item.take("size", int), item.text("etag", ETAG), item.optional_text("from")
        )
    tool = Fields(fields.mapping("tool"), "tool", "name version")
    source = Fields(fields.mapping("source"), "source", "endpoint")
    base = Fields(fields.mapping("base"), "base", "kind id")
    bundle = Bundle(
        set_id=fields.text("set_id", SHA256),
        created=fields.text("created", UTC_TIME),
        tool=f"{tool.text('name')} {tool.text('version')}",
        endpoint=source.text("endpoint"),
        piece_size=fields.take("piece_size", int),
        repos=tuple(_repo(value) for value in fields.items("repos")),
        objects=objects,
        requires=requires,
        base_kind=base.text("kind", re.compile("inventory|set|none")),
        base_id=base.optional_text("id"),
        content_sha256=hashlib.sha256(content).hexdigest(),
    )
    if bundle.set_id != set_id_of(document):
        raise malformed(f"{BUNDLE_NAME}: `set_id` is not the id of what it lists")
    if not (1 << 12) <= bundle.piece_size <= (1 << 28) or bundle.piece_size % (1 << 12):
        raise malformed(f"{BUNDLE_NAME}: a piece of {bundle.piece_size} bytes is not allowed")
    _check_contents(bundle)
    return bundle


def _repo(value: object) -> Repo:
    fields = Fields(value, "a repo", "type id license gated refs revisions")
    repo_id = fields.text("id", REPO_ID)
    is_name = len(repo_id) <= 96 and "--" not in repo_id and ".." not in repo_id
    if not is_name or any(not part.strip(".-") or part[0] in ".-" for part in repo_id.split("/")):
        raise malformed(f"{BUNDLE_NAME}: {shown(repo_id)} is not a repo id")
    revisions = {
        matched(COMMIT, commit, "a commit"): _revision(commit, revision)
        for commit, revision in fields.mapping("revisions").items()
    }
    refs = {}
    for name, commit in fields.mapping("refs").items():
        if ref_problem(name) or type(commit) is not str or commit not in revisions:
            raise malformed(f"{BUNDLE_NAME}: ref {shown(name[:80])} is not allowed", "E-PATH")
        refs[name] = commit
    if any(name.startswith(other + "/") for name in refs for other in refs):
        raise malformed(f"{BUNDLE_NAME}: a ref of {repo_id} is a folder, too", "E-PATH")
    return Repo(
        repo_type=fields.text("type", re.compile("|".join(REPO_TYPES))),
        repo_id=repo_id,
        license=fields.optional_text("license"),
        is_gated=fields.take("gated", bool),
        refs=refs,
        revisions=revisions,
    )


def _revision(commit: str, value: object) -> Revision:
    fields = Fields(value, f"revision {commit}", "complete filter files")
    patterns = None
    if fields.value["filter"] is not None:
        item = Fields(fields.value["filter"], f"the filter of {commit}", "include exclude")
        patterns = {key: item.items(key) for key in ("include", "exclude")}
        if any(type(text) is not str for texts in patterns.values() for text in texts):
            raise malformed(f"the filter of {commit} is not made of patterns")
    is_complete = fields.take("complete", bool)
    if is_complete and patterns is not None:
        raise malformed(f"revision {commit} is complete, and filtered")
    files = tuple(_file_entry(row) for row in fields.items("files"))
    paths = [file.path for file in files]
    if not files or any(one >= other for one, other in zip(paths, paths[1:])):
        raise malformed(f"the files of {commit} are not sorted, come twice, or are none")
    folders = {
        "/".join(parts[:end]) for parts in map(_split, paths) for end in range(1, len(parts))
    }
    if not folders.isdisjoint(paths):
        raise malformed(f"a file of {commit} is a folder, too", "E-PATH")
    return Revision(commit, is_complete, patterns, files)


def _split(path: str) -> list[str]:
    return path.split("/")


def _file_entry(row: object) -> FileEntry:
    if type(row) is not list or [type(value) for value in row] != [str, str, str, int]:
        raise malformed(f"{BUNDLE_NAME}: a file is not [path, etag, sha256, size]")
    file = FileEntry(*row)
    problem = path_problem(file.path)
    if problem:
        name = shown(file.path[:120])
        raise malformed(f"{BUNDLE_NAME}: repo path {name} is not allowed: {problem}", "E-PATH")
    matched(ETAG, file.etag, "an ETag")
    matched(SHA256, file.sha256, "a sha256")
    return file


def _check_contents(bundle: Bundle) -> None:
    """Refuse a bundle whose files, objects and prerequisites contradict each other."""
    used = set()
    keys = [(repo.repo_type, repo.repo_id) for repo in bundle.repos]
    if len(set(keys)) != len(keys) or not keys:
        raise malformed(f"{BUNDLE_NAME}: a repo comes twice, or there is none")
    for repo in bundle.repos:
        for revision in repo.revisions.values():
            for file in revision.files:
                used.add(file.sha256)
                stored = bundle.objects.get(file.sha256)
                known = stored or bundle.requires.get(file.sha256)
                # An LFS file's ETag is its sha256; any other's is its git id.
                names = {file.sha256, stored.git_sha1} if stored else {file.sha256, file.etag}
                if known is None or known.size != file.size or file.etag not in names:
                    name = shown(file.path)
                    raise malformed(f"{BUNDLE_NAME}: {name} contradicts the list of objects")
    if not used.issuperset(bundle.objects) or not used.issuperset(bundle.requires):
        raise malformed(f"{BUNDLE_NAME}: an object belongs to no file")
