"""Find out what a stick is: its filesystem, its room, whether it has hard links."""

from __future__ import annotations

import errno
import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

from hfaria.bundle.copying import stick_errors
from hfaria.bundle.importer.format import FAT32_LARGEST_FILE
from hfaria.errors import StickRefused
from hfaria.rules.bundle_plan import UNKNOWN_CLUSTER, Stick
from hfaria.rules.mounts import WITHOUT_SIZE_LIMIT, display_name, filesystem_type

_MOUNTS = Path("/proc/self/mountinfo")
_TRIAL = re.compile(r"\.hfaria-(\d+)-[0-9a-f]{8}(?:\.2)?")


def probe(place: Path) -> Stick:
    """Describe the stick that is mounted at ``place``; leaves nothing behind.

    The limit of a file's size comes from the type: to try it would take 4 GiB. A type that nobody
    told us about is taken for the narrowest one.
    """
    with stick_errors(place):  # a mount whose medium is gone answers nothing at all
        return _probe(place)


def _probe(place: Path) -> Stick:
    if not place.is_dir():
        raise StickRefused(
            f"`{place}` is not a folder",
            hint="mount the stick first; a folder that is missing is not made, since it would "
            "fill the disk below the mount point",
        )
    has_hard_links = _has_hard_links(place)
    free, cluster = _room(place)
    kind = _kind(place)
    return Stick(
        label=str(place),
        free_bytes=free,
        cluster=cluster,
        kind=display_name(kind, has_hard_links=has_hard_links) or "of unknown kind",
        largest_file=None if kind in WITHOUT_SIZE_LIMIT else FAT32_LARGEST_FILE,
        has_hard_links=has_hard_links,
        device=place.stat().st_dev,
    )


def _room(place: Path) -> tuple[int, int]:
    if not hasattr(os, "statvfs"):
        import shutil  # noqa: PLC0415 - where there is no statvfs: Windows

        return shutil.disk_usage(place).free, UNKNOWN_CLUSTER
    status = os.statvfs(place)
    cluster = status.f_frsize or UNKNOWN_CLUSTER
    return status.f_bavail * cluster, cluster


def _has_hard_links(place: Path) -> bool:
    _remove_leftovers(place)
    trial = place / f".hfaria-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    other = trial.with_name(f"{trial.name}.2")
    try:
        trial.touch()
    except OSError as exc:
        if exc.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise
        raise StickRefused(f"`{place}` can't be written: {exc.strerror}") from exc
    try:
        os.link(trial, other)
    except (OSError, NotImplementedError):  # the latter where a system has no such call
        return False
    finally:
        for path in (other, trial):
            with suppress(OSError):
                path.unlink()
    return True


def _remove_leftovers(place: Path) -> None:
    """Remove the empty files of probes that were killed on this machine."""
    if os.name == "nt":
        return  # where asking whether a process lives would end it
    for path in place.glob(".hfaria-*"):
        found = _TRIAL.fullmatch(path.name)
        if found and not _is_alive(int(found.group(1))):
            with suppress(OSError):
                if path.lstat().st_size == 0:
                    path.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _kind(place: Path) -> str:
    if not _MOUNTS.exists():
        return ""
    device = place.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    return filesystem_type(_MOUNTS.read_text(encoding="utf-8", errors="replace"), wanted)
