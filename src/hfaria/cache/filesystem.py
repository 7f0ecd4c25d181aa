"""Find out what the destination's filesystem allows, by asking it and by trying."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hfaria.rules.mounts import FAT, filesystem_type
from hfaria.rules.preflight import Filesystem

if TYPE_CHECKING:
    from collections.abc import Iterable

_WINDOWS_NAMED = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "fuse.exfat"})
_FAT_LARGEST_FILE = 2**32 - 1  # FAT32 keeps a file's size in 32 bits


def probe(folder: Path, *, allow_symlinks: bool, written_to: Iterable[Path] = ()) -> Filesystem:
    """Describe the filesystem that ``folder`` is on or will be made on.

    ``written_to``: folders that a pull would write into; those that exist and refuse are reported.
    Leaves nothing behind, not even ``folder``.
    """
    existing = nearest_existing(folder)
    kind = _kind(existing)
    refusals = tuple(
        refusal
        for place in dict.fromkeys([existing, *map(nearest_existing, written_to)])
        if (refusal := _refusal(place)) is not None
    )
    if refusals:
        return Filesystem(free_bytes=_free_bytes(existing), kind=kind, refusals=refusals)
    return Filesystem(
        free_bytes=_free_bytes(existing),
        kind=kind or "the filesystem",
        largest_file=_FAT_LARGEST_FILE if kind in FAT else None,
        longest_name=_limit(existing, "PC_NAME_MAX", 255),
        longest_path=_limit(existing, "PC_PATH_MAX", 4096),
        has_windows_names=sys.platform == "win32" or kind in _WINDOWS_NAMED,
        ignores_case=_ignores_case(existing),
        has_symlinks=allow_symlinks and has_symlinks(existing),
    )


def nearest_existing(folder: Path) -> Path:
    """Return ``folder``, or the closest parent that exists."""
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow links
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def has_symlinks(folder: Path) -> bool:
    """Try whether a relative symlink can be made in ``folder``."""
    name = _trial_folder(folder) / f".hfaria-{uuid.uuid4().hex}"
    try:
        name.symlink_to("target")
    except (OSError, NotImplementedError):  # the latter where a system has no such call
        return False
    name.unlink()
    return True


def _trial_folder(folder: Path) -> Path:
    """Return where a trial may be left behind by a kill: in a cache, where its scanner looks away.

    Anything else in a cache's root would be reported as a corrupted repo from then on.
    """
    locks = folder / ".locks"
    return locks if locks.is_dir() and os.access(locks, os.W_OK) else folder


def _refusal(place: Path) -> str | None:
    if not place.is_dir():
        return f"`{place}` is not a folder"
    trial = place / f".hfaria-{uuid.uuid4().hex}"
    try:
        trial.mkdir()
    except OSError as exc:
        return f"`{place}` can't be written: {exc.strerror}"
    trial.rmdir()
    return None


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _limit(folder: Path, name: str, default: int) -> int:
    if not hasattr(os, "pathconf"):
        return default
    with suppress(OSError, ValueError):
        limit = os.pathconf(folder, name)
        if limit > 0:
            return limit
    return default


def _ignores_case(folder: Path) -> bool:
    trial = _trial_folder(folder) / f".hfaria-{uuid.uuid4().hex}-x"
    trial.mkdir()
    try:
        return trial.with_name(trial.name[:-1] + "X").exists()
    finally:
        trial.rmdir()


def _kind(folder: Path) -> str:
    """Return the filesystem's type as the kernel names it, or an empty string."""
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        return ""
    device = os.stat(folder).st_dev  # noqa: PTH116 - the number is what is wanted
    wanted = f"{os.major(device)}:{os.minor(device)}"
    return filesystem_type(mounts.read_text(encoding="utf-8", errors="replace"), wanted)
