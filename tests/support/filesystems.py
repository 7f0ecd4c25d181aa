"""Sticks for tests: real exFAT and NTFS on loop devices, or folders that are taken for such.

A machine without FUSE, loop devices or root can't mount. There a plain folder stands in, and the
writer is told the filesystem's rules; what only a real one can show is then not shown.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hfaria.bundle.importer.format import FAT32_LARGEST_FILE
from hfaria.bundle.probe import probe
from hfaria.rules.bundle_plan import Stick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_FAT = Stick("", 0, FAT32_LARGEST_FILE, cluster=32768, kind="FAT32")
_RULES = {
    "exfat": Stick("", 0, None, cluster=32768, kind="exFAT"),
    "ntfs": Stick("", 0, None, cluster=4096, kind="NTFS", has_hard_links=True),
    "fat32": _FAT,
}
_MAKE = {
    "exfat": ["mkfs.exfat"],
    "ntfs": ["mkfs.ntfs", "-Q", "-F", "-q"],
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"],
}
_MOUNT = {
    "exfat": ["mount.exfat-fuse", "-o", "{options}"],
    "ntfs": ["ntfs-3g", "-o", "windows_names,{options}"],
    "ext4": ["mount", "-t", "ext4", "-o", "{options}"],
}


@dataclass(frozen=True, slots=True)
class TestStick:
    """A place to write to, and how the writer sees it."""

    __test__ = False

    place: Path
    kind: str
    is_real: bool
    probe: Callable[[Path], Stick]
    device: str = ""

    def unmount(self) -> None:
        """Take it out as a careful user does."""
        if self.is_real:
            _run("umount", str(self.place))

    def pull_out(self) -> None:
        """Take it out while it is in use: the daemon dies."""
        daemon = _daemon_of(self.device)
        os.kill(daemon, 9)

    def mount(self, *, read_only: bool = False) -> None:
        """Put it in (again)."""
        if self.is_real:
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("umount", "-l", str(self.place))
            _mount(self.kind, self.device, self.place, "ro" if read_only else "rw")


@contextlib.contextmanager
def stick_of(kind: str, folder: Path, *, size: int = 512 * 2**20) -> Iterator[TestStick]:
    """Yield an empty stick of this kind."""
    place = folder / "stick"
    place.mkdir(parents=True)
    image = folder / "stick.img"
    device = _put_in(kind, image, size, place)
    if device is None:
        yield TestStick(place, kind, is_real=False, probe=rules(kind, size))
        return
    try:
        yield TestStick(place, kind, is_real=True, probe=probe, device=device)
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("umount", "-l", str(place))
        _run("losetup", "-d", device)
        image.unlink()


def rules(kind: str, size: int = 512 * 2**20) -> Callable[[Path], Stick]:
    """Return a probe that finds a filesystem's rules wherever it looks, with this much room."""

    def found(place: Path) -> Stick:
        assert place.is_dir()
        return replace(_RULES.get(kind, _FAT), label=str(place), free_bytes=size)

    return found


def can_mount(kind: str) -> bool:
    """Tell whether this machine has what mounting takes."""
    programs = [_MAKE[kind][0], _MOUNT[kind][0], "losetup", "umount"]
    has_programs = all(shutil.which(name, path=_PATH) for name in programs)
    devices = [Path("/dev/loop-control"), *([] if kind == "ext4" else [Path("/dev/fuse")])]
    return has_programs and os.geteuid() == 0 and all(path.exists() for path in devices)


def _put_in(kind: str, image: Path, size: int, place: Path) -> str | None:
    """Make a filesystem and mount it; returns its device, or None where that can't be done."""
    if kind not in _MAKE or not can_mount(kind):
        return None
    with image.open("wb") as file:
        file.truncate(size)
    _run(*_MAKE[kind], str(image))
    device = None
    try:
        device = _run("losetup", "-f", "--show", str(image)).strip()
        _mount(kind, device, place, "rw")
    except subprocess.CalledProcessError:  # a container without the right to
        if device is not None:
            _run("losetup", "-d", device)
        image.unlink()
        return None
    return device


def _mount(kind: str, device: str, place: Path, options: str) -> None:
    words = [word.format(options=options) for word in _MOUNT[kind]]
    _run(*words, device, str(place))


def _daemon_of(device: str) -> int:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = process.read_bytes().split(b"\0")
            if device.encode() in words and b"losetup" not in words[0]:
                return int(process.parent.name)
    raise AssertionError(f"no daemon serves {device}")


def _run(*command: str) -> str:
    ended = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "PATH": _PATH}
    )
    return ended.stdout
