"""The import of a stick beside `cp` from it: time, bytes read from the stick, disk taken meanwhile.

    sudo PYTHONPATH=scripts .venv-test/bin/python -m bench.bundle_import [--gigabytes 2]

Needs root, loop devices, FUSE and the programs that `scripts/filesystems` names. Both read the same
exFAT stick with cold caches and end when the bytes are on the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hfaria.bundle.importer.canonical import canonical, set_id_of
from hfaria.bundle.importer.format import (
    BUNDLE_FORMAT,
    BUNDLE_NAME,
    IMPORTER_NAME,
    PIECE_SIZE,
    STICK_FORMAT,
    STICK_NAME,
    pool_path,
)
from hfaria.bundle.single_file import importer_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MIB = 1 << 20
_FILES = 3
_SECTOR = 512
_SAMPLE_SECONDS = 0.02
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def main() -> None:
    """Measure, and print a line for each number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2, help="size of the model [default: 2]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of both [default: 3]")
    parser.add_argument("--folder", type=Path, help="where all of it lies [default: a new one]")
    parsed = parser.parse_args()
    size = int(parsed.gigabytes * 1e9) // _FILES * _FILES
    with tempfile.TemporaryDirectory(dir=parsed.folder, prefix="hfaria-import-") as name:
        folder = Path(name)
        (folder / IMPORTER_NAME).write_bytes(importer_text())
        with stick(folder, size) as (device, place):
            bag = write_bag(place, size // _FILES)
            run("umount", str(place))
            run("mount.exfat-fuse", "-o", "ro", device, str(place))
            samples = [one_round(folder, device, bag, size) for _ in range(parsed.rounds)]
    for what, target, values in zip(
        (
            "speed / cp's speed (>= 0.9)",
            "bytes read / payload (<= 1.01)",
            "extra disk, MiB (<= 64)",
        ),
        ("{:.3f}", "{:.4f}", "{:.1f}"),
        zip(*samples, strict=True),
        strict=True,
    ):
        shown = ", ".join(target.format(value) for value in values)
        print(f"{what}: median {target.format(statistics.median(values))}  ({shown})")


def one_round(folder: Path, device: str, bag: Path, size: int) -> tuple[float, float, float]:
    """Copy and import once each; return the three numbers."""
    target, cache = folder / "copied", folder / "hub"
    drop_caches()
    started = time.monotonic()
    run("cp", "-r", str(bag / "data"), str(target))
    run("sync", "-f", str(target))
    copied = time.monotonic() - started
    shutil.rmtree(target)
    drop_caches()
    before, free = sectors_read(device), shutil.disk_usage(folder).free
    lowest = LowestFree(folder)
    script = [sys.executable, "-I", "-S", str(folder / IMPORTER_NAME), "import", str(bag)]
    started = time.monotonic()
    run(*script, "--cache", str(cache), "--reserve", "0", "--mode", "copy")
    imported = time.monotonic() - started
    taken = free - lowest.stop()
    read = (sectors_read(device) - before) * _SECTOR
    kept = sum(path.stat().st_blocks * _SECTOR for path in cache.rglob("*") if path.is_file())
    shutil.rmtree(cache)
    rates = f"cp {size / copied / 1e6:.0f} MB/s, import {size / imported / 1e6:.0f} MB/s"
    print(rates, flush=True)
    return copied / imported, read / size, max(taken - kept, 0) / _MIB


class LowestFree:
    """The least free space that a disk had while something ran."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lowest = shutil.disk_usage(folder).free
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Stop watching and return it."""
        self._is_over.set()
        self._thread.join()
        return self._lowest

    def _watch(self) -> None:
        while not self._is_over.wait(_SAMPLE_SECONDS):
            self._lowest = min(self._lowest, shutil.disk_usage(self._folder).free)


def write_bag(place: Path, size: int) -> Path:
    """Write a bundle of a few large files, whole in the pool."""
    files, objects, ranges = [], {}, []
    bag = place / "bag"
    for number in range(_FILES):
        staged = bag / "staged"
        bag.mkdir(exist_ok=True)
        whole, pieces = hashlib.sha256(), [hashlib.sha256()]
        block = random.Random(number).randbytes(_MIB)
        with staged.open("wb") as file:
            for start in range(0, size, _MIB):
                if start and start % PIECE_SIZE == 0:
                    pieces.append(hashlib.sha256())
                chunk = (start.to_bytes(8, "big") + block[8:])[: min(_MIB, size - start)]
                file.write(chunk)
                whole.update(chunk)
                pieces[-1].update(chunk)
        sha256 = whole.hexdigest()
        path = pool_path(sha256, 0)
        (bag / path).parent.mkdir(parents=True, exist_ok=True)
        staged.rename(bag / path)
        files.append([f"model-{number}.safetensors", sha256, sha256, size])
        objects[sha256] = {"size": size, "git_sha1": None}
        hexes = [piece.hexdigest() for piece in pieces]
        ranges.append({"sha256": sha256, "off": 0, "len": size, "path": path, "pieces": hexes})
    write_documents(bag, files, objects, ranges)
    return bag


def write_documents(bag: Path, files: object, objects: object, ranges: object) -> None:
    """Write bundle.json and stick.json."""
    commit, now = "5" * 40, "2026-01-01T00:00:00Z"
    repo = {
        "type": "model",
        "id": "bench/model",
        "license": None,
        "gated": False,
        "refs": {"main": commit},
        "revisions": {commit: {"complete": True, "filter": None, "files": files}},
    }
    listed = {"repos": [repo], "objects": objects, "requires": []}
    set_id = set_id_of(listed)
    content = canonical(
        {
            **listed,
            "format": BUNDLE_FORMAT,
            "set_id": set_id,
            "created": now,
            "tool": {"name": "hfaria", "version": "bench"},
            "source": {"endpoint": "http://127.0.0.1"},
            "piece_size": PIECE_SIZE,
            "capabilities": [],
            "base": {"kind": "none", "id": None},
        }
    )
    (bag / BUNDLE_NAME).write_bytes(content)
    stick_document = {
        "format": STICK_FORMAT,
        "set_id": set_id,
        "stick": 1,
        "of": 1,
        "stick_uuid": "bench",
        "bundle_sha256": hashlib.sha256(content).hexdigest(),
        "fs": "exfat",
        "finalised": now,
        "ranges": ranges,
    }
    (bag / STICK_NAME).write_bytes(canonical(stick_document))


@contextlib.contextmanager
def stick(folder: Path, size: int) -> Iterator[tuple[str, Path]]:
    """Yield a mounted exFAT stick: its device and its place."""
    image, place = folder / "stick.img", folder / "stick"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(size + size // 20 + 64 * _MIB)
    run("mkfs.exfat", str(image))
    device = run("losetup", "-f", "--show", str(image)).strip()
    try:
        run("mount.exfat-fuse", device, str(place))
        yield device, place
    finally:
        with contextlib.suppress(SystemExit):  # what failed before is what matters
            run("umount", "-l", str(place))
        run("losetup", "-d", device)


def sectors_read(device: str) -> int:
    """Return how much was ever read from a block device."""
    return int(Path("/sys/block", Path(device).name, "stat").read_text().split()[2])


def drop_caches() -> None:
    """Let reads come from the stick again."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def run(*command: str) -> str:
    """Run a program that must succeed, and return what it printed."""
    words: Sequence[str] = command
    environ = {**os.environ, "PATH": _PATH}
    ended = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{command[0]} failed: {ended.stdout}{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main()
