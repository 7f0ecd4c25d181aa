"""Places and programs of the benchmarks about what is on the disk already."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bench.running import RunningTool
from bench.tools import Job, environment
from hfaria.cache.hub_cache import HubCache
from hfaria.rules.layout import RepoLayout
from hfaria.rules.listing import RemoteFile, check_file, git_blob_digest, make_listing
from hfaria.rules.selection import Selection
from hfaria.rules.spec import RepoSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMIT = "1" * 40
REPO_ID = "bench/kept"


def run_hfaria(folder: Path, endpoint: str, *arguments: str) -> float:
    """Run a command on the cache in ``folder`` to its good end; returns the seconds it took."""
    home = folder / "home"
    environ = environment(Job(REPO_ID, endpoint, folder), home)
    environ["HF_HUB_CACHE"] = str(folder / "cache")
    command = [sys.executable, "-m", "hfaria", *arguments]
    with RunningTool(command, environ=environ, log=home / "log") as run:
        return run.finish()


def make_sparse_cache(
    folder: Path, sizes: list[int], hash_file: Callable[[Path], str]
) -> list[Path]:
    """Make a cache of one repo whose files are zeros, of different sizes; return the blobs.

    They take no space, and reading them asks no disk: what is measured is the work of the cores.
    """
    staged = []
    for number, size in enumerate(sizes):
        path = folder / f"zeros-{number}"
        with path.open("wb") as file:
            file.truncate(size)
        staged.append(path)
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(hash_file, staged))
    files = []
    for number, (size, sha256) in enumerate(zip(sizes, digests, strict=True)):
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        git_oid = git_blob_digest(pointer.encode())
        files.append(check_file(RemoteFile(f"model-{number:02}.bin", size, git_oid, sha256)))
    store = HubCache(RepoLayout(folder / "cache", RepoSpec(REPO_ID).folder_name))
    store.prepare(make_listing(COMMIT, files), Selection())
    for path, remote in zip(staged, files, strict=True):
        store.publish(path, [remote], COMMIT, replace=False)
    store.finish(COMMIT, "main")
    return [store.layout.blob(file.blob_name) for file in files]
