"""The few ways in which hfaria writes a file that others read: staged beside, then moved in."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hfaria.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Translate what the filesystem refuses while ``what`` is being done."""
    try:
        yield
    except OSError as exc:
        place = f" `{exc.filename}`" if exc.filename else ""
        raise StoreError(f"{what}{place}: {exc.strerror or exc}") from exc


def stage_name(staging: Path) -> Path:
    """Return a new name in the staging folder, which is made if need be."""
    staging.mkdir(parents=True, exist_ok=True)
    return staging / uuid.uuid4().hex


def write_text(path: Path, pieces: Iterable[str], *, staging: Path) -> None:
    """Write a text file so that readers see the old or the new one, whole, also after a crash."""
    staged = stage_name(staging)
    try:
        with staged.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged, path)  # noqa: PTH105 - the atomic one, by its name
    finally:
        with suppress(FileNotFoundError):
            staged.unlink()


def link(path: Path, target: str, *, staging: Path) -> None:
    """Make ``path`` a symlink to ``target``, replacing what is there in one step."""
    try:
        os.symlink(target, path)  # noqa: PTH211 - the text matters, not a Path
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        pass
    else:
        return
    staged = stage_name(staging)
    os.symlink(target, staged)  # noqa: PTH211
    os.replace(staged, path)  # noqa: PTH105


def sync_file(path: Path) -> None:
    """Bring a file's bytes to the disk, so that no later rename can be seen before them."""
    # "r+" because Windows can't flush what was opened for reading.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk, where the system can."""
    if os.name == "nt":
        return
    with suppress(OSError):  # some network filesystems refuse it
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def clone(source: Path, target: Path, *, hard_link: bool) -> None:
    """Make ``target`` hold the bytes of ``source``: a hard link if asked and possible, else a copy.

    The caller hashes the target afterwards. Links in ``source`` are followed first, since a blob
    may itself be a symlink into huggingface_hub's shared store.
    """
    real = source.resolve(strict=True)
    if hard_link:
        with suppress(OSError):
            os.link(real, target)
            return
    shutil.copyfile(real, target)
