"""A private folder for one daemon's conf and log, and the sweeping of those left by dead runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "hfaria-engine-"
_LOCK = "lock"
_PID = "daemon.pid"
_UNLOCKED_SECONDS = 60.0  # between making the folder and locking it
_ORPHAN_SECONDS = 5.0


class RuntimeDir:
    """A 0700 folder that is locked while its owner lives, so that nobody sweeps it.

    The lock is the kernel's: it ends with the process, however that ends.
    """

    def __init__(self, parent: Path | None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        staged = self.path / f"{_LOCK}.new"
        self._lock: int | None = os.open(staged, os.O_CREAT | os.O_RDWR, 0o600)
        if sys.platform != "win32":
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        staged.rename(self.path / _LOCK)

    def write_private(self, name: str, content: str) -> Path:
        """Write a file that only this user can read."""
        path = self.path / name
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        return path

    def note_daemon(self, pid: int) -> None:
        """Remember the daemon's pid for whoever sweeps this folder."""
        self.write_private(_PID, str(pid))

    def remove(self) -> None:
        """Delete the folder; missing is fine."""
        if sys.platform == "win32":  # an open file can't be deleted there
            self._unlock()
        shutil.rmtree(self.path, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sweep_dead_runs(parent: Path | None) -> None:
    """Delete this user's folders of runs that were killed, after ending their daemons.

    Such a daemon ends by itself within 2 s, but until then it writes the same partials as ours.
    """
    if sys.platform == "win32":
        return
    for folder in _folders(parent):
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its owner lives
            continue
        else:
            _end_orphan(folder)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def _folders(parent: Path | None) -> Iterator[Path]:
    """Find runtime folders that are really folders, and really ours."""
    base = Path(tempfile.gettempdir()) if parent is None else parent
    for folder in sorted(base.glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                yield folder


def _end_orphan(folder: Path) -> None:
    try:
        pid = int((folder / _PID).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    # A pid may be another's by now: the daemon is the one that was started with this conf.
    deadline = time.monotonic() + _ORPHAN_SECONDS
    with contextlib.suppress(OSError):
        if _runs_from(pid, folder):
            os.kill(pid, signal.SIGTERM)
        while _runs_from(pid, folder):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def _runs_from(pid: int, folder: Path) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return os.fsencode(folder) in command  # empty for a zombie
