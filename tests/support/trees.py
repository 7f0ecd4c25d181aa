"""Folders as values: what is where, which links say what, which bytes are in it."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from huggingface_hub import scan_cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopback_hub import RepoSpec

_OURS = ".hfaria"
_RECORDS = ("verified.jsonl", "wanted.json")


def tree_of(root: Path, *, without: tuple[str, ...] = ()) -> dict[str, tuple[str, object]]:
    """Return every entry below ``root``: folders, link texts, and the bytes of files.

    ``without`` names entries, at any depth, that are left out with all below them.
    """
    return dict(_walk(root, "", without))


def _walk(
    folder: Path, prefix: str, without: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, object]]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in without:
            continue
        name = f"{prefix}{entry.name}"
        if entry.is_symlink():
            yield name, ("link", os.readlink(entry.path))  # noqa: PTH115 - the text counts
        elif entry.is_dir():
            yield name, ("folder", None)
            yield from _walk(folder / entry.name, f"{name}/", without)
        else:
            yield name, ("file", (folder / entry.name).read_bytes())


def assert_holds(snapshot: Path, spec: RepoSpec, *, paths: frozenset[str] | None = None) -> None:
    """Compare a snapshot, links followed, with the repo's head: all files of it and no other."""
    wanted = {
        file.path: file.content.sha256
        for file in spec.head.files
        if paths is None or file.path in paths
    }
    found = {
        str(path.relative_to(snapshot)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in snapshot.rglob("*")
        if path.is_file() and ".cache/huggingface" not in str(path.relative_to(snapshot))
    }
    assert found == wanted


def assert_clean(cache: Path) -> None:
    """Let the cache scanner look, and look for what it doesn't: stray files of ours or hf's."""
    report = scan_cache_dir(cache)
    assert [str(warning) for warning in report.warnings] == []
    assert [path for path in cache.glob("*/blobs/*") if path.name.endswith(".incomplete")] == []


def assert_nothing_left(cache: Path) -> None:
    """See that a finished pull left its records, and nothing else of its own."""
    left = [path for folder in cache.rglob(_OURS) for path in folder.iterdir()]
    assert [str(path) for path in left if path.name not in _RECORDS] == []


def visible_files(cache: Path) -> Iterator[Path]:
    """Yield what a reader can open: blobs and everything in snapshots, never our workspace."""
    for name in ("blobs", "snapshots"):
        for folder in cache.glob(f"*--*/{name}"):
            for path in folder.rglob("*"):
                if path.is_file():
                    yield path


def tree_file(spec: RepoSpec, cache: Path) -> dict[str, object]:
    """Read the stored listing of the repo's head."""
    folder = f"{spec.repo_type}s--{spec.repo_id.replace('/', '--')}"
    text = (cache / folder / "trees" / f"{spec.commit_id}.json").read_text(encoding="utf-8")
    value: dict[str, object] = json.loads(text)
    return value
