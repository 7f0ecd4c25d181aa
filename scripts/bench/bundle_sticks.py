"""A large model onto real sticks: exFAT beside `cp`, and parts of a file that FAT32 can't hold.

    sudo PYTHONPATH=scripts .venv-test/bin/python -m bench.bundle_sticks [--gigabytes 4]

Needs root, loop devices, FUSE and the programs that `scripts/filesystems` names. Not one of the
benchmarks that compare tools: it has none to compare with but `cp`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import bagit
from huggingface_hub import scan_cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MIB = 2**20
_FAT32_PART = 255 * 16 * _MIB


def main() -> None:
    """Measure, and print a line for each number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4, help="size of the model [default: 4]")
    parser.add_argument("--folder", type=Path, help="where the cache lies [default: a new one]")
    parser.add_argument("--sticks", type=Path, help="where the images lie [default: a new one]")
    parsed = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=parsed.folder, prefix="hfaria-cache-") as name,
        tempfile.TemporaryDirectory(dir=parsed.sticks, prefix="hfaria-sticks-") as other,
    ):
        folder = Path(other)
        cache = Path(name)
        size = int(parsed.gigabytes * 1e9)
        make_repo(cache, "models--bench--model", [size // 3] * 3)
        on_exfat(folder, cache, size)
        make_repo(cache, "models--bench--huge", [6 * 2**30], is_sparse=True)
        on_fat32(folder, cache)


def make_repo(cache: Path, name: str, sizes: list[int], *, is_sparse: bool = False) -> None:
    """Write a repo into a cache as a pull leaves it."""
    repo, commit = cache / name, hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    snapshot = repo / "snapshots" / commit
    snapshot.mkdir(parents=True)
    listing = {}
    for number, size in enumerate(sizes, 1):
        staged = repo / "staged"
        digest = hashlib.sha256()
        block = bytes(_MIB) if is_sparse else random.Random(number).randbytes(_MIB)
        with staged.open("wb") as file:
            for start in range(0, size, _MIB):
                chunk = block[: min(_MIB, size - start)]
                if not is_sparse:
                    chunk = start.to_bytes(8, "big") + chunk[8:]
                    file.write(chunk)
                digest.update(chunk)
            file.truncate(size)
        sha256 = digest.hexdigest()
        (repo / "blobs").mkdir(exist_ok=True)
        staged.rename(repo / "blobs" / sha256)
        path = f"model-{number}.safetensors"
        (snapshot / path).symlink_to(f"../../blobs/{sha256}")
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        pointer = hashlib.sha1(f"blob {len(text)}\0{text}".encode(), usedforsecurity=False)
        listing[path] = {
            "size": size,
            "blob_id": pointer.hexdigest(),
            "lfs_sha256": sha256,
            "lfs_size": size,
        }
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    (repo / "trees").mkdir()
    document = {"format_version": 1, "files": listing}
    (repo / "trees" / f"{commit}.json").write_text(json.dumps(document, indent=1))


def on_exfat(folder: Path, cache: Path, size: int) -> None:
    """Write the model to exFAT, load and check it there write-protected, and bring it in."""
    with stick(folder, 2 * size + 2**30) as (device, place):
        blobs = list((cache / "models--bench--model" / "blobs").iterdir())
        with timed("cp to exFAT, synced", size):
            run("cp", *map(str, blobs), str(place))
            run("sync", "-f", str(place))
        for blob in blobs:
            (place / blob.name).unlink()
        drop_caches()
        with timed("bundle create --no-readback", size):
            hfaria(folder, cache, "bench/model", place, "--no-readback")
        bag = next(place.glob("hfb-*"))
        run("rm", "-r", str(bag), str(folder / "state"))
        drop_caches()
        with timed("bundle create, read back", size):
            hfaria(folder, cache, "bench/model", place)
        run("umount", str(place))
        run("mount.exfat-fuse", "-o", "ro", device, str(place))
        with timed("sha256sum -c", size):
            run("sha256sum", "--quiet", "--strict", "-c", "manifest-sha256.txt", cwd=bag)
        with timed("bagit validate", size):
            bagit.Bag(str(bag)).validate()
        hub = bag / "data" / "hub"
        warnings = [str(warning) for warning in scan_cache_dir(hub).warnings]
        program = (
            "import huggingface_hub as h, pathlib, hashlib\n"
            "folder = pathlib.Path(h.snapshot_download('bench/model'))\n"
            "for path in sorted(folder.iterdir()):\n"
            "    digest = hashlib.sha256()\n"
            "    with path.open('rb') as file:\n"
            "        while chunk := file.read(1 << 20): digest.update(chunk)\n"
            "    print(digest.hexdigest())\n"
        )
        environ = {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"}
        with timed("huggingface_hub reads it in place, offline, read-only", size):
            read = run(sys.executable, "-c", program, environ=environ).split()
        print(f"  warnings: {warnings}; content right: {set(read) == {b.name for b in blobs}}")
        drop_caches()
        with timed("import from it", size):
            run(
                sys.executable, "-I", "-S", str(bag / "import_bundle.py"), "import",
                "--cache", str(folder / "target"), "--reserve", "0",
            )  # fmt: skip
        run("rm", "-r", str(folder / "target"))


def on_fat32(folder: Path, cache: Path) -> None:
    """Cut a file of 6 GiB for FAT32, and copy every part into a real FAT32 image."""
    place = folder / "parts"
    place.mkdir()
    with timed("bundle create of 6 GiB in parts", 6 * 2**30):
        hfaria(folder, cache, "bench/huge", place, "--part-size", str(_FAT32_PART))
    parts = sorted(place.glob("hfb-*/data/pool/*/*"))
    sizes = [part.stat().st_size for part in parts]
    print(f"  parts: {sizes}, sum {sum(sizes)}")
    image = folder / "fat.img"
    with image.open("wb") as file:
        file.truncate(8 * 2**30)
    run("mkfs.vfat", "-F", "32", str(image))
    for part in parts:
        run("mcopy", "-i", str(image), str(part), f"::/{part.name}")
    print("  every part is in the FAT32 image:", run("mdir", "-b", "-i", str(image), "::").split())
    whole = next((cache / "models--bench--huge" / "blobs").iterdir())
    refused = subprocess.run(
        ["mcopy", "-i", str(image), str(whole), "::/whole"],
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"  the file itself: {refused.stderr.strip() or 'taken'}")


@contextlib.contextmanager
def stick(folder: Path, size: int) -> Iterator[tuple[str, Path]]:
    """Yield a mounted exFAT stick: its device and its place."""
    image, place = folder / "stick.img", folder / "stick"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    run("mkfs.exfat", str(image))
    device = run("losetup", "-f", "--show", str(image)).strip()
    try:
        run("mount.exfat-fuse", device, str(place))
        yield device, place
    finally:
        with contextlib.suppress(SystemExit):  # what failed before is what matters
            run("umount", "-l", str(place))
        run("losetup", "-d", device)
        image.unlink()


def hfaria(folder: Path, cache: Path, repo: str, place: Path, *words: str) -> None:
    """Make a bundle from the cache as it is."""
    environ = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(cache),
        "HFARIA_STATE_DIR": str(folder / "state"),
    }
    command = [sys.executable, "-m", "hfaria", "bundle", "create", repo, "--to", str(place), "-q"]
    run(*command, *words, environ=environ)


@contextlib.contextmanager
def timed(what: str, size: int) -> Iterator[None]:
    """Print how long a step took."""
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    print(f"{what}: {seconds:.1f} s, {size / seconds / 1e6:.0f} MB/s", flush=True)


def drop_caches() -> None:
    """Let reads come from the media again, where the machine allows it."""
    os.sync()
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3")


def run(*command: str, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Run a program that must succeed, and return what it printed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    ended = subprocess.run(
        command,
        env={**os.environ, "PATH": path, **(environ or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise SystemExit(f"{command[0]} failed: {ended.stdout}{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main()
