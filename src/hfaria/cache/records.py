"""Keep the records of what was verified, in the repo's own folder."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from hfaria.cache.files import write_text
from hfaria.rules import records, wishes
from hfaria.rules.records import FileState, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hfaria.rules.layout import Workspace
    from hfaria.rules.selection import Selection
    from hfaria.rules.wishes import Wishes

_LARGEST = 512 * 2**20
_SPARE_LINES = 100


def state_of(path: Path) -> FileState:
    """Return the state of a file, links followed; raises `OSError`."""
    status = path.stat()
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino)


def record_of(repo: Path, path: Path, blob_name: str, marks: Sequence[str] = ()) -> Record:
    """Return the record of a file that was verified just now; raises `OSError`."""
    place = path.relative_to(repo).as_posix()
    return Record(place, blob_name, state_of(path), time.time(), tuple(marks))


def append(workspace: Workspace, new: Iterable[Record]) -> None:
    """Add records. One that can't be written costs a later hashing, and nothing else."""
    text = "".join(map(records.serialize, new)).encode()
    if not text:
        return
    with suppress(OSError):
        workspace.root.mkdir(exist_ok=True)  # other tools' repos have none
        # One write at the end of the file: lines of others that append now stay whole.
        descriptor = os.open(workspace.records, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, text)
        finally:
            os.close(descriptor)


def load(workspace: Workspace) -> dict[str, Record]:
    """Return the newest record of each place."""
    return records.parse(_read(workspace.records))


def compact(workspace: Workspace, kept: Iterable[Record]) -> None:
    """Leave only the records that are ``kept``, if the file has grown well beyond them.

    Only for those who hold the pull lock: what others append meanwhile is lost.
    """
    kept = tuple(kept)
    if _read(workspace.records).count("\n") > 2 * len(kept) + _SPARE_LINES:
        with suppress(OSError):
            lines = map(records.serialize, kept)
            write_text(workspace.records, lines, staging=workspace.staging)


def load_wishes(workspace: Workspace) -> Wishes:
    """Return which parts of which commits were asked for."""
    return wishes.parse(_read(workspace.wishes))


def note_wish(workspace: Workspace, commit_hash: str, wish: Selection) -> None:
    """Remember which part of a commit a pull was asked for; raises `OSError`."""
    known = load_wishes(workspace)
    changed = wishes.add_wish(known, commit_hash, wish)
    if changed != known:
        write_text(workspace.wishes, [wishes.serialize(changed)], staging=workspace.staging)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
