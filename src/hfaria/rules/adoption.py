"""What a folder that another tool filled tells about itself, and which of a listing is in it.

The forms that are read: huggingface_hub's local-dir bookkeeping, the ``.hfd`` folder of the script
hfd.sh, and a git clone with its LFS objects.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hfaria.rules.spec import RepoType, is_commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.plan import View

BOOKKEEPING = frozenset({".cache", ".git", ".hfd", ".huggingface"})
"""Folders at the top whose content is no part of a repo."""
_REMOTE = re.compile(r'^\[remote "origin"\][^\[]*?^\s*url\s*=\s*(\S+)', re.MULTILINE | re.DOTALL)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Trace:
    """What the bookkeeping says: which repo, at which commit and branch, and what was wanted."""

    kind: str = "a plain folder"
    repo_id: str | None = None
    repo_type: RepoType | None = None
    commit_hash: str | None = None
    branch: str = "main"
    wanted: frozenset[str] | None = None
    """Paths; None says nothing."""
    wants_all: bool = False


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file in the folder, by its path there."""

    path: str
    size: int
    place: Path


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder to adopt from. ``objects`` are contents that are named by their sha256."""

    root: Path
    trace: Trace
    files: tuple[FoundFile, ...]
    objects: tuple[FoundFile, ...] = ()
    partials: tuple[FoundFile, ...] = ()
    """Files with an aria2 control file beside them."""
    can_link: bool = True
    """Whether its files can be had without a copy, and may be."""

    def offer(self, view: View, files: Iterable[RemoteFile]) -> View:
        """Return the view with what the folder has; the digest of each is still to be looked at."""
        found = self.sources(files)
        return replace(view, elsewhere={**view.elsewhere, **found})

    def sources(self, files: Iterable[RemoteFile]) -> dict[str, Path]:
        """Return where each content probably is: by path, else by name and size, else by size."""
        files = tuple(files)
        by_path = {found.path: found for found in self.files}
        sources = {
            found.path: found.place for found in self.objects if _SHA256.fullmatch(found.path)
        }
        sources = {f.blob_name: sources[f.blob_name] for f in files if f.blob_name in sources}
        used: set[str] = set()
        for file in files:
            at = by_path.get(file.path)
            if at is not None and at.size == file.size:
                sources.setdefault(file.blob_name, at.place)
                used.add(at.path)
        left = [found for found in self.files if found.path not in used]
        for same in (_same_name, _same_size):
            wanting = [file for file in files if file.blob_name not in sources and file.size]
            sources.update(_pairs(wanting, left, same))
        return sources

    def places(self, files: Iterable[RemoteFile]) -> tuple[tuple[RemoteFile, Path], ...]:
        """Return every file of the folder that may hold one of ``files``, copies of one as well."""
        files = tuple(files)
        by_path = {found.path: found for found in self.files}
        sources = self.sources(files)
        found: dict[Path, RemoteFile] = {}
        for file in files:
            at = by_path.get(file.path)
            if at is not None and at.size == file.size:
                found[at.place] = file
        for file in files:
            if file.blob_name in sources:
                found.setdefault(sources[file.blob_name], file)
        return tuple((file, place) for place, file in found.items())

    def begun(self, files: Iterable[RemoteFile]) -> dict[str, Path]:
        """Return the unfinished transfers that can go on, by blob name."""
        by_path = {found.path: found for found in self.partials}
        return {
            file.blob_name: by_path[file.path].place
            for file in files
            if file.path in by_path and by_path[file.path].size <= file.size
        }


def _same_name(file: RemoteFile, found: FoundFile) -> bool:
    return file.size == found.size and file.path.split("/")[-1] == found.path.split("/")[-1]


def _same_size(file: RemoteFile, found: FoundFile) -> bool:
    return file.size == found.size


def _pairs(
    files: Sequence[RemoteFile],
    found: Sequence[FoundFile],
    same: Callable[[RemoteFile, FoundFile], bool],
) -> dict[str, Path]:
    """Pair what fits one to one: a guess between several would only cost time."""
    pairs: dict[str, Path] = {}
    for file in files:
        fitting = [each for each in found if same(file, each)]
        rivals = {other.blob_name for other in files if any(same(other, each) for each in fitting)}
        if len(fitting) == 1 and rivals == {file.blob_name}:
            pairs[file.blob_name] = fitting[0].place
    return pairs


# --- bookkeeping of others ------------------------------------------------------------------------


def read_local_dir(records: Iterable[tuple[str, str]]) -> Trace:
    """Read huggingface_hub's records of a local dir, as pairs of path and text.

    Each has three lines: commit, ETag, time. The repo's name is nowhere. The newest commit counts.
    """
    commits: list[tuple[float, str]] = []
    paths = []
    for path, text in records:
        lines = text.split()
        try:
            commit, written = lines[0], float(lines[2])
        except (IndexError, ValueError):
            continue
        if is_commit(commit):
            commits.append((written, commit))
            paths.append(path)
    return Trace(
        "a folder of `hf download --local-dir`",
        commit_hash=max(commits)[1] if commits else None,
        wanted=frozenset(paths),
    )


def read_hfd(metadata: str, manifest: str) -> Trace:
    """Read hfd.sh's copy of the Hub's answer, and its manifest: lines of size, tab, path."""
    try:
        answer: Any = json.loads(metadata)
        repo_id, commit = str(answer["id"]), str(answer["sha"])
    except (ValueError, TypeError, LookupError):
        answer, repo_id, commit = {}, None, ""
    lines = (line.partition("\t") for line in manifest.splitlines())
    wanted = frozenset(path for size, tab, path in lines if tab and size.strip().isdigit())
    return Trace(
        "a folder of hfd.sh",
        repo_id=repo_id,
        # Only a model's answer has its id twice.
        repo_type=None if repo_id is None else _type_of_answer(answer),
        commit_hash=commit if is_commit(commit) else None,
        wanted=wanted or None,
    )


def _type_of_answer(answer: dict[str, Any]) -> RepoType:
    return RepoType.MODEL if "modelId" in answer else RepoType.DATASET


def read_clone(config: str, head: str, commit: str) -> Trace:
    """Read a git clone's config and HEAD; ``commit`` is what HEAD leads to."""
    found = _REMOTE.search(config)
    repo_id, repo_type = read_remote(found[1]) if found else (None, None)
    is_branch = head.startswith("ref: refs/heads/")
    return Trace(
        "a git clone",
        repo_id=repo_id,
        repo_type=repo_type,
        commit_hash=commit if is_commit(commit) else None,
        branch=head.removeprefix("ref: refs/heads/").strip() if is_branch else "main",
        wants_all=True,
    )


def read_remote(url: str) -> tuple[str | None, RepoType | None]:
    """Return the repo that a remote's URL names, whatever the host."""
    # The other form is scp's: git@host:path.
    path = urlsplit(url).path if "://" in url else url.partition(":")[2]
    parts = [part for part in path.removesuffix(".git").split("/") if part]
    if not parts:
        return None, None
    kinds = {f"{kind.value}s": kind for kind in RepoType if kind is not RepoType.MODEL}
    for at, part in enumerate(parts[:-1]):
        if part in kinds:
            return "/".join(parts[at + 1 : at + 3]), kinds[part]
    return "/".join(parts[-2:]), RepoType.MODEL


def is_pointer(content: bytes) -> bool:
    """Tell whether a file is an LFS pointer, which a clone without LFS has for the content."""
    return content.startswith(b"version https://git-lfs.github.com/spec/v1\n")


def glob_of_hfd(pattern: str) -> str:
    """Return a pattern of hfd.sh as one of ours: there it may match anywhere in the path."""
    return f"*{pattern.strip('*')}*"
