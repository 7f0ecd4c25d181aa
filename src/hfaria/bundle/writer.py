"""Write one stick: resumable, read back, finished last. What another set wrote is left alone."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from hfaria.bundle.copying import (
    Copied,
    copy_range,
    digest_of_stick_file,
    digest_range,
    opened_for_writing,
    sync_files,
    write_all,
    write_whole,
)
from hfaria.bundle.importer.format import PACK_FOLDER
from hfaria.bundle.journal import HeldRange, Journal, Written
from hfaria.bundle.source import chunks, opened
from hfaria.errors import CorruptCache, StickChanged, StickRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from hfaria.rules.bundle_plan import Pack, StickFile, StickPlan

_BLOCK = 512
_SMALL = 2**20
_BATCH = 100
"""Small files that are brought to the medium together."""


class Contents(Protocol):
    """Where the cache holds contents."""

    def path(self, content: str) -> Path:
        """Return the file that holds a content."""

    def size(self, content: str) -> int:
        """Return its size."""

    def label(self, content: str) -> str:
        """Return how messages name it."""


@dataclass(slots=True)
class BagWriter:
    """The folder of one stick, while it is written.

    ``texts`` are files of the hub's layout that are no content: refs and listings. ``on_bytes`` is
    told of every byte that is on the stick.
    """

    bag: Path
    plan: StickPlan
    journal: Journal
    contents: Contents
    piece: int
    texts: Mapping[str, bytes]
    on_bytes: Callable[[int], None]
    on_file: Callable[[str], None] = lambda _name: None
    _folders: set[Path] = field(default_factory=set)
    _surveys: dict[str, Copied] = field(default_factory=dict)
    _staged: list[tuple[Path, Path, Written]] = field(default_factory=list)
    """Small files that are written, and not synced yet."""

    def recheck(self) -> None:
        """Hash what earlier runs wrote, and forget what is not right."""
        for written in tuple(self.journal.written.values()):
            if not self._is_right(written):
                self._discard(written)

    def write(self) -> None:
        """Write every file of the plan that is not on the stick yet."""
        for file in self.plan.files:
            is_whole = file.length == self.contents.size(file.content)
            if self._is_held(file.path, file.content if is_whole else None):
                continue
            self.on_file(file.path)
            if file.same_as is None:
                self._write_file(file)
            else:
                self._settle()
                self._link(file, self._target(file.path))
        self._settle()
        for number, pack in enumerate(self.plan.packs, 1):
            name = f"pack-{number}"
            if not self._is_held(name, None):
                self.on_file(name)
                self._write_pack(name, pack)
        for path, content in self.texts.items():
            target = self._target(path)
            write_whole(target, content)

    def read_back(self) -> None:
        """Compare what the medium gives back with what was written.

        A file that differs is removed, so that the next run writes it again.
        """
        for written in tuple(self.journal.written.values()):
            if written.name in self.journal.checked:
                self.on_bytes(written.size)
                continue
            if not self._is_right(written, on_bytes=self.on_bytes):
                self._discard(written)
                raise StickChanged(
                    f"the stick gives back other bytes of `{written.path}` than were written"
                )
            self.journal.add_checked(written.name)

    def _is_held(self, name: str, sha256: str | None) -> bool:
        """Tell whether a file is on the stick, by the journal and its size."""
        written = self.journal.written.get(name)
        if written is None:
            return False
        if sha256 not in {None, written.sha256}:
            self.journal.drop(name)
            return False
        path = self.bag / written.path
        try:
            status = path.lstat()
        except FileNotFoundError:
            self.journal.drop(name)
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_size != written.size:
            self.journal.drop(name)
            return False
        self.on_bytes(written.size)
        return True

    def _write_file(self, file: StickFile) -> None:
        target = self._target(file.path)
        size = self.contents.size(file.content)
        is_whole = file.length == size
        survey = None if is_whole else self._survey(file.content, size)
        staged = target.with_name(f"{target.name}.tmp")
        is_small = file.length < _SMALL
        copied = copy_range(
            self.contents.path(file.content),
            staged,
            offset=file.offset,
            length=file.length,
            piece=self.piece,
            on_bytes=self.on_bytes,
            sync=not is_small,
        )
        if survey is None:
            is_right = copied.sha256 == file.content
        else:
            first = file.offset // self.piece
            is_right = copied.pieces == survey.pieces[first : first + len(copied.pieces)]
        if not is_right:
            staged.unlink()
            raise self._corrupt(file.content)
        held = HeldRange(file.content, file.offset, file.length, 0, copied.pieces)
        written = Written(file.path, file.path, copied.sha256, file.length, (held,))
        self._staged.append((staged, target, written))
        if not is_small or len(self._staged) >= _BATCH:
            self._settle(is_synced=not is_small and len(self._staged) == 1)

    def _settle(self, *, is_synced: bool = False) -> None:
        """Give staged files their names and note them, once they are on the medium."""
        if not self._staged:
            return
        if not is_synced:
            sync_files(self.bag, [staged for staged, _, _ in self._staged])
        for staged, target, _ in self._staged:
            os.replace(staged, target)  # noqa: PTH105 - the atomic one, by its name
        self.journal.add(*(written for _, _, written in self._staged))
        self._staged.clear()

    def _link(self, file: StickFile, target: Path) -> None:
        other = self.journal.written[str(file.same_as)]
        staged = target.with_name(f"{target.name}.tmp")
        with suppress(FileNotFoundError):
            staged.unlink()
        os.link(self.bag / other.path, staged)
        os.replace(staged, target)  # noqa: PTH105
        with suppress(FileNotFoundError):
            staged.unlink()  # replacing one hard link by another of the same file keeps both
        self.journal.add(replace(other, name=file.path, path=file.path))

    def _survey(self, content: str, size: int) -> Copied:
        """Hash a whole content before its parts are written: a part alone proves nothing."""
        survey = self._surveys.get(content)
        if survey is None:
            survey = digest_range(
                self.contents.path(content),
                offset=0,
                length=size,
                piece=self.piece,
                on_bytes=lambda _count: None,
            )
            if survey.sha256 != content:
                raise self._corrupt(content)
            self._surveys[content] = survey
        return survey

    def _write_pack(self, name: str, pack: Pack) -> None:
        staged = self._target(f"{PACK_FOLDER}/{name}.tmp")
        ranges: list[HeldRange] = []
        with opened_for_writing(staged) as file:
            file.truncate(0)
            at = 0
            for content, size in pack.members:
                header = tarfile.TarInfo(content)
                header.size = size
                block = header.tobuf(tarfile.USTAR_FORMAT)
                at += len(block)
                with opened(self.contents.path(content)) as source:
                    body = b"".join(chunks(source, size))
                digest = hashlib.sha256(body).hexdigest()
                if digest != content:
                    raise self._corrupt(content)
                ranges.append(HeldRange(content, 0, size, at, (digest,)))
                write_all(file, block + body + b"\0" * (-size % _BLOCK))
                at += size + -size % _BLOCK
            write_all(file, b"\0" * (2 * _BLOCK))
            os.fsync(file.fileno())
        sha256 = digest_of_stick_file(staged, on_bytes=self.on_bytes)
        path = f"{PACK_FOLDER}/{sha256}.tar"
        os.replace(staged, self.bag / path)  # noqa: PTH105
        self.journal.add(Written(name, path, sha256, at + 2 * _BLOCK, tuple(ranges)))

    def _is_right(
        self, written: Written, on_bytes: Callable[[int], None] = lambda _count: None
    ) -> bool:
        try:
            return (
                digest_of_stick_file(self.bag / written.path, on_bytes=on_bytes) == written.sha256
            )
        except FileNotFoundError:
            return False

    def _discard(self, written: Written) -> None:
        self.journal.drop(written.name)
        with suppress(FileNotFoundError):
            (self.bag / written.path).unlink()

    def _target(self, path: str) -> Path:
        target = self.bag / path
        make_folder(target.parent, below=self.bag, known=self._folders)
        return target

    def _corrupt(self, content: str) -> CorruptCache:
        return CorruptCache(
            f"{self.contents.label(content)} has other content in the cache than its name says"
        )


def make_folder(folder: Path, *, below: Path, known: set[Path]) -> None:
    """Make a folder and its parents below the bag, refusing to go through a link."""
    if folder in known:
        return
    if folder != below:
        make_folder(folder.parent, below=below, known=known)
    with suppress(FileExistsError):
        folder.mkdir()
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise StickRefused(f"`{folder}` is a link or a file where a folder should be")
    known.add(folder)


def files_below(folder: Path) -> Iterator[str]:
    """Yield the paths of everything below a folder that is not a folder, links not followed."""
    for current, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(current, name))]  # noqa: PTH114, PTH118
        for name in (*names, *links):
            path = os.path.relpath(os.path.join(current, name), folder)  # noqa: PTH118
            yield path.replace(os.sep, "/")
