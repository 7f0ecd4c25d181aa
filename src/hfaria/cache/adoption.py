"""Look at a folder that another tool filled; take over partials; remove what was moved."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hfaria.cache.digest import file_digest
from hfaria.cache.files import store_errors
from hfaria.cache.filesystem import nearest_existing
from hfaria.errors import UsageError
from hfaria.rules.adoption import (
    BOOKKEEPING,
    Folder,
    FoundFile,
    Trace,
    is_pointer,
    read_clone,
    read_hfd,
    read_local_dir,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hfaria.rules.layout import Workspace

_CONTROL = ".aria2"
_LARGEST_POINTER = 1024
_LARGEST_RECORD = 64 << 20


def look_at(root: Path, *, cache_dir: Path, may_link: bool) -> Folder:
    """Return what is in a folder; opens nothing but bookkeeping. Raises `UsageError`."""
    if not root.is_dir():
        raise UsageError(f"`{root}` is not a folder")
    controlled = {path for path in _walk(root, root) if path.endswith(_CONTROL)}
    files: list[FoundFile] = []
    partials: list[FoundFile] = []
    for path in _walk(root, root):
        found = _found(root / path, path)
        if found is None or path in controlled:
            continue
        (partials if f"{path}{_CONTROL}" in controlled else files).append(found)
    is_same_disk = root.stat().st_dev == nearest_existing(cache_dir).stat().st_dev
    return Folder(
        root=root,
        trace=_trace(root),
        files=tuple(files),
        objects=tuple(_lfs_objects(root / ".git" / "lfs" / "objects")),
        partials=tuple(partials),
        can_link=may_link and is_same_disk,
    )


def _walk(folder: Path, root: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if not (folder == root and entry.name in BOOKKEEPING):
                    yield from _walk(path, root)
            else:
                yield path.relative_to(root).as_posix()


def _found(place: Path, path: str) -> FoundFile | None:
    try:
        status = place.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size <= _LARGEST_POINTER and is_pointer(place.read_bytes()):
            return None
    except OSError:
        return None
    return FoundFile(path, status.st_size, place)


def _lfs_objects(folder: Path) -> Iterator[FoundFile]:
    for place in sorted(folder.glob("??/??/*")):
        with suppress(OSError):
            yield FoundFile(place.name, place.stat().st_size, place)


def _trace(root: Path) -> Trace:
    if (root / ".hfd").is_dir():
        return read_hfd(
            _text(root / ".hfd" / "repo_metadata.json"), _text(root / ".hfd" / "manifest")
        )
    if (root / ".git").is_dir():
        head = _text(root / ".git" / "HEAD").strip()
        return read_clone(_text(root / ".git" / "config"), head, _head_commit(root / ".git", head))
    for bookkeeping in (root / ".cache" / "huggingface", root / ".huggingface"):
        folder = bookkeeping / "download"
        if folder.is_dir():
            records = sorted(folder.rglob("*.metadata"))
            return read_local_dir(
                (path.relative_to(folder).as_posix().removesuffix(".metadata"), _text(path))
                for path in records
            )
    return Trace()


def _head_commit(git: Path, head: str) -> str:
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    loose = _text(git / name).strip()
    if loose:
        return loose
    for line in _text(git / "packed-refs").splitlines():
        commit, _, packed = line.partition(" ")
        if packed == name:
            return commit
    return ""


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_RECORD:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# --- taking over ----------------------------------------------------------------------------------


def take_partials(begun: Mapping[str, Path], workspace: Workspace) -> int:
    """Move unfinished transfers of aria2 to where ours are, and return how many.

    One that we have begun as well stays where it is; so does one on another disk.
    """
    taken = 0
    for blob_name, place in begun.items():
        target = workspace.partial(blob_name)
        with store_errors("taking over"):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists() and not target.samefile(place):
                continue
            if place.stat().st_dev != target.parent.stat().st_dev:
                continue
            # By two names until the control file is there: after a kill anywhere, nothing is lost.
            if not target.exists():
                os.link(place, target)
            control = place.with_name(place.name + _CONTROL)
            os.replace(control, target.with_name(target.name + _CONTROL))  # noqa: PTH105 - atomic
            place.unlink()
        taken += 1
    return taken


def remove_moved(pairs: Iterable[tuple[Path, Path, str]], root: Path) -> int:
    """Remove files of a folder that are published now, and return how many.

    ``pairs`` are of the file, where its content is published, and the blob's name. A file that is
    not the very same one as what is published is hashed before it goes.
    """
    removed = 0
    for place, published, blob_name in pairs:
        with store_errors("removing"):
            if place.is_symlink() or ".git" in place.relative_to(root).parts:
                continue
            if not published.exists():
                continue
            is_same = place.samefile(published)
            if is_same or file_digest(place, blob_name=blob_name) == blob_name:
                place.unlink()
                removed += 1
                _remove_empty(place.parent, root)
    return removed


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
