"""Adopt a local dir of 4 GB on the same filesystem: bytes fetched, disk taken, time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from bench.kept import run_hfaria
from bench.options import run_alone, tell
from bench.results import OURS, Finding
from bench.running import workplace
from loopback_hub import HubConfig, HubProcess, sharded_model

if TYPE_CHECKING:
    from pathlib import Path

    from bench.options import Options

_SIZE = 4_000_000_000
_SHARDS = 12


def measure(options: Options) -> list[Finding]:
    """Write the folder as `--local-dir` does, adopt it, and look at what it cost."""
    size = options.scaled(_SIZE)
    tell(f"adopt: a local dir of {size // 1_000_000} MB")
    spec = sharded_model("bench/kept", size, _SHARDS)
    sent: list[float] = []
    taken: list[float] = []
    times: list[float] = []
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        local = folder / "local"
        run_hfaria(folder, hub.url(), "pull", "bench/kept", "--local-dir", str(local), "-q")
        for number in range(options.rounds):
            shutil.rmtree(folder / "cache", ignore_errors=True)
            hub.reset_records()
            before = _disk_bytes(folder)
            times.append(
                run_hfaria(folder, hub.url(), "adopt", str(local), "--repo", "bench/kept", "-q")
            )
            sent.append(hub.file_bytes_sent() / 1e6)
            taken.append((_disk_bytes(folder) - before) / 1e6)
            tell(f"  round {number + 1}: {sent[-1]:.0f} MB, {taken[-1]:.1f} MB, {times[-1]:.1f} s")
    what = f"local dir of {size / 1e9:.1f} GB adopted"
    return [
        Finding(f"{what}: bytes fetched", {OURS: tuple(sent)}, "MB", target=0, digits=0),
        Finding(f"{what}: more disk taken", {OURS: tuple(taken)}, "MB", target=1, digits=2),
        Finding(f"{what}: time", {OURS: tuple(times)}, "s", digits=1),
    ]


def _disk_bytes(folder: Path) -> int:
    """Return what a folder takes on the disk, a file of several names once."""
    blocks = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        blocks[status.st_ino] = status.st_blocks * 512
    return sum(blocks.values())


if __name__ == "__main__":
    run_alone(measure, __doc__)
