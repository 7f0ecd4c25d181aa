"""Locks of the kind that huggingface_hub takes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import io
    from collections.abc import Sequence

    from hfaria.bundle.importer.folders import Folder

if sys.platform == "win32":
    import msvcrt
if sys.platform != "win32":
    import fcntl


class Lock:
    """A lock on a file that stays, of the kind that huggingface_hub takes (its filelock)."""

    def __init__(self, root: Folder, folders: Sequence[str], name: str) -> None:
        self._root = root
        self._folders = folders
        self._name = name
        self._file: io.FileIO | None = None

    def take(self) -> bool:
        """Try to take it; False if another process holds it."""
        with self._root.descend(self._folders, make=True) as folder:
            file = folder.open(self._name, os.O_RDWR | os.O_CREAT)
        try:
            if sys.platform == "win32":
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            # Some network filesystems have no locks: moving into place is what keeps us safe.
            if exc.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK):
                file.close()
                return False
        self._file = file
        return True

    def release(self) -> None:
        """Let others have it."""
        file, self._file = self._file, None
        if file is not None:
            if sys.platform == "win32":
                with contextlib.suppress(OSError):
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
            file.close()
