"""What the filesystem of the cache is, and what it can do."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import NamedTuple

_WINDOWS_NAMED = ("vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "fuse.exfat")
# Where space can be reserved without writing zeros.
RESERVES_SPACE = ("ext4", "xfs", "btrfs", "tmpfs", "f2fs")


class Filesystem(NamedTuple):
    """What the cache's filesystem can do, found by trying."""

    kind: str
    has_symlinks: bool
    has_hardlinks: bool
    ignores_case: bool
    has_windows_names: bool
    has_modes: bool


def filesystem_kind(path: str) -> str:
    """Return the filesystem's type as the Linux kernel names it, or an empty string."""
    kind = ""
    with contextlib.suppress(OSError, IndexError):
        device = os.stat(path).st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else ""
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                # proc(5): id parent major:minor root mountpoint options ... - type source options
                left, _, right = line.partition(" - ")
                if left.split(" ")[2] == wanted:
                    kind = right.split(" ")[0]
    return kind


def disk_space(path: str) -> tuple[int, int]:
    """Return the size of the disk where a path is or would be made, and what is free of it."""
    path = os.path.abspath(path)
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    usage = shutil.disk_usage(path)
    return usage.total, usage.free
