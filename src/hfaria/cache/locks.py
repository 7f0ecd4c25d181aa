"""Try whether a lock that this process holds keeps another process out."""

from __future__ import annotations

import enum
import subprocess
import sys
import uuid
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from pathlib import Path

_LOCK_SECONDS = 2.0
_CHILD_SECONDS = 10.0
# The other process needs nothing but the standard library, by the calls that filelock makes.
_OTHER_PROCESS = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
try:
    if sys.platform == "win32":
        import msvcrt
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("held")
else:
    print("free")
"""


class Locking(enum.Enum):
    """What locks are worth on a filesystem."""

    WORKS = "works"
    SOFT = "soft"
    """No lock of the kernel's: a file that is there or not stands in."""
    LIES = "lies"
    """The lock is granted, and keeps nobody out."""
    STUCK = "stuck"
    """A lock that was released is still held."""


def try_locks(folder: Path) -> Locking:
    """Take a lock in ``folder``, and let another process try; raises `OSError` if that fails.

    Leaves nothing behind.
    """
    path = folder / f".hfaria-{uuid.uuid4().hex}.lock"
    lock = FileLock(str(path))
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                lock.acquire(timeout=_LOCK_SECONDS)
            except NotImplementedError as exc:  # filelock before it had a substitute
                raise OSError(str(exc)) from exc
            except Timeout as exc:
                raise OSError("a new lock can't be had") from exc
        if warned:
            lock.release()
            return Locking.SOFT
        while_held = _other_process_finds(path)
        lock.release()
        if while_held != "held":
            return Locking.LIES
        return Locking.WORKS if _other_process_finds(path) == "free" else Locking.STUCK
    finally:
        lock.release()
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _other_process_finds(path: Path) -> str:
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _OTHER_PROCESS, str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise OSError("a try for a lock does not return") from exc
    if ended.returncode:
        raise OSError("another process can't open the lock file")
    return ended.stdout.decode("ascii", "replace").strip()
