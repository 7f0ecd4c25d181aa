"""Folders of stick and cache, reached without following a link."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import time
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.errors import BundleError, malformed, shown
from hfaria.bundle.importer.format import IO_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

_HAS_DESCRIPTORS = os.open in os.supports_dir_fd and os.rename in os.supports_dir_fd
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
# A plain open of a FIFO would wait for its writer for ever.
_READ = os.O_RDONLY | _PLAIN | getattr(os, "O_NONBLOCK", 0)
_REPARSE_POINT = 0x400  # FILE_ATTRIBUTE_REPARSE_POINT: links, junctions, mount points


def is_link(status: os.stat_result) -> bool:
    """Tell whether an entry leads elsewhere: a symlink or, on Windows, a reparse point."""
    is_reparse_point = getattr(status, "st_file_attributes", 0) & _REPARSE_POINT
    return stat.S_ISLNK(status.st_mode) or bool(is_reparse_point)


class Folder:
    """A folder, on the stick or in the cache, below which no link is ever followed.

    Where the system has them, descriptors are used, so that no name can be swapped between a look
    and a use. Elsewhere (Windows), each component is looked at before it is used.
    """

    def __init__(self, path: str, descriptor: int | None, *, fault: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._fault = fault

    @classmethod
    def root(cls, path: str, *, fault: int) -> Folder:
        """Open the folder that the operator named; its own path may hold links."""
        path = os.path.realpath(path)
        if not _HAS_DESCRIPTORS:
            os.listdir(path)
            prefix = "" if os.name != "nt" or path.startswith("\\\\") else "\\\\?\\"
            return cls(prefix + path, None, fault=fault)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return cls(path, descriptor, fault=fault)

    def __enter__(self) -> Folder:  # noqa: PYI034 - typing.Self is of 3.11
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    @property
    def is_removed(self) -> bool:
        """Whether it has no name any more."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0

    @property
    def is_private(self) -> bool:
        """Whether nobody else may write here; not known on Windows, where profiles see to it."""
        if self._descriptor is None:
            return True
        status = os.fstat(self._descriptor)
        return status.st_uid == os.geteuid() and not status.st_mode & 0o022

    def named(self, name: str) -> str:
        """Return the whole path of an entry, for messages and for systems without descriptors."""
        return os.path.join(self.path, name)

    def _at(self, name: str) -> str:
        return name if self._descriptor is not None else self.named(name)

    def refuse(self, name: str, what: str) -> BundleError:
        """Return the refusal of an entry that is not what it should be."""
        hint = "nothing is written through links; remove it if it is not yours"
        return BundleError("E-LINK", self._fault, f"{shown(self.named(name))} is {what}", hint)

    def child(self, name: str) -> Folder:
        """Open a folder in this one. Raises FileNotFoundError, or `BundleError` for a link."""
        if self._descriptor is None:
            status = os.lstat(self.named(name))
            if is_link(status) or not stat.S_ISDIR(status.st_mode):
                raise self.refuse(name, "a link, or no folder")
            return Folder(self.named(name), None, fault=self._fault)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                raise self.refuse(name, "a link, or no folder") from exc
            raise
        return Folder(self.named(name), descriptor, fault=self._fault)

    def made(self, name: str, mode: int = 0o777) -> Folder:
        """Open a folder in this one, made if need be."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._at(name), mode, dir_fd=self._descriptor)
        return self.child(name)

    def descend(self, names: Sequence[str], *, make: bool = False) -> Folder:
        """Open a folder some levels down; the caller closes it, but never this one."""
        folder = self._again()
        for name in names:
            with folder as above:
                folder = above.made(name) if make else above.child(name)
        return folder

    def _again(self) -> Folder:
        descriptor = None if self._descriptor is None else os.dup(self._descriptor)
        return Folder(self.path, descriptor, fault=self._fault)

    def names(self) -> list[str]:
        """List the entries."""
        return os.listdir(self.path if self._descriptor is None else self._descriptor)

    def status(self, name: str) -> os.stat_result | None:
        """Look at an entry itself; None if there is none."""
        try:
            return os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def plain_size(self, name: str) -> int | None:
        """Return the size of a plain file; None if there is none, or something else."""
        status = self.status(name)
        is_plain = status is not None and stat.S_ISREG(status.st_mode) and not is_link(status)
        return status.st_size if status is not None and is_plain else None

    def open(self, name: str, flags: int = _READ) -> io.FileIO:
        """Open a plain file. Raises `BundleError` for a link, FIFO or device."""
        status = self.status(name) if self._descriptor is None else None
        if status is not None and is_link(status):
            raise self.refuse(name, "a link")
        try:
            descriptor = os.open(self._at(name), flags | _PLAIN, 0o666, dir_fd=self._descriptor)
        except OSError as exc:
            # ENXIO: a FIFO without a reader, or a socket.
            if exc.errno in (errno.ELOOP, errno.ENXIO, errno.EMLINK, errno.EISDIR):
                raise self.refuse(name, "a link, or no plain file") from exc
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self.refuse(name, "no plain file")
        mode = "r" if flags & (os.O_WRONLY | os.O_RDWR) == 0 else "r+"
        return io.FileIO(descriptor, mode)

    def read(self, name: str, most: int) -> bytes | None:
        """Return a small file's content; None if there is none. Raises if it is not small."""
        try:
            file = self.open(name)
        except FileNotFoundError:
            return None
        with file:
            if os.fstat(file.fileno()).st_size > most:
                raise malformed(f"{shown(self.named(name))} is larger than {most} bytes")
            content = bytearray()
            while len(content) <= most:
                chunk = file.read(min(1 << 20, most + 1 - len(content)))
                if not chunk:
                    return bytes(content)
                content += chunk
        raise malformed(f"{shown(self.named(name))} is larger than {most} bytes")

    def write(self, name: str, content: bytes) -> None:
        """Write a new file and bring it to the disk; whatever had its name is replaced."""
        self.unlink(name)
        with self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            write_all(file, memoryview(content))
            os.fsync(file.fileno())

    def replace(self, name: str, folder: Folder, new_name: str) -> None:
        """Move an entry, over what has its new name."""
        at, to = self._descriptor, folder._descriptor
        for attempt in range(10):
            try:
                os.replace(self._at(name), folder._at(new_name), src_dir_fd=at, dst_dir_fd=to)
            except PermissionError as exc:
                # Windows: somebody has the old one open for a moment.
                if getattr(exc, "winerror", None) not in (5, 32) or attempt == 9:
                    raise
                time.sleep(0.2)
            else:
                return

    def rename(self, name: str, folder: Folder, new_name: str) -> None:
        """Move a folder to a name that must be free, or be an empty folder's."""
        at, to = self._descriptor, folder._descriptor
        os.rename(self._at(name), folder._at(new_name), src_dir_fd=at, dst_dir_fd=to)

    def link(self, name: str, folder: Folder, new_name: str) -> None:
        """Give a file a second name."""
        at, to = self._descriptor, folder._descriptor
        old, new = self._at(name), folder._at(new_name)
        if self._descriptor is None:
            os.link(old, new)
        else:
            os.link(old, new, src_dir_fd=at, dst_dir_fd=to, follow_symlinks=False)

    def symlink(self, text: str, name: str) -> None:
        """Make a symlink; its name must be free."""
        os.symlink(text.replace("/", os.sep), self._at(name), dir_fd=self._descriptor)

    def link_text(self, name: str) -> str:
        """Return what a symlink says, with slashes."""
        return os.readlink(self._at(name), dir_fd=self._descriptor).replace("\\", "/")

    def unlink(self, name: str) -> None:
        """Remove a file or a link, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(name), dir_fd=self._descriptor)

    def rmdir(self, name: str) -> None:
        """Remove a folder if it is empty."""
        with contextlib.suppress(OSError):
            os.rmdir(self._at(name), dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a folder with all that is in it."""
        with self.child(name) as folder:
            for inner in folder.names():
                status = folder.status(inner)
                if status is not None and stat.S_ISDIR(status.st_mode) and not is_link(status):
                    folder.remove(inner)
                else:
                    folder.unlink(inner)
        self.rmdir(name)

    def sync(self) -> None:
        """Bring the entries to the disk, where the system can."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)


def write_all(file: io.FileIO, view: memoryview) -> None:
    """Write all of it: one call may write less, at a full disk or a quota."""
    while view:
        view = view[file.write(view) or 0 :]


def digest_file(file: io.FileIO, digests: Sequence[Any], length: int, start: int = 0) -> bool:
    """Feed a part of a file to digests; tell whether it was that long."""
    file.seek(start)
    buffer = memoryview(bytearray(IO_SIZE))
    while length:
        count = file.readinto(buffer[: min(IO_SIZE, length)]) or 0
        if not count:
            return False
        for digest in digests:
            digest.update(buffer[:count])
        length -= count
    return True


def copy_file(source: Folder, name: str, target: Folder, new_name: str, size: int) -> None:
    """Copy a file of the cache within it, and bring it to the disk."""
    target.unlink(new_name)
    buffer = memoryview(bytearray(IO_SIZE))
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    with source.open(name) as old, target.open(new_name, flags) as new:
        while size:
            count = old.readinto(buffer[: min(IO_SIZE, size)]) or 0
            if not count:
                raise OSError(errno.EIO, "the file became shorter", source.named(name))
            write_all(new, buffer[:count])
            size -= count
        os.fsync(new.fileno())
