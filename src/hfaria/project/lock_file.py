"""Read and write `hfaria.lock`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.project.toml import faults_of, parse, read_text, write_text
from hfaria.rules.lock import Lock, read_lock, serialize

if TYPE_CHECKING:
    from pathlib import Path


def lock_path_of(manifest: Path) -> Path:
    """Return where the lock of a manifest is: beside it, under its name."""
    return manifest.with_suffix(".lock")


def load_lock(path: Path) -> Lock | None:
    """Read a lock; None if there is none. Raises `InvalidManifest` with line and key."""
    text = read_text(path)
    if text is None:
        return None
    document = parse(text, path)
    with faults_of(text, path):
        return read_lock(document)


def store_lock(path: Path, lock: Lock) -> bool:
    """Write a lock, unless the very same is there; returns whether the file changed."""
    text = serialize(lock)
    if read_text(path) == text:
        return False
    write_text(path, text)
    return True
